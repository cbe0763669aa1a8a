"""Compute CPU time per connection, the gain from more nodes, and the price per connection/s. Pure.

A price is divided only by the rate of the configuration that it pays for. The CPU time of a node
is divided only by the number of connections that went through this node.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dirtune.analyse import capacity
from dirtune.analyse.limiting_node import idle
from dirtune.analyse.run import Cell, KneeLimit, NodeCpu, Role, Run, Trial, TrialKind
from dirtune.plan.tables import Price

SCALING_AXES = ("real_servers", "cpus")
_AS_MUCH = 1.05
"""The clients are not the limit if more of them raise the rate by at most 5 %."""
_ERRORS = 3
"""A difference of more than this many standard errors is not chance."""


class NodeCost(NamedTuple):
    """CPU time of one node, in microseconds, per connection that went through the node."""

    node: str
    role: Role
    us_per_connection: float


class Scaling(NamedTuple):
    """The peak with n real servers or CPUs, compared with n times the peak with one."""

    axis: str
    others: str
    """The settings that are the same in every compared cell of the matrix, as text."""
    nodes: int
    peak: float
    """Replies/s."""
    efficiency: float
    """The peak divided by *nodes* times the peak of one node."""


class ByClients(NamedTuple):
    """The rates that the same settings reached with different numbers of clients."""

    others: str
    """The settings that are the same in every compared cell of the matrix, as text."""
    metric: str
    made: dict[int, float]
    """Replies/s (peak) or connections/s (knee) by the number of clients, the smallest number
    first."""
    enough: int | None
    """The smallest number of clients that reached the same rate as any larger number; None if the
    largest number reached the highest rate."""
    known: bool
    """Whether every number of clients was tried often enough to separate a gain from chance."""


class Forwarded(NamedTuple):
    """The director's CPU time with one forwarding method compared with another method."""

    others: str
    """The settings that are the same with both forwarding methods, as text."""
    offered: float
    method: str
    beside: str
    cpu: float
    """CPU time per connection with `method` divided by the CPU time with `beside`. The ratio is
    the product of `packets` and `cpu_per_packet`."""
    packets: float
    """Packets per connection with `method` divided by the number with `beside`. NAT has more
    packets, because replies pass the director."""
    cpu_per_packet: float
    """CPU time per packet with `method` divided by the CPU time with `beside`."""


class NetworkIo(NamedTuple):
    """The traffic of the load that passed the director in the measured window."""

    bytes_per_s: float
    bits_per_s: float
    share_of_link: float | None
    """Share of the link's capacity, from 0 to 1; None if the capacity is unknown."""


class PricePerRate(NamedTuple):
    """The price of the nodes that `scope` names, divided by their connections/s."""

    cell: str
    scope: str
    metric: str
    price: float
    rate: float
    per_rate: float
    """The price divided by the rate."""
    spread: tuple[float, float] | None
    """The price per connection/s if the rate were one standard deviation higher, and lower."""


class NotPriced(NamedTuple):
    """A cell of the matrix to which the plan's prices do not apply."""

    cell: str
    differences: str
    """The settings that differ from the configuration for which the plan gives prices, as text."""


def node_costs(trial: Trial) -> tuple[NodeCost, ...]:
    """Return each sampled node's CPU time per connection through the node, in microseconds.

    Each client starts the same number of connections. Real servers are assumed to get equal
    numbers as well, unless the director counted the connections (`Trial.shares`). A node that a
    control trial bypasses is left out.
    """
    costs = []
    for node in trial.nodes:
        rate = 0.0 if _aside(node, trial) else _own_rate(node, trial)
        rest = idle(node.states)
        if rate and rest is not None and node.cpus is not None:
            stolen = node.states["steal"].mean if "steal" in node.states else 0.0
            busy = max(0.0, 100 - rest - stolen) / 100 * node.cpus
            costs.append(NodeCost(node.node, node.role, 1e6 * busy / rate))
    return tuple(costs)


def _aside(node: NodeCpu, trial: Trial) -> bool:
    """Return whether the load of a control trial bypassed *node*, or may have bypassed it."""
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
    """Return how the peak of a matrix grows with the number of real servers or CPUs.

    The peak with n of them is compared with n times the peak with one. A cell is left out if its
    sweep did not reach the peak.
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
    """Return the rates that different numbers of clients reached.

    They show whether the clients are the limit. A cell of the matrix is left out if its sweep did
    not reach the peak, or its search did not find the knee.
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
    """Standard error of the mean; 0 for the result of a search, None for a single trial."""


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
    return ByClients(others, metric, {n: one.rate for n, one in made.items()}, enough, known)


def _more(few: _Made, many: _Made) -> bool | None:
    """Return whether *many* clients reached a higher rate than *few* clients.

    The result is None if the difference may be chance.
    """
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
    """Return the trials that ran in the cell called *cell*, one combination of the matrix."""
    return tuple(trial for trial in run.trials if trial.cell == cell)


