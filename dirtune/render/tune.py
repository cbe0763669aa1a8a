"""Render a session of `dirtune tune`: each fix with its verdict and outcome."""

import shlex
from collections.abc import Iterator
from urllib.parse import quote

import msgspec

from dirtune.analyse.run import Comparison
from dirtune.analyse.verdict import interval_name
from dirtune.escape import one_line
from dirtune.render import cells
from dirtune.render.markdown import escaped, inline_code

_NONE = "-"
_UNFINISHED = "unfinished"


class Row(msgspec.Struct, frozen=True):
    """A row of the table: one fix, or all fixes together."""

    name: str
    risk: str
    outcome: str | None
    """None while the trials of the fix are not finished."""
    why: str
    run: str | None
    """The folder of the run that measured the fix, relative to the report; None without a run."""
    titles: tuple[str, ...] = ()
    comparison: Comparison | None = None
    sentence: str = ""
    journal: str | None = None
    """The journal on the director; None if the fix was not kept."""


class Results(msgspec.Struct, frozen=True):
    """The results of a session."""

    title: str
    host: str
    """The name of the director."""
    started: str
    command: str
    finished: str | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    waits: str | None = None
    """An action that the operator must take before the session can go on, or None."""


def table(results: Results) -> str:
    """Return a table with one row per fix, and the next steps."""
    lines = [cells.table(rows(results), headers(results), "plain"), ""] if results.rows else []
    lines += [one_line(row.sentence) for row in results.rows if row.sentence]
    lines += map(one_line, next_steps(results))
    return "\n".join(lines)


def markdown(results: Results) -> str:
    """Return the report of the session as Markdown, with a link to the report of each run."""
    begun = f"{escaped(results.started)} · {inline_code(results.command)}"
    lines = [f"# {escaped(results.title)}", "", begun, ""]
    lines += [cells.table(rows(results), headers(results), "pipe"), ""]
    for row in results.rows:
        titles = (f"- {escaped(title)}" for title in row.titles)
        lines += [f"## {escaped(row.name)}", "", *titles, ""]
        if row.sentence:
            lines += [escaped(row.sentence), ""]
        outcome = (row.outcome or _UNFINISHED).capitalize()
        lines += [f"{outcome}: {escaped(row.why or 'the session can go on')}.", ""]
        if row.run is not None:
            lines += [f"[Report of the run]({quote(row.run)}/report.md)", ""]
    lines += [*(f"- {escaped(step)}" for step in next_steps(results)), ""]
    lines += [f"- {escaped(note)}" for note in results.notes]
    return "\n".join(lines).rstrip() + "\n"


def headers(results: Results) -> tuple[str, ...]:
    """Return the headings of the table of fixes."""
    # A fix that needs boots is never judged at planned looks, so levels may differ.
    names = {interval_name(row.comparison) for row in results.rows if row.comparison is not None}
    interval = names.pop() if len(names) == 1 else "interval"
    return ("fix", "risk", "after / before", interval, "verdict", "outcome", "why")


def rows(results: Results) -> Iterator[tuple[str, ...]]:
    """Yield a row of the table for each fix."""
    for row in results.rows:
        comparison = row.comparison
        yield (
            row.name,
            row.risk,
            _NONE if comparison is None or comparison.ratio is None else f"{comparison.ratio:.3f}",
            _interval(comparison),
            _NONE if comparison is None else comparison.verdict,
            row.outcome or _UNFINISHED,
            row.why or _NONE,
        )


def _interval(comparison: Comparison | None) -> str:
    if comparison is None or comparison.interval is None:
        return _NONE
    low, high = comparison.interval
    return f"{low:.3f} to {high:.3f}"


def next_steps(results: Results) -> Iterator[str]:
    """Yield what the operator can do next."""
    if results.waits is not None:
        yield results.waits
    kept = [row for row in results.rows if row.outcome == "kept" and row.risk != "reboot"]
    for row in kept:
        # While the fix is in force, its check finds no problem, so `fix apply` would do nothing.
        back = shlex.join(("dirtune", "rollback", row.journal or "JOURNAL"))
        fixes = row.name.replace(",", "").split()
        again = shlex.join(("dirtune", "fix", "apply", *fixes, "--persist"))
        yield (
            f"{row.name} is kept until the next boot. To keep it longer, run on {results.host}: "
            f"`{back} && {again}`"
        )
    if not results.rows:
        yield (
            "nothing to do: dirtune on the director found no problem that it can fix; "
            f"`dirtune audit -v --host {shlex.quote(results.host)}` shows the undecided checks"
        )
