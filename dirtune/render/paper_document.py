"""The tables and figures of the 2001 paper, drawn with the numbers of a run.

They are Figures 3 and 5 to 20 of "Performance Evaluation of Linux Virtual Server" (LISA 2001),
numbered as in the paper. One section at the end lists the figures for which the run lacks the
data, with the reasons. A note of the run that names a figure (`Figure 15: ...`) is printed
below that figure.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dirtune.analyse import capacity, cost
from dirtune.analyse.run import Cell, Role, Run, Trial, TrialKind, Validity
from dirtune.analyse.words import counted
from dirtune.render import run_tables
from dirtune.render.blocks import Block, Document, Figure, Section, Table, Text
from dirtune.render.figures import NONE, in_percent, mean, number
from dirtune.render.report_cpu import cpu_table
from dirtune.render.report_document import measured

Value = str | int


@dataclass(frozen=True, slots=True)
class Curve:
    """One of Figures 6 to 14: the cells of the plan's matrix that the figure shows."""

    figure: int
    title: str
    line: str
    """The axis of the plan's matrix; the chart has one line for each value of this axis."""
    where: dict[str, Value] = field(default_factory=dict)
    kernel: int | None = None
    """The index of the kernel among the run's kernels; None for all kernels."""
    most: bool = False
    """Whether only the cells with the most real servers are shown, as in the paper."""


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
        "Figure 20, rate at a given loss": _low_loss,
        "Price": _price,
    }
    sections = [_section(run, title, tuple(make(run))) for title, make in made.items()]
    general = tuple(Text(note) for note in run.notes if not _figure_of(note))
    skipped = capacity.not_counted(run.trials)
    trials = counted(len(run.trials), "trial")
    valid = Text(f"The run has {trials}. Invalid trials, left out of all statistics: {skipped}.")
    notes = Section("Notes", (valid, *general))
    return Document(
        title=run.title,
        verdict=run.verdict or run_tables.headline(run) or "No trial of the run is valid.",
        tone="",
        facts=(),
        byline=f"{run.started} · run {run.id} · {run.command}",
        sections=(*_drawn_sections(sections), *_undrawn(sections), notes),
    )


_UNDRAWN = ("Not drawn: ", "Not given: ")


def _is_reason(block: Block) -> bool:
    """Return whether *block* says why a figure is not drawn."""
    return isinstance(block, Text) and block.text.startswith(_UNDRAWN)


def _drawn_sections(sections: list[Section]) -> Iterator[Section]:
    for section in sections:
        blocks = tuple(block for block in section.blocks if not _is_reason(block))
        if blocks:
            yield Section(section.title, blocks)


def _undrawn(sections: list[Section]) -> Iterator[Section]:
    """Yield one section with all figures that are not drawn, and the reasons."""
    rows = tuple(
        (section.title, block.text.partition(": ")[2])
        for section in sections
        for block in section.blocks
        if isinstance(block, Text) and _is_reason(block)
    )
    if rows:
        yield Section("Figures that are not drawn", (Table(("figure", "reason"), rows),))


def _section(run: Run, title: str, blocks: tuple[Block, ...]) -> Section:
    mark = title.partition(",")[0]
    notes = tuple(Text(_note(note)) for note in run.notes if _figure_of(note) == mark)
    return Section(title, (*blocks, *notes))


def _figure_of(note: str) -> str | None:
    head, colon, _ = note.partition(": ")
    return head if colon and (head.startswith("Figure ") or head == "Price") else None


def _note(note: str) -> str:
    text = note.partition(": ")[2]
    return f"{text[:1].upper()}{text[1:]}"


