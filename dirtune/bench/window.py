"""Measure one window of a trial: sample the nodes, and the CPU time of this machine.

All times are in seconds of the rig's clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dirtune.analyse import cpu
from dirtune.analyse.cpu import Sample
from dirtune.analyse.run import NodeCpu
from dirtune.bench.protocols import Probing, Rig


@dataclass(frozen=True, slots=True)
class Window:
    """The samples of the nodes in one window, and this machine's CPU time during the window."""

    edges: tuple[Sample, Sample]
    apart_s: float
    """Seconds between the two samples, by the rig's clock."""
    host: dict[str, float]
    stolen_s: float | None
    peers: tuple[dict[str, Sample], dict[str, Sample]]
    nodes: tuple[NodeCpu, ...] = ()


async def edges(rig: Rig, opens_s: float, window_s: float) -> Window:
    """Sample all nodes at the start and at the end of a window.

    *opens_s* is the start by the rig's clock, and *window_s* the length in seconds.
    """
    await rig.sleep_until(opens_s)
    # The director is sampled first, so that its window does not include the other samples.
    first, began_s = await rig.sample(), rig.now()
    stolen, host = rig.guest_stolen_s(), [rig.host_times()]
    peers = await rig.sample_peers()
    for second in range(1, int(window_s)):
        await rig.sleep_until(opens_s + second)
        host.append(rig.host_times())
    await rig.sleep_until(opens_s + window_s)
    last, ended_s = await rig.sample(), rig.now()
    host.append(rig.host_times())
    taken = _since(stolen, rig)
    return Window(
        (first, last),
        ended_s - began_s,
        _host_shares(host),
        taken,
        (peers, await rig.sample_peers()),
    )


async def each_second(
    rig: Rig, opens_s: float, window_s: float, *, probe: Probing | None = None
) -> Window:
    """Sample every node once a second during a window, while *probe* measures on the director."""
    await rig.sleep_until(opens_s)
    if probe is not None:
        await probe.begin()
    host, stolen, series = [rig.host_times()], rig.guest_stolen_s(), [await rig.sample_all()]
    began_s = ended_s = rig.now()
    for second in range(1, round(window_s) + 1):
        await rig.sleep_until(opens_s + second)
        series.append(await rig.sample_all())
        ended_s = rig.now()
        host.append(rig.host_times())
    roles = rig.roles()
    nodes = (
        cpu.node_cpu(name, role, [samples[name] for samples in series])
        for name, role in roles.items()
    )
    director, *others = roles
    first, last = ({name: edge[name] for name in others} for edge in (series[0], series[-1]))
    return Window(
        (series[0][director], series[-1][director]),
        ended_s - began_s,
        _host_shares(host),
        _since(stolen, rig),
        (first, last),
        tuple(node for node in nodes if node is not None),
    )


def _since(stolen_s: float | None, rig: Rig) -> float | None:
    now_s = rig.guest_stolen_s()
    return None if stolen_s is None or now_s is None else now_s - stolen_s


def _host_shares(series: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return this machine's CPU time by state in per cent, and the peak of its steal time."""
    shares = _spent(series[0], series[-1])
    steals = [_spent(*pair).get("steal") for pair in pairwise(series)]
    known = [steal for steal in steals if steal is not None]
    return {**shares, "steal_peak": max(known)} if known else shares


def _spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    spent = {state: after[state] - before[state] for state in after if state in before}
    # psutil already counts guest time as user time.
    total = sum(time for state, time in spent.items() if not state.startswith("guest"))
    if total <= 0:
        return {}
    waiting = spent.get("idle", 0.0) + spent.get("iowait", 0.0)
    shares = {"busy": 100 * (1 - waiting / total)}
    return {**shares, "steal": 100 * spent["steal"] / total} if "steal" in spent else shares
