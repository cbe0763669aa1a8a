"""Render the summary of an audit of many hosts as text, Markdown, JSON, or blocks of a page."""

from collections.abc import Iterator, Sequence

import msgspec

from dirtune.analyse.words import counted
from dirtune.checks import Severity
from dirtune.checks.fleet import FleetDocument, FleetDrift, FleetHost, FleetLost, FleetValue
from dirtune.escape import one_line
from dirtune.render import cells
from dirtune.render.blocks import Block, Document, Section, Table, Text
from dirtune.render.markdown import escaped

_ROWS = 20
"""Rows of each table in a terminal, unless all are asked for."""
_NAMES = 4
_MOST_NAMES = 30
_PAGE_ROWS = 2000
_GRAVE = (Severity.CRITICAL.value, Severity.HIGH.value)
_NONE = "-"


def json(summary: FleetDocument) -> str:
    """Return the summary as JSON."""
    return msgspec.json.encode(summary).decode()


def text(summary: FleetDocument, *, verbose: bool = False) -> str:
    """Return the summary for a terminal; *verbose* shows all rows and more names of hosts."""
    return _plain(summary, "simple", verbose=verbose)


def markdown(summary: FleetDocument, *, verbose: bool = False) -> str:
    """Return the summary in Markdown."""
    return f"# {_title(summary)}\n\n{_plain(summary, 'pipe', verbose=verbose)}"


def document(summary: FleetDocument) -> Document:
    """Return the summary as the blocks of a page."""
    grave = _grave(summary)
    return Document(
        title=_title(summary),
        verdict=overview(summary),
        tone="",
        facts=(
            ("hosts audited", f"{len(summary.hosts):,}"),
            ("hosts that could not be audited in full", f"{len(summary.unreachable):,}"),
            ("hosts with critical or high findings", f"{len(grave):,}"),
            ("checks with findings", f"{len(summary.checks):,}"),
            ("settings that differ inside a group", f"{_differing(summary):,}"),
        ),
        byline="dirtune audit --summary",
        sections=(*_sections(summary, _PAGE_ROWS, _MOST_NAMES), *_lost(summary)),
        to_do=_to_do(summary),
    )


def overview(summary: FleetDocument) -> str:
    """Return sentences that count the hosts, the grave findings and the drift."""
    grave = _grave(summary)
    groups = {row.group for row in summary.drift}
    sentences = [f"{counted(len(summary.hosts), 'host')} audited"]
    if summary.unreachable:
        lost = len({host.host for host in summary.unreachable})
        sentences.append(f"{counted(lost, 'host')} could not be audited in full")
    if summary.hosts:
        have = "has" if len(grave) < 2 else "have"
        number = counted(len(grave), "host") if grave else "No host"
        sentences.append(f"{number} {have} critical or high findings")
    if summary.drift:
        differ = "differs" if _differing(summary) == 1 else "differ"
        settings = f"{counted(_differing(summary), 'setting')} {differ}"
        sentences.append(f"{settings} inside {counted(len(groups), 'group')}")
    return f"{'. '.join(sentences)}."


def _title(summary: FleetDocument) -> str:
    return f"Audit of {counted(len(summary.hosts) + len(summary.unreachable), 'host')}"


def _differing(summary: FleetDocument) -> int:
    return len(summary.drift) + summary.drift_omitted


def _grave(summary: FleetDocument) -> list[FleetHost]:
    return [host for host in summary.hosts if any(host.findings[name] for name in _GRAVE)]


def _to_do(summary: FleetDocument) -> tuple[Text, ...]:
    found = [host for host in summary.hosts if any(host.findings.values())]
    if not found:
        return ()
    return (Text(f"Begin with {found[0].host}, which has the gravest findings."),)