def looked_at(run: Run) -> tuple[Trial, ...]:
    """Return one trial with samples of all nodes for each cell of the matrix.

    The trial is the observed trial if the cell has one, else the trial with the highest reply
    rate.
    """
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
    """Return the combinations of the matrix that were measured, without the controls.

    Without a matrix, the result is one cell without a name.
    """
    named = tuple(cell for cell in run.cells if cell.settings and cell.refused is None)
    return named or (Cell("", {}, ""),)


def ipvs_cost_us(run: Run) -> tuple[tuple[str, float, float], ...]:
    """Return the CPU time that IPVS adds to plain routing, per connection.

    Each row holds the name of a cell, an offered rate in connections/s, and microseconds: the
    director's CPU time in the cell minus its CPU time in the control `routed` at the same rate. A
    rate that was not measured in both is left out.
    """
    plain = _mean_cost(trials_of(run, "routed"))
    return tuple(
        (cell.name, rate, cost - plain[rate])
        for cell in balanced_cells(run)
        for rate, cost in _mean_cost(trials_of(run, cell.name)).items()
        if rate in plain
    )


def forwarded(run: Run) -> tuple[Forwarded, ...]:
    """Return the director's CPU time with each forwarding method, compared with direct routing.

    At every rate that was measured with both methods, the ratio is split into packets per
    connection and CPU time per packet, because a method may cost more for either reason.
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
    carried, fewer = (_mean(arm, "packets_per_connection") for arm in (trials, plain))
    for rate, cost in ours.items():
        if rate in carried and theirs.get(rate) and fewer.get(rate):
            cpu, packets = cost / theirs[rate], carried[rate] / fewer[rate]
            yield Forwarded(others, rate, method, _PLAIN, cpu, packets, cpu / packets)


def _mean_cost(trials: Sequence[Trial]) -> dict[float, float]:
    return _mean(trials, "cpu_us_per_connection")


def _mean(trials: Sequence[Trial], metric: str) -> dict[float, float]:
    """Return the mean of *metric* over the valid judged trials, by offered rate."""
    by_rate: dict[float, list[float]] = {}
    for trial in trials:
        value = trial.metrics.get(metric)
        if trial.valid and trial.kind == TrialKind.JUDGED and value is not None:
            by_rate.setdefault(trial.offered_rate, []).append(value)
    return {rate: sum(values) / len(values) for rate, values in sorted(by_rate.items())}


def network_io(trial: Trial, link_bits_per_s: float | None) -> NetworkIo | None:
    """Return the traffic that IPVS on the director counted; None without counters.

    With DR and TUN, replies bypass the director, so the result does not include them.
    """
    moved = [trial.counters.get(name) for name in ("bytes_in", "bytes_out")]
    if any(count is None for count in moved) or not trial.window_s:
        return None
    bytes_per_s = sum(count or 0 for count in moved) / trial.window_s
    share = None if link_bits_per_s is None else 8 * bytes_per_s / link_bits_per_s
    return NetworkIo(bytes_per_s, 8 * bytes_per_s, share)


def price_per_rate(run: Run) -> tuple[PricePerRate | NotPriced, ...]:
    """Return the price per connection/s of each cell, or the reason why a cell has none.

    The result is empty if the plan has no table `[price]`.
    """
    plan = run.plan
    if plan.price is None:
        return ()
    servers = len(plan.destinations)
    cells = balanced_cells(run)
    return tuple(row for cell in cells for row in _priced(run, cell, plan.price, servers))


def _priced(
    run: Run, cell: Cell, prices: Price, destinations: int
) -> Iterator[PricePerRate | NotPriced]:
    other = [
        f"{axis} {value} instead of {prices.of[axis]}"
        for axis, value in cell.settings.items()
        if axis in prices.of and prices.of[axis] != value
    ]
    if other:
        yield NotPriced(cell.name, ", ".join(other))
        return
    servers = cell.settings.get("real_servers", destinations)
    scopes = _scopes(prices, int(servers))
    points = capacity.curve(trials_of(run, cell.name))
    top = capacity.peak(points)
    for scope, price in scopes:
        if top is not None and capacity.saturated(points):
            yield _of_rate(
                cell, scope, f"peak, {100 * top.loss:.2f} % lost", price, top.reply_rate, top.sd
            )
        for knee in run.knees:
            if knee.cell == cell.name and knee.rate:
                metric = f"knee at {100 * knee.loss_goal:g} % lost"
                yield _of_rate(cell, scope, metric, price, knee.rate, None)


def _scopes(prices: Price, servers: int) -> Iterator[tuple[str, float]]:
    yield "director only", prices.director
    if prices.real_server is not None and servers:
        total = prices.director + servers * prices.real_server
        yield f"director and {servers} real servers", total
        if prices.switch is not None:
            yield f"director, {servers} real servers and switch", total + prices.switch


def _of_rate(
    cell: Cell, scope: str, metric: str, price: float, rate: float, sd: float | None
) -> PricePerRate:
    spread = None if sd is None or sd >= rate else (price / (rate + sd), price / (rate - sd))
    return PricePerRate(cell.name, scope, metric, price, rate, price / rate, spread)
