"""What a bench run found, as tables: cells, knees, scaling, costs, prices, the limiting node."""

from collections.abc import Iterator, Sequence

from dirtune import escape
from dirtune.analyse import capacity, cost
from dirtune.analyse.cost import ByClients, Forwarded, PricePerRate
from dirtune.analyse.limit import Known, limiting
from dirtune.analyse.run import Cell, Knee, KneeLimit, Run, Trial, TrialKind
from dirtune.render import cells
from dirtune.render.blocks import Block, Figure, Section, Table, Text

PLAIN = "as planned"
CURVE = "Replies against offered connections per second; hollow points do not count."
_NONE = "-"
# Shares of the knee: where all goes well, where it begins to go wrong, and overload.
_COMPARED_AT = (0.8, 1.0, 1.15)
# Ratios this near to 1 are no difference worth a word; they come without an interval.
_ALIKE = 0.05


def headline(run: Run) -> str | None:
    """Return what a finished sweep came to, in one sentence; None without a valid trial."""
    curves = {c.name: _curve(run, c.name) for c in cost.balanced_cells(run)}
    peaks = [(p.reply_rate, p, name) for name, points in curves.items() for p in points]
    if not peaks:
        return next(_probes(run), None)
    _, top, name = max(peaks)
    where = f" ({label(run, name)})" if name else ""
    rate = f"{at_least(curves[name])}{top.reply_rate:.5g}"
    text = f"Peak: {rate} replies/s{where}, with {top.loss:.2%} lost"
    knees = [knee for knee in run.knees if knee.cell == name]
    tail = "; ".join(f"knee, {capacity.in_words(knee).partition(';')[0]}" for knee in knees)
    return f"{text}; {tail}." if tail else f"{text}."


def _probes(run: Run) -> Iterator[str]:
    for cell in cost.balanced_cells(run):
        found = capacity.probed(cost.trials_of(run, cell.name))
        if found is not None:
            where = f" ({label(run, cell.name)})" if cell.name else ""
            spread = "" if found.sd is None else f", sd {found.sd:.1f}"
            yield (
                f"Peak probe{where}: {found.reply_rate:.5g} replies/s ({found.trials} trials"
                f"{spread}), of a closed loop, which says nothing of loss."
            )


def _curve(run: Run, cell: str) -> tuple[capacity.Point, ...]:
    return capacity.curve(cost.trials_of(run, cell))


def sections(run: Run) -> tuple[Section, ...]:
    """Return what there is to tell, each under its heading; empty for a comparison of arms."""
    if any(trial.pair is not None for trial in run.trials):
        return ()
    found = (
        Section("Capacity", tuple(_capacity(run))),
        Section("Limiting node", tuple(limits(run, cost.looked_at(run)))),
        Section("Scaling", tuple(_scaling(run))),
        Section("CPU per connection", tuple(_costs(run))),
        Section("Network", tuple(_network(run))),
        Section("Price", tuple(prices(run))),
    )
    return tuple(section for section in found if section.blocks)


def enough(found: dict[str, tuple[Trial, ...]]) -> bool:
    """Tell whether the lines are worth drawing: three points of different rates or cells."""
    return sum(len({trial.offered_rate for trial in trials}) for trials in found.values()) > 2


def swept(run: Run) -> dict[str, tuple[Trial, ...]]:
    """Return the sweep's trials of each cell by what a reader would call it."""
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
    clean = escape.markdown if style == "github" else escape.one_line
    return clean(block.text) if isinstance(block, Text) else ""


def _every(run: Run) -> tuple[Cell, ...]:
    controls = tuple(cell for cell in run.cells if not cell.settings and cell.refused is None)
    return (*controls, *cost.balanced_cells(run))


def label(run: Run, name: str) -> str:
    """Return a cell as a reader would say it: `2.4.0, 4 CPUs, dr, 2 real servers`."""
    settings = next((cell.settings for cell in run.cells if cell.name == name), {})
    return ", ".join(said(axis, value) for axis, value in settings.items()) or name or PLAIN


def said(axis: str, value: str | int) -> str:
    """Return the value of an axis of the matrix with what it counts."""
    one, many = _COUNTED.get(axis, ("", ""))
    return f"{value} {one if value == 1 else many}".rstrip()


