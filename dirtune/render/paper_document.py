"""The tables and figures of the 2001 paper, made of a run's own numbers.

Figures 3 and 5 to 20 of "Performance Evaluation of Linux Virtual Server" (LISA 2001), each under
its number. A figure the run holds nothing for is named with the reason and never drawn empty;
what a note of the run says of a figure (`Figure 15: ...`) stands beside it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dirtune.analyse import capacity, cost
from dirtune.analyse.run import Cell, Role, Run, Trial, TrialKind, Validity
from dirtune.render import run_tables
from dirtune.render.blocks import Block, Document, Figure, Section, Table, Text
from dirtune.render.figures import NONE, mean, number
from dirtune.render.report_cpu import cpu_table
from dirtune.render.report_document import measured

Value = str | int


@dataclass(frozen=True, slots=True)
class Curve:
    """Which cells one of Figures 6 to 14 shows, and what tells its lines apart."""

    figure: int
    title: str
    line: str
    """The axis of the matrix that tells the lines apart."""
    where: dict[str, Value] = field(default_factory=dict)
    kernel: int | None = None
    """Which of the run's kernels, in their order; None for all of them."""
    most: bool = False
    """Only with the most real servers, as the paper compared CPUs."""


CURVES = (
    Curve(6, "NAT, one CPU", "real_servers", {"forwarding": "nat", "cpus": 1}, 0),
    Curve(7, "Direct routing, one CPU", "real_servers", {"forwarding": "dr", "cpus": 1}, 0),
    Curve(8, "Direct routing over CPUs", "cpus", {"forwarding": "dr"}, 0, most=True),
    Curve(9, "NAT against direct routing", "forwarding", {"cpus": 1}, 0),
    Curve(10, "One CPU, the other kernel", "real_servers", {"forwarding": "dr", "cpus": 1}, 1),
    Curve(11, "Kernels compared, one CPU", "kernel", {"forwarding": "dr", "cpus": 1}),
    Curve(12, "Two CPUs", "real_servers", {"forwarding": "dr", "cpus": 2}, -1),
    Curve(13, "Four CPUs", "real_servers", {"forwarding": "dr", "cpus": 4}, -1),
    Curve(14, "Scaling over CPUs", "cpus", {"forwarding": "dr"}, -1, most=True),
)


def document(run: Run) -> Document:
    """Return the paper's figures as a report of *run*."""
    made: dict[str, Callable[[Run], Iterator[Block]]] = {
        "Figure 3, link between client and server": _link,
        "Figure 5, test matrix": _matrix,
        **{f"Figure {curve.figure}, {curve.title}": _drawn(curve) for curve in CURVES},
        "Figure 15, network I/O": _network,
        "Figure 16, CPU of a director with one CPU": _cpu(1),
        "Figure 17, CPU of a director with two CPUs": _cpu(2),
        "Figure 18, CPU of a director with four CPUs": _cpu(4),
        "Figure 19, before and after": _before_after,
        "Figure 20, rate at a named loss": _low_loss,
        "Price": _price,
    }
    sections = [_section(run, title, tuple(make(run))) for title, make in made.items()]
    general = tuple(Text(note) for note in run.notes if not _figure_of(note))
    skipped = capacity.not_counted(run.trials)
    counted = f"{len(run.trials)} trials, of which {skipped} enter no statistics."
    notes = Section("Notes", (Text(counted), *general))
    return Document(
        title=run.title,
        verdict=run.verdict or run_tables.headline(run) or "No trial of the run is valid.",
        tone="",
        facts=(),
        byline=f"{run.started} · run {run.id} · {run.command}",
        sections=(*sections, notes),
    )


def _section(run: Run, title: str, blocks: tuple[Block, ...]) -> Section:
    mark = title.partition(",")[0]
    notes = tuple(Text(_said(note)) for note in run.notes if _figure_of(note) == mark)
    return Section(title, (*blocks, *notes))


def _figure_of(note: str) -> str | None:
    head, colon, _ = note.partition(": ")
    return head if colon and (head.startswith("Figure ") or head == "Price") else None


def _said(note: str) -> str:
    said = note.partition(": ")[2]
    return f"{said[:1].upper()}{said[1:]}"


