"""What a connection costs, how far more nodes help, and what it comes to in money. Pure.

Every figure says what it is of: a price belongs to one configuration and is never divided by the
rate of another, and a cost per connection is that of the connections that went through the node.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dirtune.analyse import capacity
from dirtune.analyse.limit import idle
from dirtune.analyse.run import Cell, KneeLimit, NodeCpu, Role, Run, Trial, TrialKind
from dirtune.plan.tables import Price

SCALING_AXES = ("real_servers", "cpus")
_AS_MUCH = 1.05
"""Of numbers of clients: what more of them make at most where it is not they that limit."""
_ERRORS = 3
"""Standard errors of the difference, of what two or three repeats tell, that are no chance."""


class NodeCost(NamedTuple):
    """CPU time of one node for each connection that went through it."""

    node: str
    role: Role
    us_per_connection: float


class Scaling(NamedTuple):
    """The peak of one cell against so many times that of one node."""

    axis: str
    others: str
    """The rest of the cell's settings, which do not change."""
    nodes: int
    peak: float
    """Replies/s."""
    efficiency: float
    """The peak over *nodes* times the peak of one."""


class ByClients(NamedTuple):
    """What the same cell made with different numbers of clients."""

    others: str
    """The rest of the cell's settings, which do not change."""
    metric: str
    made: dict[int, float]
    """Replies/s or connections/s by the number of clients, from few to many."""
    enough: int | None
    """The least number that made as much as more of them; None if the most made more still."""
    known: bool
    """Whether each was tried often enough to tell more of them from chance."""


class Forwarded(NamedTuple):
    """What a forwarding method takes of the director beside another, at one offered rate."""

    others: str
    """The rest of the cells' settings, which are the same."""
    offered: float
    method: str
    beside: str
    cpu: float
    """CPU time for a connection, over that of *beside*: the product of the other two."""
    packets: float
    """Packets for a connection, over those of *beside*: behind NAT the answers pass too."""
    each: float
    """CPU time for a packet, over that of *beside*."""


class NetworkIo(NamedTuple):
    """Bytes of the load that the director saw in a window."""

    bytes_per_s: float
    bits_per_s: float
    share_of_link: float | None
    """0 to 1; None where the link's capacity is not known."""


class PricePerRate(NamedTuple):
    """Price for each connection/s, with its scope."""

    cell: str
    scope: str
    metric: str
    price: float
    rate: float
    each: float
    """Price over rate."""
    spread: tuple[float, float] | None
    """The same with the rate one standard deviation up and down."""


def node_costs(trial: Trial) -> tuple[NodeCost, ...]:
    """Return each sampled node's CPU microseconds for one of its own connections.

    Clients begin equal shares; real servers are taken to as well where the director's counters
    of each (`Trial.shares`) are not known. A node that a control's load passes by has no cost.
    """
    found = []
    for node in trial.nodes:
        rate = 0.0 if _aside(node, trial) else _own_rate(node, trial)
        rest = idle(node.states)
        if rate and rest is not None and node.cpus is not None:
            stolen = node.states["steal"].mean if "steal" in node.states else 0.0
            busy = max(0.0, 100 - rest - stolen) / 100 * node.cpus
            found.append(NodeCost(node.node, node.role, 1e6 * busy / rate))
    return tuple(found)


def _aside(node: NodeCpu, trial: Trial) -> bool:
    """Tell whether a control's load went past the node, or may have."""
    servers = sum(other.role == Role.REAL_SERVER for other in trial.nodes)
    apart = {
        "null_server": {Role.DIRECTOR, Role.REAL_SERVER},
        "direct": {Role.DIRECTOR} | ({Role.REAL_SERVER} if servers > 1 else set()),
        "routed": {Role.REAL_SERVER} if servers > 1 else set(),
    }
    return node.role in apart.get(trial.cell, set())


def _own_rate(node: NodeCpu, trial: Trial) -> float:
    if node.role == Role.DIRECTOR:
        return trial.reply_rate
    total = sum(trial.shares.values())
    if node.role == Role.REAL_SERVER and total and node.node in trial.shares:
        return trial.reply_rate * trial.shares[node.node] / total
    return trial.reply_rate / sum(other.role == node.role for other in trial.nodes)


def scaling(run: Run) -> tuple[Scaling, ...]:
    """Return the peaks of a matrix over real servers and CPUs against n times one.

    Without a cell whose sweep did not saturate it: its peak is not known.
    """
    return tuple(row for axis in SCALING_AXES for row in _scaling(run, axis))