_COUNTED = {
    "cpus": ("CPU", "CPUs"),
    "real_servers": ("real server", "real servers"),
    "page_bytes": ("byte", "bytes"),
    "keepalive": ("request each", "requests each"),
    "clients": ("client", "clients"),
}


def _capacity(run: Run) -> Iterator[Block]:
    header = ("cell", "peak/s", "sd", "offered/s", "lost there", "µs CPU/conn", "µs CPU/packet")
    rows = tuple(row for cell in _every(run) if (row := _peak_row(run, cell)) is not None)
    if enough(swept(run)):
        yield Figure("capacity", CURVE)
    if rows:
        yield Table(header, rows, frozenset(header[1:]))
    yield from map(Text, _probes(run))
    yield from (Text(f"Knee, {label(run, knee.cell)}: {_knee(knee)}.") for knee in run.knees)
    yield from (Text(_by_clients(each)) for each in cost.by_clients(run))
    refused = dict.fromkeys(cell.refused for cell in run.cells if cell.refused is not None)
    yield from (Text(f"Not carried out: {reason}.") for reason in refused)


def _knee(found: Knee) -> str:
    said = capacity.in_words(found)
    if found.rate is None or found.limit != KneeLimit.SYSTEM:
        return said
    rates = ", ".join(f"{share * found.rate:.5g}" for share in _COMPARED_AT)
    return f"{said}. Compare before and after a change at {rates}/s: below it, at it, beyond it"


def _by_clients(found: ByClients) -> str:
    where = f", {found.others}" if found.others else ""
    made = ", ".join(f"{rate:.5g}/s with {said('clients', n)}" for n, rate in found.made.items())
    enough = found.enough
    if not found.known:
        verdict = "that may be chance: a higher load.repeats tells whether they limit"
    elif enough is None:
        verdict = "more clients made more: they limit it, and more still may be made"
    else:
        verdict = f"more than {said('clients', enough)} made no more: it is not they that limit"
    return f"{found.metric.capitalize()}{where}: {made}; {verdict}."


def _peak_row(run: Run, cell: Cell) -> tuple[str, ...] | None:
    trials = [t for t in cost.trials_of(run, cell.name) if t.kind in capacity.SWEEP_KINDS]
    points = capacity.curve(trials)
    top = capacity.peak(points)
    if top is None:
        return None
    at_peak = [t for t in trials if t.offered_rate == top.offered and t.valid]
    each, packets = (
        _mean(at_peak, "cpu_us_per_connection"),
        _mean(at_peak, "packets_per_connection"),
    )
    return (
        label(run, cell.name),
        f"{at_least(points)}{top.reply_rate:.1f}",
        _NONE if top.sd is None else f"{top.sd:.1f}",
        f"{top.offered:g}",
        f"{top.loss:.3%}",
        _NONE if each is None else f"{each:.0f}",
        _NONE if each is None or not packets else f"{each / packets:.0f}",
    )


def at_least(points: Sequence[capacity.Point]) -> str:
    """Return what stands before a peak that no rate of the sweep went beyond."""
    return "" if capacity.saturated(points) else ">= "


def _mean(trials: list[Trial], metric: str) -> float | None:
    values = [trial.metrics[metric] for trial in trials if metric in trial.metrics]
    return sum(values) / len(values) if values else None


def limits(run: Run, trials: Sequence[Trial]) -> Iterator[Block]:
    """Yield for each trial which node holds it back, and why."""
    passing = {cell.name for cell in cost.balanced_cells(run)}
    known = Known(alone=_alone(run), link_bits_per_s=link_bits_per_s(run))
    for trial in trials:
        if trial.cell in passing:
            used = cost.network_io(trial, None)
            used_bits = None if used is None else used.bits_per_s
            found = limiting(trial, known._replace(used_bits_per_s=used_bits))
            yield Text(
                f"{label(run, trial.cell)}, at {trial.offered_rate:g}/s offered: {found.words}."
            )


def _alone(run: Run) -> float | None:
    """Return what one real server made by itself: past the director, else as the only one."""
    names = ("direct", *(c.name for c in run.cells if c.settings.get("real_servers") == 1))
    peaks = (capacity.peak(capacity.curve(cost.trials_of(run, name))) for name in names)
    return next((top.reply_rate for top in peaks if top is not None), None)


