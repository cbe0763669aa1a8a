from dirtune.checks import Finding, Role, Severity, Verdicts, check
from dirtune.checks.keepalived import WITHOUT, configured
from dirtune.keepalived.model import Conf
from dirtune.snapshot import Snapshot

_SHOWN = 5


@check("keepalived/ignored-lines", severity=Severity.MEDIUM, trust="A", roles=(Role.DIRECTOR,))
def ignored_lines(_: Snapshot, keepalived: Conf) -> Verdicts:
    """The configuration has lines that keepalived ignores.

    ## What it does
    The check reports lines of keepalived.conf(5), and of the files that it includes, which
    keepalived does not understand: unknown keywords, values out of range, braces that do not
    match. It knows the keywords of keepalived 2.2 and 2.4.

    ## Why it matters
    keepalived logs such a line when it starts, and goes on without it: with another scheduler,
    another weight, or without a real server. After an unknown block, it may read the following
    lines as part of another block.

    ## Remediation
    Correct the lines, and let `keepalived -t` check the file before each reload.

    ## Known problems
    The check reads the file, not what keepalived read when it started. It does not check routes,
    rules and interfaces.

    ## References
    - keepalived.conf(5), keepalived(8), `--config-test`
    - lib/parser.c of keepalived 2.2.7
    """
    if not configured(keepalived):
        yield WITHOUT
        return
    problems = keepalived.problems
    if problems:
        first = problems[0]
        rest = f", and {len(problems) - 1} more lines" if len(problems) > 1 else ""
        yield Finding(
            first.place.file,
            Severity.MEDIUM,
            f"The configuration has a line that keepalived does not understand: {first.place} "
            f"({first.why}){rest}",
            {"lines": [f"{line.place}: {line.why}" for line in problems[:_SHOWN]]},
        )