def _scaling(run: Run, axis: str) -> Iterator[Scaling]:
    groups: dict[str, dict[int, float]] = {}
    for cell in run.cells:
        count = cell.settings.get(axis)
        points = capacity.curve(trials_of(run, cell.name))
        top = capacity.peak(points)
        if isinstance(count, int) and top is not None and capacity.saturated(points):
            groups.setdefault(_rest(cell, axis), {})[count] = top.reply_rate
    for rest, peaks in groups.items():
        if len(peaks) > 1 and (one := peaks.get(1)):
            yield from (
                Scaling(axis, rest, n, peaks[n], peaks[n] / n / one) for n in sorted(peaks)
            )


def by_clients(run: Run) -> tuple[ByClients, ...]:
    """Return whether more clients made more: the test of what limits that no figure replaces.

    Without a cell whose peak, or knee, the sweep or the search did not come to.
    """
    groups: dict[tuple[str, str], dict[int, _Made]] = {}
    for cell in run.cells:
        count = cell.settings.get("clients")
        if isinstance(count, int):
            for metric, made in _made(run, cell):
                groups.setdefault((_rest(cell, "clients"), metric), {})[count] = made
    return tuple(
        _by_clients(rest, metric, dict(sorted(made.items())))
        for (rest, metric), made in groups.items()
        if len(made) > 1
    )


class _Made(NamedTuple):
    rate: float
    error: float | None
    """Standard error of a mean; 0 of what a search narrowed down, None of one trial."""


def _made(run: Run, cell: Cell) -> Iterator[tuple[str, _Made]]:
    points = capacity.curve(trials_of(run, cell.name))
    top = capacity.peak(points)
    if top is not None and capacity.saturated(points):
        error = None if top.sd is None else top.sd / math.sqrt(top.trials)
        yield "peak", _Made(top.reply_rate, error)
    for knee in run.knees:
        if knee.cell == cell.name and knee.rate is not None and knee.limit == KneeLimit.SYSTEM:
            yield f"knee at {100 * knee.loss_goal:g} % lost", _Made(knee.rate, 0.0)


def _by_clients(others: str, metric: str, made: Mapping[int, _Made]) -> ByClients:
    rises = {
        few: [_more(one, more) for many, more in made.items() if many > few]
        for few, one in made.items()
    }
    enough = next((n for n, rise in rises.items() if rise and not any(rise)), None)
    known = all(more is not None for rise in rises.values() for more in rise)
    return ByClients(others, metric, {n: each.rate for n, each in made.items()}, enough, known)


def _more(few: _Made, many: _Made) -> bool | None:
    """Tell whether *many* made more than *few*; None where that may be chance."""
    if few.error is None or many.error is None:
        return None
    more = many.rate - few.rate
    chance = _ERRORS * math.hypot(few.error, many.error)
    if more + chance <= (_AS_MUCH - 1) * few.rate:
        return False
    return True if more > max(chance, (_AS_MUCH - 1) * few.rate) else None


def _rest(cell: Cell, axis: str) -> str:
    return ",".join(f"{name}={value}" for name, value in cell.settings.items() if name != axis)


def trials_of(run: Run, cell: str) -> tuple[Trial, ...]:
    """Return the trials of one cell."""
    return tuple(trial for trial in run.trials if trial.cell == cell)


def looked_at(run: Run) -> tuple[Trial, ...]:
    """Return each cell's trial in which the nodes were sampled: that meant for it, or its peak."""
    best: dict[str, Trial] = {}
    for trial in run.trials:
        known = best.get(trial.cell)
        if (
            trial.nodes
            and trial.kind != TrialKind.PROFILED
            and (known is None or _rank(trial) > _rank(known))
        ):
            best[trial.cell] = trial
    return tuple(best.values())


def _rank(trial: Trial) -> tuple[bool, float]:
    return trial.kind == TrialKind.OBSERVED, trial.reply_rate


def balanced_cells(run: Run) -> tuple[Cell, ...]:
    """Return the run's cells without its controls; the plan as it stands if it has no other."""
    named = tuple(cell for cell in run.cells if cell.settings and cell.refused is None)
    return named or (Cell("", {}, ""),)


def ipvs_cost_us(run: Run) -> tuple[tuple[str, float, float], ...]:
    """Return (cell, offered rate, microseconds) that IPVS adds to plain routing.

    The director's CPU time for a connection in the cell less that of the control `routed` at the
    same offered rate; only rates that both hold.
    """
    plain = _mean_cost(trials_of(run, "routed"))
    return tuple(
        (cell.name, rate, cost - plain[rate])
        for cell in balanced_cells(run)
        for rate, cost in _mean_cost(trials_of(run, cell.name)).items()
        if rate in plain
    )