def lines(run: Run, curve: Curve) -> dict[str, tuple[Trial, ...]]:
    """Return the trials of each line of *curve*, by the line's label; empty if there are none."""
    kernels = _kernels(run)
    if curve.kernel is not None and curve.kernel > 0 and len(kernels) < 2:
        return {}
    settings_shown = dict(curve.where)
    if curve.kernel is not None and kernels:
        settings_shown["kernel"] = kernels[curve.kernel]
    if curve.most and (counts := _server_counts(run)):
        settings_shown["real_servers"] = counts[-1]
    trials_by_label: dict[str, tuple[Trial, ...]] = {}
    for cell in cost.balanced_cells(run):
        settings = _settings(run, cell)
        swept = tuple(t for t in cost.trials_of(run, cell.name) if t.kind == TrialKind.JUDGED)
        if swept and all(settings.get(axis) == value for axis, value in settings_shown.items()):
            rest = {axis: value for axis, value in settings.items() if axis not in settings_shown}
            own = {curve.line: rest.pop(curve.line)} if curve.line in rest else {}
            named = (run_tables.value(axis, value) for axis, value in (own | rest).items())
            trials_by_label[", ".join(named) or run_tables.PLAIN] = swept
    return trials_by_label


def _server_counts(run: Run) -> list[int]:
    found = (_settings(run, cell).get("real_servers") for cell in cost.balanced_cells(run))
    return sorted({count for count in found if isinstance(count, int)})


def _kernels(run: Run) -> list[Value]:
    named = (cell.settings.get("kernel") for cell in run.cells)
    return list(dict.fromkeys(kernel for kernel in named if kernel is not None))


def _settings(run: Run, cell: Cell) -> dict[str, Value]:
    """Return the cell's settings; those that it lacks come from the plan and the nodes."""
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
        shown = lines(run, curve)
        if not shown:
            yield Text(f"Not drawn: {_missing(run, curve)}.")
            return
        if run_tables.enough(shown):
            yield Figure(f"figure-{curve.figure}", run_tables.CURVE)
        else:
            yield Text("Not drawn: a curve needs at least three points.")
        if curve.line != "real_servers" and len({_value(label) for label in shown}) == 1:
            only = _value(next(iter(shown)))
            yield Text(f"There is nothing to compare: the run has rates for {only} only.")
        header = ("line", "offered/s", "replies/s", "sd", "lost", "trials")
        rows = tuple(
            (label, f"{p.offered:g}", f"{p.reply_rate:.1f}", number(p.sd, 3),
             in_percent(p.loss, 2), str(p.trials))
            for label, trials in shown.items()
            for p in capacity.curve(trials)
        )  # fmt: skip
        if rows:
            yield Table(header, rows, frozenset(header[1:]))
        yield from (
            Text(f"{label}, {t.reply_rate:.1f} replies/s at {t.offered_rate:g}/s: {why(t)}.")
            for label, trials in shown.items()
            for t in trials
            if not t.valid
        )

    return blocks


def _value(label: str) -> str:
    """Return the first of the settings in a line's label."""
    return label.partition(", ")[0]


def why(trial: Trial) -> str:
    """Return why *trial* is not valid. A rate that the clients limited is called a minimum."""
    if trial.validity == Validity.CLIENT_LIMITED:
        return f"the rate is a minimum (client-limited): {trial.reason}"
    return f"not valid ({trial.validity}): {trial.reason}"


def _missing(run: Run, curve: Curve) -> str:
    if curve.kernel == 1 and len(_kernels(run)) < 2:
        return "the run has only one kernel"
    settings = ", ".join(run_tables.value(axis, value) for axis, value in curve.where.items())
    return f"the run has no rates for a cell with {settings}"


def _link(run: Run) -> Iterator[Block]:
    if run.link:
        best = max(run.link, key=lambda point: point.bits_per_s)
        yield Figure("figure-3", "Throughput of the link by message size, in one direction.")
        yield Text(
            f"The link carried at most {best.bits_per_s / 1e6:.1f} Mbit/s"
            f" ({best.bits_per_s / 8e6:.1f} MB/s), with messages of {best.message_bytes:,} bytes."
            f" The smallest message took {1e6 * run.link[0].seconds:.1f} us."
        )
    elif not any(_figure_of(note) == "Figure 3" for note in run.notes):
        yield Text("Not drawn: the run did not test the link (`link` in [controls]).")


