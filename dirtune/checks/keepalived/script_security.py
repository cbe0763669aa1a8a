from collections.abc import Iterator

from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check
from dirtune.checks.keepalived import WITHOUT, configured
from dirtune.keepalived.model import Conf
from dirtune.snapshot import Snapshot

_SHOWN = 5


@check("keepalived/script-security", severity=Severity.MEDIUM, trust="B", roles=(Role.DIRECTOR,))
def script_security(_: Snapshot, keepalived: Conf) -> Verdicts:
    """Scripts run without a check of who may change them.

    ## What it does
    The check reports a keepalived.conf(5) that names scripts, but lacks `enable_script_security`.
    Scripts are those of checks, of VRRP and of notifications. dirtune names them and never runs
    them.

    ## Why it matters
    Without a user keepalived_script and without `script_user`, the scripts run as root. If another
    user may write to a script or to a folder of its path, that user becomes root at the next
    check.

    ## Remediation
    Write `enable_script_security` and `script_user USER` into global_defs. keepalived then refuses
    a script that runs as root and that another user may change.

    ## Known problems
    The check does not look at the permissions of the scripts.

    ## References
    - keepalived.conf(5), SCRIPTS, `enable_script_security`
    """
    if not configured(keepalived):
        yield WITHOUT
        return
    scripts = tuple(dict.fromkeys(_scripts(keepalived)))
    if scripts and not keepalived.globals.script_security:
        more = f" and {len(scripts) - 1} more" if len(scripts) > 1 else ""
        user = keepalived.globals.script_user
        yield Finding(
            "scripts",
            Severity.LOW if user not in {None, "root"} else Severity.MEDIUM,
            f"Scripts run without enable_script_security: {scripts[0]}{more}",
            {"scripts": list(scripts[:_SHOWN]), "script_user": user},
            (Fix("enable-script-security", "Let keepalived check its scripts", Risk.SAFE),),
        )


def _scripts(conf: Conf) -> Iterator[str]:
    yield from conf.globals.scripts
    yield from (script.script for script in conf.scripts if script.script)
    for instance in conf.instances:
        yield from instance.scripts
    for server in conf.virtual_servers:
        yield from server.scripts
        for real in server.real_servers:
            yield from real.scripts
            yield from (checker.script for checker in real.checkers if checker.script)