def lines(run: Run, curve: Curve) -> dict[str, tuple[Trial, ...]]:
    """Return the trials of each line of a curve by its label; empty if the run has none."""
    kernels = _kernels(run)
    if curve.kernel is not None and curve.kernel > 0 and len(kernels) < 2:
        return {}
    wanted = dict(curve.where)
    if curve.kernel is not None and kernels:
        wanted["kernel"] = kernels[curve.kernel]
    if curve.most and (counts := _server_counts(run)):
        wanted["real_servers"] = counts[-1]
    found: dict[str, tuple[Trial, ...]] = {}
    for cell in cost.balanced_cells(run):
        settings = _settings(run, cell)
        swept = tuple(t for t in cost.trials_of(run, cell.name) if t.kind == TrialKind.JUDGED)
        if swept and all(settings.get(axis) == value for axis, value in wanted.items()):
            rest = {axis: value for axis, value in settings.items() if axis not in wanted}
            own = {curve.line: rest.pop(curve.line)} if curve.line in rest else {}
            named = (run_tables.said(axis, value) for axis, value in (own | rest).items())
            found[", ".join(named) or run_tables.PLAIN] = swept
    return found


def _server_counts(run: Run) -> list[int]:
    found = (_settings(run, cell).get("real_servers") for cell in cost.balanced_cells(run))
    return sorted({count for count in found if isinstance(count, int)})


def _kernels(run: Run) -> list[Value]:
    named = (cell.settings.get("kernel") for cell in run.cells)
    return list(dict.fromkeys(kernel for kernel in named if kernel is not None))


def _settings(run: Run, cell: Cell) -> dict[str, Value]:
    """Return the cell's settings, completed by what the plan and the nodes say."""
    own: dict[str, Value] = {}
    destinations = run.plan.destinations
    methods = {destination.forwarding for destination in destinations}
    if len(methods) == 1:
        own |= {"forwarding": methods.pop(), "real_servers": len(destinations)}
    for trial in cost.trials_of(run, cell.name):
        for node in trial.nodes:
            if node.role == Role.DIRECTOR and node.cpus:
                own["cpus"] = node.cpus
    return own | cell.settings


def _drawn(curve: Curve) -> Callable[[Run], Iterator[Block]]:
    def blocks(run: Run) -> Iterator[Block]:
        found = lines(run, curve)
        if not found:
            yield Text(f"Not drawn: {_missing(run, curve)}.")
            return
        if run_tables.enough(found):
            yield Figure(f"figure-{curve.figure}", run_tables.CURVE)
        else:
            yield Text("Not drawn: one or two points are no curve.")
        if curve.line != "real_servers" and len({_value(label) for label in found}) == 1:
            yield Text(f"Nothing to compare: only {_value(next(iter(found)))} has rates.")
        header = ("line", "offered/s", "replies/s", "sd", "lost", "trials")
        rows = tuple(
            (label, f"{p.offered:g}", f"{p.reply_rate:.1f}", number(p.sd, 3), f"{p.loss:.2%}",
             str(p.trials))
            for label, trials in found.items()
            for p in capacity.curve(trials)
        )  # fmt: skip
        if rows:
            yield Table(header, rows, frozenset(header[1:]))
        yield from (
            Text(f"{label}, {t.reply_rate:.1f} replies/s at {t.offered_rate:g}/s: {why(t)}.")
            for label, trials in found.items()
            for t in trials
            if not t.valid
        )

    return blocks


def _value(label: str) -> str:
    """Return the value of the axis that a line's label begins with."""
    return label.partition(", ")[0]


def why(trial: Trial) -> str:
    """Return why a trial does not count; what the clients limited is a lower bound."""
    if trial.validity == Validity.CLIENT_LIMITED:
        return f"a lower bound (client-limited): {trial.reason}"
    return f"does not count ({trial.validity}): {trial.reason}"


def _missing(run: Run, curve: Curve) -> str:
    if curve.kernel == 1 and len(_kernels(run)) < 2:
        return "the run has one kernel"
    wanted = ", ".join(run_tables.said(axis, value) for axis, value in curve.where.items())
    return f"the run has no rates of a cell with {wanted}"


def _link(run: Run) -> Iterator[Block]:
    if run.link:
        best = max(run.link, key=lambda point: point.bits_per_s)
        yield Figure("figure-3", "Rate of the link by the size of a message, one way.")
        yield Text(
            f"At most {best.bits_per_s / 1e6:.1f} Mbit/s ({best.bits_per_s / 8e6:.1f} MB/s), with"
            f" messages of {best.message_bytes:,} bytes; {1e6 * run.link[0].seconds:.1f} us for"
            f" the smallest."
        )
    elif not any(_figure_of(note) == "Figure 3" for note in run.notes):
        yield Text("Not drawn: the run holds no test of the link (`link` of [controls]).")