def link_bits_per_s(run: Run) -> float | None:
    """Return the capacity of the link: as the plan gives it, else the most NetPIPE made."""
    if given := run.plan.link_bits_per_s:
        return given
    return max((point.bits_per_s for point in run.link), default=None)


def _scaling(run: Run) -> Iterator[Block]:
    rows = cost.scaling(run)
    if rows:
        header = ("over", "cell", "number", "peak/s", "of so many times one")
        cells = tuple(
            (r.axis.replace("_", " "), r.others or PLAIN, str(r.nodes), f"{r.peak:.1f}",
             f"{r.efficiency:.0%}") for r in rows
        )  # fmt: skip
        yield Table(header, cells, frozenset(header[2:]))


def _costs(run: Run) -> Iterator[Block]:
    rows = [
        (label(run, trial.cell), each.node, each.role, f"{each.us_per_connection:.0f}")
        for trial in cost.looked_at(run)
        for each in cost.node_costs(trial)
    ]
    if rows:
        header = ("cell", "node", "role", "µs CPU/connection")
        yield Table(header, tuple(rows), frozenset(header[3:]))
        yield Text("Of the connections that went through the node.")
    if added := cost.ipvs_cost_us(run):
        heads = ("cell", "offered/s", "µs that IPVS adds to routing")
        body = tuple((label(run, cell), f"{rate:g}", f"{us:.0f}") for cell, rate, us in added)
        yield Table(heads, body, frozenset(heads[1:]))
    yield from (Text(_forwarded(each)) for each in cost.forwarded(run))


def _forwarded(found: Forwarded) -> str:
    where = f"{found.others}, " if found.others else ""
    more = _compared(found.packets, "more", "fewer")
    dearer = _compared(found.each, "dearer", "cheaper")
    return (
        f"{where}{found.method} beside {found.beside} at {found.offered:g}/s: a connection takes"
        f" {found.cpu:.2f} times the director's CPU, {found.packets:.2f} times its packets by"
        f" {found.each:.2f} times the CPU for each: {more} packets pass it, each {dearer}."
    )


def _compared(ratio: float, above: str, below: str) -> str:
    if abs(ratio - 1) < _ALIKE:
        return f"hardly {above}"
    return above if ratio > 1 else below


def _network(run: Run) -> Iterator[Block]:
    link = link_bits_per_s(run)
    rows = []
    for trial in cost.looked_at(run):
        io = cost.network_io(trial, link)
        if io is not None:
            share = _NONE if io.share_of_link is None else f"{io.share_of_link:.1%}"
            rows.append(
                (label(run, trial.cell), f"{trial.reply_rate:.1f}", f"{io.bytes_per_s / 1e6:.3f}",
                 f"{io.bits_per_s / 1e6:.3f}", share)
            )  # fmt: skip
    if rows:
        header = ("cell", "replies/s", "MB/s", "Mbit/s", "of the link")
        yield Table(header, tuple(rows), frozenset(header[1:]))
        yield Text(
            "Bytes of IP packets that the director's IPVS counted, 10^6 to the mega; under DR and"
            " TUN the replies do not pass it."
        )


def prices(run: Run) -> Iterator[Block]:
    """Yield the table of prices, with their scope; nothing without `[price]`."""
    found = cost.price_per_rate(run)
    price = run.plan.price
    if not found or price is None:
        return
    currency, date = price.currency, price.date
    header = ("cell", "of", "metric", "price", "per s", f"{currency} per request/s", "± 1 sd")
    rows = tuple(_price_row(run, row) for row in found if isinstance(row, PricePerRate))
    if rows:
        yield Table(header, rows, frozenset(header[3:]))
    yield Text(f"Prices in {currency}, of {date or 'a date the plan does not name'}.")
    yield from (Text(f"{row}.") for row in found if isinstance(row, str))


def _price_row(run: Run, row: PricePerRate) -> tuple[str, ...]:
    spread = _NONE if row.spread is None else f"{row.spread[0]:.3f} to {row.spread[1]:.3f}"
    return (
        label(run, row.cell),
        row.scope,
        row.metric,
        f"{row.price:,.0f}",
        f"{row.rate:.1f}",
        f"{row.each:.3f}",
        spread,
    )