def forwarded(run: Run) -> tuple[Forwarded, ...]:
    """Return what each forwarding method of a matrix takes beside direct routing.

    At every rate that both hold, the CPU time for a connection taken apart into its packets and
    the time for each: it tells whether a method costs more because more passes the director, or
    because what passes is dearer.
    """
    groups: dict[str, dict[str, tuple[Trial, ...]]] = {}
    for cell in balanced_cells(run):
        if method := cell.settings.get("forwarding"):
            alike = groups.setdefault(_rest(cell, "forwarding"), {})
            alike[str(method)] = trials_of(run, cell.name)
    return tuple(
        row
        for others, methods in groups.items()
        for method in methods
        if method != _PLAIN and _PLAIN in methods
        for row in _beside(others, method, methods[method], methods[_PLAIN])
    )


_PLAIN = "dr"


def _beside(
    others: str, method: str, trials: Sequence[Trial], plain: Sequence[Trial]
) -> Iterator[Forwarded]:
    ours, theirs = _mean_cost(trials), _mean_cost(plain)
    carried, fewer = (_mean(each, "packets_per_connection") for each in (trials, plain))
    for rate, cost in ours.items():
        if rate in carried and theirs.get(rate) and fewer.get(rate):
            cpu, packets = cost / theirs[rate], carried[rate] / fewer[rate]
            yield Forwarded(others, rate, method, _PLAIN, cpu, packets, cpu / packets)


def _mean_cost(trials: Sequence[Trial]) -> dict[float, float]:
    return _mean(trials, "cpu_us_per_connection")


def _mean(trials: Sequence[Trial], metric: str) -> dict[float, float]:
    """Return the mean of the valid trials by their offered rate."""
    by_rate: dict[float, list[float]] = {}
    for trial in trials:
        value = trial.metrics.get(metric)
        if trial.valid and trial.kind == TrialKind.JUDGED and value is not None:
            by_rate.setdefault(trial.offered_rate, []).append(value)
    return {rate: sum(values) / len(values) for rate, values in sorted(by_rate.items())}


def network_io(trial: Trial, link_bits_per_s: float | None) -> NetworkIo | None:
    """Return what the director's IPVS counters say of the load; None without them.

    Under DR and TUN the replies do not pass the director and are not in it.
    """
    moved = [trial.counters.get(name) for name in ("bytes_in", "bytes_out")]
    if any(count is None for count in moved) or not trial.window_s:
        return None
    each = sum(count or 0 for count in moved) / trial.window_s
    share = None if link_bits_per_s is None else 8 * each / link_bits_per_s
    return NetworkIo(each, 8 * each, share)


def price_per_rate(run: Run) -> tuple[PricePerRate | str, ...]:
    """Return prices per connection/s, or why a cell has none; empty without `[price]`."""
    plan = run.plan
    if plan.price is None:
        return ()
    servers = len(plan.destinations)
    cells = balanced_cells(run)
    return tuple(row for cell in cells for row in _priced(run, cell, plan.price, servers))


def _priced(
    run: Run, cell: Cell, prices: Price, destinations: int
) -> Iterator[PricePerRate | str]:
    other = [
        f"{axis} {value} and not {prices.of[axis]}"
        for axis, value in cell.settings.items()
        if axis in prices.of and prices.of[axis] != value
    ]
    if other:
        yield f"{cell.name}: the prices are not of it: it has {', '.join(other)}"
        return
    servers = cell.settings.get("real_servers", destinations)
    scopes = _scopes(prices, int(servers))
    points = capacity.curve(trials_of(run, cell.name))
    top = capacity.peak(points)
    for scope, price in scopes:
        if top is not None and capacity.saturated(points):
            yield _each(cell, scope, f"peak, {top.loss:.2%} lost", price, top.reply_rate, top.sd)
        for knee in run.knees:
            if knee.cell == cell.name and knee.rate:
                metric = f"knee at {100 * knee.loss_goal:g} % lost"
                yield _each(cell, scope, metric, price, knee.rate, None)


def _scopes(prices: Price, servers: int) -> Iterator[tuple[str, float]]:
    yield "director only", prices.director
    if prices.real_server is not None and servers:
        total = prices.director + servers * prices.real_server
        yield f"director and {servers} real servers", total
        if prices.switch is not None:
            yield f"director, {servers} real servers and switch", total + prices.switch


def _each(
    cell: Cell, scope: str, metric: str, price: float, rate: float, sd: float | None
) -> PricePerRate:
    spread = None if sd is None or sd >= rate else (price / (rate + sd), price / (rate - sd))
    return PricePerRate(cell.name, scope, metric, price, rate, price / rate, spread)
