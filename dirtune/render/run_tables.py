"""Render a bench run as tables: capacity, limits, scaling, costs, network and prices."""

from collections import Counter
from collections.abc import Iterator, Sequence

from dirtune.analyse import capacity, cost
from dirtune.analyse.cost import ByClients, Forwarded, NotPriced, PricePerRate
from dirtune.analyse.limiting_node import Known, limiting
from dirtune.analyse.run import Cell, Knee, KneeLimit, Run, Trial, TrialKind
from dirtune.analyse.words import counted
from dirtune.escape import one_line
from dirtune.render import cells
from dirtune.render.blocks import Block, Figure, Section, Table, Text
from dirtune.render.figures import NONE, in_percent
from dirtune.render.markdown import escaped

PLAIN = "as planned"
CURVE = "Replies against offered connections per second; hollow points are invalid trials."
# Fractions of the knee's rate: below the knee, at the knee, and in overload.
_COMPARED_AT = (0.8, 1.0, 1.15)


def headline(run: Run) -> str | None:
    """Return the result of a finished sweep in one sentence; None if no trial is valid."""
    curves = {c.name: _curve(run, c.name) for c in cost.balanced_cells(run)}
    peaks = [(p.reply_rate, p, name) for name, points in curves.items() for p in points]
    if not peaks:
        return next(_probes(run), None)
    _, top, name = max(peaks)
    where = f" ({label(run, name)})" if name else ""
    rate = f"{at_least(curves[name])}{top.reply_rate:.5g}"
    text = f"Peak: {rate} replies/s{where}, with {in_percent(top.loss, 2)} lost"
    knees = [knee for knee in run.knees if knee.cell == name]
    tail = "; ".join(f"knee, {capacity.in_words(knee).partition(';')[0]}" for knee in knees)
    return f"{text}; {tail}." if tail else f"{text}."


def _probes(run: Run) -> Iterator[str]:
    for cell in cost.balanced_cells(run):
        closed = capacity.probed(cost.trials_of(run, cell.name))
        if closed is not None:
            where = f" ({label(run, cell.name)})" if cell.name else ""
            spread = "" if closed.sd is None else f", sd {closed.sd:.1f}"
            yield (
                f"Peak probe{where}: {closed.reply_rate:.5g} replies/s "
                f"({counted(closed.trials, 'trial')}{spread}). A closed loop cannot show loss."
            )


def _curve(run: Run, cell: str) -> tuple[capacity.Point, ...]:
    return capacity.curve(cost.trials_of(run, cell))


def sections(run: Run) -> tuple[Section, ...]:
    """Return the sections for which the run has content; empty for a comparison of arms."""
    if any(trial.pair is not None for trial in run.trials):
        return ()
    every = (
        Section("Capacity", tuple(_capacity(run))),
        Section("Limiting node", tuple(limits(run, cost.looked_at(run)))),
        Section("Scaling", tuple(_scaling(run))),
        Section("CPU per connection", tuple(_costs(run))),
        Section("Network", tuple(_network(run))),
        Section("Price", tuple(prices(run))),
    )
    return tuple(section for section in every if section.blocks)


def enough(trials_by_line: dict[str, tuple[Trial, ...]]) -> bool:
    """Return whether there are at least three points to draw, with different rates or cells."""
    rates = ({trial.offered_rate for trial in trials} for trials in trials_by_line.values())
    return sum(map(len, rates)) > 2


def swept(run: Run) -> dict[str, tuple[Trial, ...]]:
    """Return the judged trials of a sweep, by the printed label of their cell."""
    if any(trial.pair is not None for trial in run.trials):
        return {}
    found = {
        label(run, cell.name): tuple(
            t for t in cost.trials_of(run, cell.name) if t.kind == TrialKind.JUDGED
        )
        for cell in cost.balanced_cells(run)
    }
    return {name: trials for name, trials in found.items() if trials}


def text(run: Run, style: str) -> str:
    """Return the sections for a terminal (`simple`) or as Markdown (`github`)."""
    head = "## " if style == "github" else ""
    parts = (
        f"{head}{section.title}\n\n"
        + "\n\n".join(_block(block, style) for block in section.blocks)
        for section in sections(run)
    )
    return "\n\n".join(parts)


def _block(block: Block, style: str) -> str:
    if isinstance(block, Table):
        align = ["right" if name in block.numeric else "left" for name in block.header]
        return cells.table(block.rows, block.header, style, align)
    clean = escaped if style == "github" else one_line
    return clean(block.text) if isinstance(block, Text) else ""


def _every(run: Run) -> tuple[Cell, ...]:
    controls = tuple(cell for cell in run.cells if not cell.settings and cell.refused is None)
    return (*controls, *cost.balanced_cells(run))