def _plain(summary: FleetDocument, style: str, *, verbose: bool) -> str:
    rows, names = (_PAGE_ROWS, _MOST_NAMES) if verbose else (_ROWS, _NAMES)
    blocks = [overview(summary)]
    for section in _sections(summary, rows, names):
        blocks.append(f"## {section.title}" if style == "pipe" else f"{section.title}:")
        blocks += [_block(block, style) for block in section.blocks]
    for section in _lost(summary):  # all of them, so that no host is taken for a sound one
        if style == "pipe":
            blocks += [f"## {section.title}", *(_block(block, style) for block in section.blocks)]
        else:
            lines = (one_line(f"  {host.host}: {_why(host)}") for host in summary.unreachable)
            blocks.append("\n".join((f"{section.title}:", *lines)))
    return "\n\n".join(blocks)


def _block(block: Block, style: str) -> str:
    if isinstance(block, Table):
        align = ["right" if name in block.numeric else "left" for name in block.header]
        return cells.table(block.rows, block.header, style, align)
    assert isinstance(block, Text)
    return escaped(block.text) if style == "pipe" else block.text


def _sections(summary: FleetDocument, most: int, names: int) -> Iterator[Section]:
    """Yield the sections that have rows, each with at most *most* rows and *names* in a cell."""
    total = len(summary.hosts)
    hosts = tuple(map(_host_row, summary.hosts))
    checks = tuple(
        (c.severity, c.check, f"{len(c.hosts)} of {total}", _named(c.hosts, names))
        for c in summary.checks
    )
    drift = tuple(_drift_row(row, names) for row in summary.drift)
    unread = tuple((u.group, u.section, _named(u.hosts, names)) for u in summary.unread)
    numeric = frozenset({*(severity.value for severity in Severity), "undecided"})
    severities = tuple(summary.hosts[0].findings) if summary.hosts else ()
    heads = ("host", *severities, "undecided", "roles")
    yield from _section("Worst hosts first", heads, hosts, most, numeric)
    yield from _section("Findings by check", ("severity", "check", "hosts", "names"), checks, most)
    heads = ("group", "section", "setting", "most have", "others have")
    more = summary.drift_omitted
    yield from _section("Settings that differ inside a group", heads, drift, most, omitted=more)
    heads = ("group", "section", "not read on")
    yield from _section("Settings that could not be compared", heads, unread, most)


def _lost(summary: FleetDocument) -> Iterator[Section]:
    rows = tuple((each.host, _why(each)) for each in summary.unreachable)
    yield from _section(
        "Hosts that could not be audited in full", ("host", "reason"), rows, _PAGE_ROWS
    )


def _why(lost: FleetLost) -> str:
    return lost.reason.removeprefix(f"{lost.host}: ")


def _section(
    title: str,
    header: tuple[str, ...],
    rows: tuple[tuple[str, ...], ...],
    most: int,
    numeric: frozenset[str] = frozenset(),
    *,
    omitted: int = 0,
) -> Iterator[Section]:
    if not rows:
        return
    blocks: list[Block] = [Table(header, rows[:most], numeric)]
    if left := len(rows[most:]):
        blocks.append(Text(f"{counted(left, 'more row')}: --verbose and --format json have them."))
    if omitted:
        blocks.append(Text(f"{counted(omitted, 'more setting')} differ, but are left out."))
    yield Section(title, tuple(blocks))


def _host_row(host: FleetHost) -> tuple[str, ...]:
    numbers = (str(number) if number else _NONE for number in host.findings.values())
    return (host.host, *numbers, str(host.undecided), ", ".join(host.roles) or _NONE)


def _drift_row(row: FleetDrift, names: int) -> tuple[str, ...]:
    common = row.common
    others = [value for value in row.values if value is not common]
    return (
        row.group,
        row.section,
        row.name,
        _shown(common) if common else "no common value",
        "; ".join(f"{_shown(value)}: {_named(value.hosts, names)}" for value in others),
    )


def _shown(value: FleetValue) -> str:
    return "no value" if value.value is None else value.value or '""'


def _named(hosts: Sequence[str], most: int) -> str:
    left = len(hosts) - most
    more = f" and {left:,} more" if left > 0 else ""
    return f"{', '.join(hosts[:most])}{more}"
