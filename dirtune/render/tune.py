"""A session of the closed loop as text and Markdown: each fix, its verdict, what became of it."""

import shlex
from collections.abc import Iterator
from urllib.parse import quote

import msgspec

from dirtune.analyse.run import Comparison
from dirtune.escape import markdown as escaped
from dirtune.escape import markdown_code, one_line
from dirtune.render import cells

_HEADERS = ("fix", "risk", "after / before", "95 % interval", "verdict", "outcome", "why")
_NONE = "-"


class Row(msgspec.Struct, frozen=True):
    """One fix, or all together."""

    name: str
    risk: str
    outcome: str | None
    """None while it is not over."""
    why: str
    run: str | None
    """Folder of its run, from where the report lies."""
    titles: tuple[str, ...] = ()
    comparison: Comparison | None = None
    sentence: str = ""
    journal: str | None = None
    """On the director, if it was kept."""


class Told(msgspec.Struct, frozen=True):
    """What there is to tell of a session."""

    title: str
    host: str
    """The director."""
    started: str
    command: str
    finished: str | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    waits: str | None = None
    """What has to be done before it can go on; None if nothing."""


def table(told: Told) -> str:
    """Return a row for each fix and what to do next."""
    lines = [cells.table(_cells(told), _HEADERS, "plain")]
    lines += [one_line(row.sentence) for row in told.rows if row.sentence]
    lines += map(one_line, _next(told))
    return "\n".join(lines)


def markdown(told: Told) -> str:
    """Return the report of the session; each run has a report of its own."""
    begun = f"{escaped(told.started)} · {markdown_code(told.command)}"
    lines = [f"# {escaped(told.title)}", "", begun, ""]
    lines += [cells.table(_cells(told), _HEADERS, "pipe"), ""]
    for row in told.rows:
        titles = (f"- {escaped(title)}" for title in row.titles)
        lines += [f"## {escaped(row.name)}", "", *titles, ""]
        if row.sentence:
            lines += [escaped(row.sentence), ""]
        outcome = (row.outcome or "not over").capitalize()
        lines += [f"{outcome}: {escaped(row.why or 'it goes on')}.", ""]
        if row.run is not None:
            lines += [f"[Report of its run]({quote(row.run)}/report.md)", ""]
    lines += [*(f"- {escaped(each)}" for each in _next(told)), ""]
    lines += [f"- {escaped(note)}" for note in told.notes]
    return "\n".join(lines).rstrip() + "\n"


def _cells(told: Told) -> Iterator[tuple[str, ...]]:
    for row in told.rows:
        found = row.comparison
        yield (
            row.name,
            row.risk,
            _NONE if found is None or found.ratio is None else f"{found.ratio:.3f}",
            _interval(found),
            _NONE if found is None else found.verdict,
            row.outcome or "not over",
            row.why or _NONE,
        )


def _interval(found: Comparison | None) -> str:
    if found is None or found.interval is None:
        return _NONE
    low, high = found.interval
    return f"{low:.3f} to {high:.3f}"


def _next(told: Told) -> Iterator[str]:
    if told.waits is not None:
        yield told.waits
    kept = [row for row in told.rows if row.outcome == "kept" and row.risk != "reboot"]
    for row in kept:
        # In force it is no finding, and there would be nothing to apply.
        back = shlex.join(("dirtune", "rollback", row.journal or "JOURNAL"))
        fixes = row.name.replace(",", "").split()
        again = shlex.join(("dirtune", "fix", "apply", *fixes, "--persist"))
        yield f"{row.name}: kept until the next boot; over it, on {told.host}: `{back} && {again}`"
    if not told.rows:
        yield (
            "nothing to do: the director's dirtune finds nothing it could fix; "
            f"`dirtune audit --host {shlex.quote(told.host)}` says what it could not decide"
        )