def label(run: Run, name: str) -> str:
    """Return the label of the cell *name*, such as `2.4.0, 4 CPUs, dr, 2 real servers`."""
    settings = next((cell.settings for cell in run.cells if cell.name == name), {})
    return ", ".join(value(axis, setting) for axis, setting in settings.items()) or name or PLAIN


def marked(text: str, *trials: Trial) -> str:
    """Return *text*, the name of a row, with a mark if one of the row's *trials* is not valid."""
    return text if all(trial.valid for trial in trials) else f"{text} (not valid)"


def value(axis: str, setting: str | int) -> str:
    """Return the *setting* of an axis of the matrix, with its noun if it is a count: `4 CPUs`."""
    one, many = _COUNTED.get(axis, ("", ""))
    return f"{setting} {one if setting == 1 else many}".rstrip()


_COUNTED = {
    "cpus": ("CPU", "CPUs"),
    "real_servers": ("real server", "real servers"),
    "page_bytes": ("byte", "bytes"),
    "keepalive": ("request each", "requests each"),
    "clients": ("client", "clients"),
}


def _capacity(run: Run) -> Iterator[Block]:
    header = ("cell", "peak/s", "sd", "offered/s", "lost at peak", "us CPU/conn", "us CPU/packet")
    rows = tuple(row for cell in _every(run) if (row := _peak_row(run, cell)) is not None)
    if enough(swept(run)):
        yield Figure("capacity", CURVE)
    if rows:
        yield Table(header, rows, frozenset(header[1:]))
    yield from map(Text, _probes(run))
    yield from (Text(f"Knee, {label(run, knee.cell)}: {_knee(knee)}.") for knee in run.knees)
    yield from (Text(_by_clients(row)) for row in cost.by_clients(run))
    refused = dict.fromkeys(cell.refused for cell in run.cells if cell.refused is not None)
    yield from (Text(f"Not measured: {reason}.") for reason in refused)


def _knee(knee: Knee) -> str:
    text = capacity.in_words(knee)
    if knee.rate is None or knee.limit != KneeLimit.SYSTEM:
        return text
    rates = ", ".join(f"{share * knee.rate:.5g}" for share in _COMPARED_AT)
    return f"{text}. To measure a change, compare before and after at {rates}/s"


def _by_clients(row: ByClients) -> str:
    where = f", {row.others}" if row.others else ""
    made = ", ".join(f"{rate:.5g}/s with {value('clients', n)}" for n, rate in row.made.items())
    if not row.known:
        verdict = (
            "The difference may be chance. Begin a new run whose plan has longer windows or more "
            "repeats."
        )
    elif row.enough is None:
        verdict = "More clients reached a higher rate, so the clients are the limit."
    else:
        clients = value("clients", row.enough)
        verdict = f"More than {clients} gained nothing, so the clients are not the limit."
    return f"{row.metric.capitalize()}{where}: {made}. {verdict}"


def _peak_row(run: Run, cell: Cell) -> tuple[str, ...] | None:
    trials = [t for t in cost.trials_of(run, cell.name) if t.kind in capacity.SWEEP_KINDS]
    points = capacity.curve(trials)
    top = capacity.peak(points)
    if top is None:
        return None
    at_peak = [t for t in trials if t.offered_rate == top.offered and t.valid]
    cpu_us, packets = (
        _mean(at_peak, "cpu_us_per_connection"),
        _mean(at_peak, "packets_per_connection"),
    )
    return (
        label(run, cell.name),
        f"{at_least(points)}{top.reply_rate:.1f}",
        NONE if top.sd is None else f"{top.sd:.1f}",
        f"{top.offered:g}",
        in_percent(top.loss, 3),
        NONE if cpu_us is None else f"{cpu_us:.0f}",
        NONE if cpu_us is None or not packets else f"{cpu_us / packets:.0f}",
    )


def at_least(points: Sequence[capacity.Point]) -> str:
    """Return `>= ` if no higher rate of the sweep confirms the peak, otherwise an empty string."""
    return "" if capacity.saturated(points) else ">= "


def _mean(trials: list[Trial], metric: str) -> float | None:
    values = [trial.metrics[metric] for trial in trials if metric in trial.metrics]
    return sum(values) / len(values) if values else None


def limits(run: Run, trials: Sequence[Trial]) -> Iterator[Block]:
    """Yield one paragraph per trial, with the node that limits the trial and the reason."""
    passing = {cell.name for cell in cost.balanced_cells(run)}
    known = Known(alone=_alone(run), link_bits_per_s=link_bits_per_s(run))
    for trial in trials:
        if trial.cell in passing:
            used = cost.network_io(trial, None)
            used_bits = None if used is None else used.bits_per_s
            limit = limiting(trial, known._replace(used_bits_per_s=used_bits))
            yield Text(
                f"{label(run, trial.cell)}, at {trial.offered_rate:g}/s offered: {limit.words}."
            )