def _matrix(run: Run) -> Iterator[Block]:
    cells = cost.balanced_cells(run)
    settings = [(cell, _settings(run, cell)) for cell in cells]
    counts = _server_counts(run)
    rows: dict[tuple[str, ...], dict[int, str]] = {}
    for cell, own in settings:
        key = tuple(str(own.get(axis, NONE)) for axis in _MATRIX_AXES)
        swept = (t for t in cost.trials_of(run, cell.name) if t.kind != TrialKind.SEARCH)
        measured = [t for t in swept if t.validity in {Validity.VALID, Validity.CLIENT_LIMITED}]
        place = rows.setdefault(key, {})
        servers = own.get("real_servers")
        place[servers if isinstance(servers, int) else 0] = str(len(measured)) if measured else "0"
    header = (*_MATRIX_AXES, *(run_tables.value("real_servers", n) for n in counts))
    body = tuple((*key, *(place.get(n, NONE) for n in counts)) for key, place in rows.items())
    yield Table(header, body)
    yield Text(
        "Each entry is the number of trials with a result; a dash marks a cell that the run"
        " does not have."
    )


_MATRIX_AXES = ("kernel", "cpus", "forwarding", "scheduler")


def _network(run: Run) -> Iterator[Block]:
    link = run_tables.link_bits_per_s(run)
    rows = []
    for trial in run.trials:
        bytes_per_s = trial.metrics.get("network_bytes_per_s")
        io = cost.network_io(trial, link)
        if bytes_per_s is None and io is not None and trial.kind == TrialKind.JUDGED:
            bytes_per_s = io.bytes_per_s
        if bytes_per_s is not None:
            name = run_tables.marked(run_tables.label(run, trial.cell), trial)
            cells = (
                f"{trial.offered_rate:g}",
                f"{trial.reply_rate:.2f}",
                f"{bytes_per_s / 1e6:.2f}",
            )
            share = NONE if link is None else in_percent(8 * bytes_per_s / link)
            rows.append((name, *cells, f"{8 * bytes_per_s / 1e6:.1f}", share))
    if not rows:
        yield Text("Not drawn: no trial of the run counted bytes.")
        return
    header = ("cell", "offered/s", "replies/s", "MB/s", "Mbit/s", "share of link")
    yield Table(header, tuple(rows), frozenset(header[1:]))
    yield Text("A megabyte is 10^6 bytes and a megabit is 10^6 bits.")


def _cpu(cpus: int) -> Callable[[Run], Iterator[Block]]:
    def blocks(run: Run) -> Iterator[Block]:
        cells = {cell.name: _settings(run, cell) for cell in cost.balanced_cells(run)}
        trials = [t for t in cost.looked_at(run) if cells.get(t.cell, {}).get("cpus") == cpus]
        if not trials:
            director = f"a director with {counted(cpus, 'CPU')}"
            yield Text(f"Not drawn: no trial on {director} sampled the nodes' CPU time.")
            return
        yield from cpu_table(run, trials)
        for trial in trials:
            name = run_tables.marked(run_tables.label(run, trial.cell), trial)
            yield from (
                Text(
                    f"{name}: the director took {node.us_per_connection:.1f} us of CPU time per"
                    " connection;"
                    f" {in_percent(_lost(trial))} of the connections were lost."
                )
                for node in cost.node_costs(trial)
                if node.role == Role.DIRECTOR
            )
        yield from run_tables.limits(run, trials)

    return blocks


def _lost(trial: Trial) -> float:
    return (trial.attempted - trial.replied) / max(trial.attempted, 1)


def _before_after(run: Run) -> Iterator[Block]:
    if not run.comparisons:
        yield Text("Not drawn: the run does not compare two arms.")
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
        yield Text(
            "Not drawn: the run did not search for the rate at a given loss ([knee] in the plan)."
        )
        return
    header = ("cell", "loss limit", "connections/s", "replies/s", "mean response time, ms")
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
    yield from blocks or (Text("Not given: the plan has no [price] table."),)