def _matrix(run: Run) -> Iterator[Block]:
    cells = cost.balanced_cells(run)
    settings = [(cell, _settings(run, cell)) for cell in cells]
    counts = _server_counts(run)
    rows: dict[tuple[str, ...], dict[int, str]] = {}
    for cell, found in settings:
        key = tuple(str(found.get(axis, NONE)) for axis in _MATRIX_AXES)
        swept = (t for t in cost.trials_of(run, cell.name) if t.kind != TrialKind.SEARCH)
        measured = [t for t in swept if t.validity in {Validity.VALID, Validity.CLIENT_LIMITED}]
        place = rows.setdefault(key, {})
        servers = found.get("real_servers")
        place[servers if isinstance(servers, int) else 0] = str(len(measured)) if measured else "0"
    header = (*_MATRIX_AXES, *(run_tables.said("real_servers", n) for n in counts))
    body = tuple((*key, *(found.get(n, NONE) for n in counts)) for key, found in rows.items())
    yield Table(header, body)
    yield Text("Number of trials with numbers; a dash is a cell the run does not have.")


_MATRIX_AXES = ("kernel", "cpus", "forwarding", "scheduler")


def _network(run: Run) -> Iterator[Block]:
    link = run_tables.link_bits_per_s(run)
    rows = []
    for trial in run.trials:
        each = trial.metrics.get("network_bytes_per_s")
        counted = cost.network_io(trial, link)
        if each is None and counted is not None and trial.kind == TrialKind.JUDGED:
            each = counted.bytes_per_s
        if each is not None:
            name = run_tables.label(run, trial.cell)
            cells = (f"{trial.offered_rate:g}", f"{trial.reply_rate:.2f}", f"{each / 1e6:.2f}")
            share = NONE if link is None else f"{8 * each / link:.1%}"
            rows.append((name, *cells, f"{8 * each / 1e6:.1f}", share))
    if not rows:
        yield Text("Not drawn: no trial of the run counted bytes.")
        return
    header = ("cell", "offered/s", "replies/s", "MB/s", "Mbit/s", "of the link")
    yield Table(header, tuple(rows), frozenset(header[1:]))
    yield Text("MB are 10^6 bytes and Mbit 10^6 bits.")


def _cpu(cpus: int) -> Callable[[Run], Iterator[Block]]:
    def blocks(run: Run) -> Iterator[Block]:
        cells = {cell.name: _settings(run, cell) for cell in cost.balanced_cells(run)}
        found = [t for t in cost.looked_at(run) if cells.get(t.cell, {}).get("cpus") == cpus]
        if not found:
            yield Text(f"Not drawn: no nodes were sampled with {cpus} CPUs in the director.")
            return
        yield from cpu_table(run, found)
        for trial in found:
            director = [c for c in cost.node_costs(trial) if c.role == Role.DIRECTOR]
            for each in director:
                yield Text(
                    f"{run_tables.label(run, trial.cell)}: the director took"
                    f" {each.us_per_connection:.1f} us of CPU for a connection;"
                    f" {_lost(trial):.1%} were lost."
                )
        yield from run_tables.limits(run, found)

    return blocks


def _lost(trial: Trial) -> float:
    return (trial.attempted - trial.replied) / max(trial.attempted, 1)


def _before_after(run: Run) -> Iterator[Block]:
    if not run.comparisons:
        yield Text("Not drawn: the run compares no two arms.")
        return
    header = ("metric", "before", "after", "ratio", "verdict", "why")
    rows = tuple(
        (measured(c), number(mean(c.before)), number(mean(c.after)),
         number(c.ratio), c.verdict, c.reason or NONE)
        for c in run.comparisons
    )  # fmt: skip
    yield Table(header, rows, frozenset(header[1:4]))


def _low_loss(run: Run) -> Iterator[Block]:
    if not run.knees:
        yield Text("Not drawn: no rate at a named loss was searched for ([knee] in the plan).")
        return
    header = ("cell", "at most lost", "connections/s", "replies/s", "mean response, ms")
    rows = tuple(_low_loss_row(run, n) for n in range(len(run.knees)))
    yield Table(header, rows, frozenset(header[1:]))
    for knee in run.knees:
        yield Text(f"{run_tables.label(run, knee.cell)}: {capacity.in_words(knee)}.")


def _low_loss_row(run: Run, place: int) -> tuple[str, ...]:
    knee = run.knees[place]
    near = [
        trial
        for trial in cost.trials_of(run, knee.cell)
        if trial.valid and trial.offered_rate == knee.rate
    ]
    last = near[-1] if near else None
    latency = None if last is None else last.metrics.get("latency_mean_ms")
    if latency is None and last is not None and last.latency is not None:
        latency = last.latency.mean_ms
    return (
        run_tables.label(run, knee.cell),
        f"{100 * knee.loss_goal:g} %",
        number(knee.rate),
        NONE if last is None else f"{last.reply_rate:.2f}",
        number(latency, 3),
    )


def _price(run: Run) -> Iterator[Block]:
    blocks = tuple(run_tables.prices(run))
    yield from blocks or (Text("Not given: the plan names no price ([price])."),)