def _alone(run: Run) -> float | None:
    """Return the peak of one real server without the director.

    If no trial measured that, return the peak behind the director with one real server.
    """
    names = ("direct", *(c.name for c in run.cells if c.settings.get("real_servers") == 1))
    peaks = (capacity.peak(capacity.curve(cost.trials_of(run, name))) for name in names)
    return next((top.reply_rate for top in peaks if top is not None), None)


def link_bits_per_s(run: Run) -> float | None:
    """Return the link's capacity from the plan, or the highest rate that NetPIPE measured."""
    if given := run.plan.link_bits_per_s:
        return given
    return max((point.bits_per_s for point in run.link), default=None)


def _scaling(run: Run) -> Iterator[Block]:
    rows = cost.scaling(run)
    if rows:
        header = ("axis", "cell", "number", "peak/s", "share of linear")
        cells = tuple(
            (r.axis.replace("_", " "), r.others or PLAIN, str(r.nodes), f"{r.peak:.1f}",
             in_percent(r.efficiency, 0)) for r in rows
        )  # fmt: skip
        yield Table(header, cells, frozenset(header[2:]))


def _costs(run: Run) -> Iterator[Block]:
    rows = [
        (marked(label(run, trial.cell), trial), node.node, node.role,
         f"{node.us_per_connection:.0f}")
        for trial in cost.looked_at(run)
        for node in cost.node_costs(trial)
    ]  # fmt: skip
    if rows:
        header = ("cell", "node", "role", "us CPU/connection")
        yield Table(header, tuple(rows), frozenset(header[3:]))
        yield Text("The cost is per connection that went through the node.")
    if added := cost.ipvs_cost_us(run):
        heads = ("cell", "offered/s", "us that IPVS adds to plain routing")
        body = tuple((label(run, cell), f"{rate:g}", f"{us:.0f}") for cell, rate, us in added)
        yield Table(heads, body, frozenset(heads[1:]))
    yield from (Text(_forwarded(row)) for row in cost.forwarded(run))


def _forwarded(row: Forwarded) -> str:
    where = f"{row.others}, " if row.others else ""
    return (
        f"{where}{row.method} compared with {row.beside} at {row.offered:g}/s: per connection, the"
        f" director spends {row.cpu:.2f} times the CPU time and handles {row.packets:.2f} times"
        f" the packets; per packet, it spends {row.cpu_per_packet:.2f} times the CPU time."
    )


def _network(run: Run) -> Iterator[Block]:
    link = link_bits_per_s(run)
    rows = []
    for trial in cost.looked_at(run):
        io = cost.network_io(trial, link)
        if io is not None:
            share = NONE if io.share_of_link is None else in_percent(io.share_of_link)
            rows.append(
                (marked(label(run, trial.cell), trial), f"{trial.reply_rate:.1f}",
                 f"{io.bytes_per_s / 1e6:.3f}", f"{io.bits_per_s / 1e6:.3f}", share)
            )  # fmt: skip
    if rows:
        header = ("cell", "replies/s", "MB/s", "Mbit/s", "share of link")
        yield Table(header, tuple(rows), frozenset(header[1:]))
        yield Text(
            "The director's IPVS counted these bytes of IP packets; a megabyte is 10^6 bytes."
            " With DR and TUN, replies bypass the director."
        )


def prices(run: Run) -> Iterator[Block]:
    """Yield the table of prices, and a note on the cells to which the prices do not apply.

    Yield nothing if the plan has no table [price].
    """
    priced = cost.price_per_rate(run)
    price = run.plan.price
    if not priced or price is None:
        return
    currency, date = price.currency, price.date
    header = ("cell", "scope", "metric", "price", "per s", f"{currency} per request/s", "± 1 sd")
    rows = tuple(_price_row(run, row) for row in priced if isinstance(row, PricePerRate))
    if rows:
        yield Table(header, rows, frozenset(header[3:]))
    as_of = f" as of {date}" if date else "; the plan gives no date for them"
    yield Text(f"Prices are in {currency}{as_of}.")
    unpriced = Counter(row.differences for row in priced if isinstance(row, NotPriced))
    for differences, number in unpriced.items():
        cells = counted(number, "cell")
        yield Text(f"The prices do not apply to {cells} with {differences}.")


def _price_row(run: Run, row: PricePerRate) -> tuple[str, ...]:
    spread = NONE if row.spread is None else f"{row.spread[0]:.3f} to {row.spread[1]:.3f}"
    return (
        label(run, row.cell),
        row.scope,
        row.metric,
        f"{row.price:,.0f}",
        f"{row.rate:.1f}",
        f"{row.per_rate:.3f}",
        spread,
    )
