"""Name the part of the set-up that limited a trial, with the evidence. Pure.

The parts are the director, the real servers, the clients and the network. The director is the
limit only if one of its resources is used up while the real servers have CPU time left and the
clients sent their load. If the figures contradict each other, the answer is `unclear`. Each CPU is
judged separately, because the average of four CPUs hides a full CPU.
"""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from dirtune.analyse.bottleneck import FULL_PERCENT, busy_percent, hottest
from dirtune.analyse.run import CpuShare, NodeCpu, Role, Trial, Validity
from dirtune.plan import generators


class Suspect(StrEnum):
    """The part of the set-up that limited a trial."""

    DIRECTOR = "director core"
    SERVERS = "real servers"
    CLIENTS = "clients"
    NETWORK = "network"
    UNCLEAR = "unclear"
    """No part is full, or the figures contradict each other."""
    NOTHING = "nothing"


_FREE_IDLE = 20.0
"""Real servers have CPU time left if they are idle for more than this percentage of the time."""
_BUSY_IDLE = 5.0
_CLIENT_FULL = 90.0
_LINK_FULL = 0.95
_KEPT_UP = 0.99
_LOSS_GOAL = 1e-4
"""Share of the connections that a director may lose, as in the 2001 paper."""
_SIGMAS = 3
"""Standard deviations that chance may add to the loss of a director that just meets the goal."""
_CONTRADICTED = 0.7
"""The figures contradict each other if a real server is full at less than this share of the rate
that one real server alone reached."""
DROPS = ("softnet_dropped", "rx_dropped", "tx_dropped")
"""The counters that count packets which the director dropped."""


class Limit(msgspec.Struct, frozen=True):
    """The part of the set-up that limited a trial, and the evidence."""

    node: Suspect
    evidence: tuple[str, ...]

    @property
    def words(self) -> str:
        """The limiting part and its evidence as one text."""
        return f"{self.node}: {'; '.join(self.evidence)}"


class Known(NamedTuple):
    """Facts that the trial itself does not contain; None if unknown."""

    alone: float | None = None
    """Peak of a single real server in replies/s, without the director or as its only real
    server."""
    link_bits_per_s: float | None = None
    """Capacity of the director's link, in bits/s."""
    used_bits_per_s: float | None = None


class _Role(NamedTuple):
    full: bool
    evidence: tuple[str, ...]


def limiting(trial: Trial, known: Known = Known()) -> Limit:  # noqa: B008  (immutable)
    """Return the part of the set-up that limited *trial*.

    The answer is mostly `unclear` if the trial has no CPU times of its nodes.
    """
    if trial.validity == Validity.CLIENT_LIMITED:
        return Limit(
            Suspect.CLIENTS,
            (trial.reason or "the clients did not start all connections of their schedule",),
        )
    if not trial.valid:
        return Limit(Suspect.UNCLEAR, (f"the trial did not count: {trial.reason}",))
    if trial.reply_rate >= _KEPT_UP * trial.offered_rate and not _lost(trial):
        return Limit(Suspect.NOTHING, ("every offered connection was answered",))
    return _weighed(trial, known)


def _lost(trial: Trial) -> bool:
    """Return whether *trial* lost more connections than chance can explain at the loss goal."""
    usual = _LOSS_GOAL * trial.attempted
    # Even the shortest trial can lose a single connection by chance.
    return trial.attempted - trial.replied > max(1.0, usual + _SIGMAS * math.sqrt(usual))


def _weighed(trial: Trial, known: Known) -> Limit:
    """Return the part that limited a trial with losses, by the evidence from all nodes."""
    servers = [node for node in trial.nodes if node.role == Role.REAL_SERVER]
    roles = {
        Suspect.DIRECTOR: _director(trial),
        Suspect.SERVERS: _servers(servers, trial.signals),
        Suspect.CLIENTS: _clients(trial),
        Suspect.NETWORK: _network(known),
    }
    full = [name for name, role in roles.items() if role.full]
    doubt = _contradiction(servers, roles[Suspect.SERVERS], trial, known)
    if doubt is None and len(full) != 1:
        doubt = f"{' and '.join(full)} are full at the same time" if full else "no node is full"
    if doubt is None and full == [Suspect.DIRECTOR] and not _free(servers):
        doubt = f"the real servers are less than {_FREE_IDLE:.0f} % idle, so they may be full too"
    evidence = tuple(text for role in roles.values() for text in role.evidence)
    return (
        Limit(full[0], evidence) if doubt is None else Limit(Suspect.UNCLEAR, (*evidence, doubt))
    )


def idle(states: Mapping[str, CpuShare]) -> float | None:
    """Return the percentage of the time that a node was idle; None if unknown."""
    shares = [states[name].mean for name in ("idle", "iowait") if name in states]
    return sum(shares) if shares else None


def fullest_cpu(node: NodeCpu) -> tuple[str, float] | None:
    """Return the busiest CPU and its busy time in per cent; None if unknown."""
    alone = ("cpu0", busy_percent(node.states)) if node.cpus == 1 else None
    return hottest(node) or alone


def _director(trial: Trial) -> _Role:
    drops = [
        f"the director dropped {trial.counters[name]} packets ({name})"
        for name in DROPS
        if trial.counters.get(name)
    ]
    node = next((node for node in trial.nodes if node.role == Role.DIRECTOR), None)
    if node is None:
        return _Role(bool(drops), ("the director was not sampled", *drops))
    top = fullest_cpu(node)
    if top is None:
        average = f"the director is {idle(node.states) or 0:.0f} % idle over all its CPUs"
        return _Role(bool(drops), (f"{average}, and the load of each CPU is unknown", *drops))
    busy = f"the director's {top[0]} is {top[1]:.0f} % busy"
    return _Role(top[1] >= FULL_PERCENT or bool(drops), (busy, *drops))


def _servers(servers: Sequence[NodeCpu], signals: Mapping[str, Mapping[str, float]]) -> _Role:
    idles = [rest for node in servers if (rest := idle(node.states)) is not None]
    if not idles:
        return _Role(full=False, evidence=("the real servers were not sampled",))
    spread = "" if len(idles) == 1 else f" to {max(idles):.0f}"
    idle_text = f"the real servers are {min(idles):.0f}{spread} % idle"
    dropped = sum(signals.get(node.node, {}).get("listen_drops", 0) for node in servers)
    drops = (f"the listen queues dropped {dropped:.0f} connections",) if dropped else ()
    return _Role(max(idles) < _BUSY_IDLE or bool(dropped), (idle_text, *drops))


def _free(servers: Sequence[NodeCpu]) -> bool:
    idles = [idle(node.states) for node in servers]
    return bool(idles) and all(rest is not None and rest > _FREE_IDLE for rest in idles)


def _polls(trial: Trial) -> bool | None:
    """Return whether the trial's load generator uses all of a CPU at any rate; None if unknown."""
    if trial.polls is not None:
        return trial.polls
    abilities = generators.abilities(trial.generator)
    return None if abilities is None else abilities.polls


def _clients(trial: Trial) -> _Role:
    if _polls(trial) is not False:
        return _Role(full=False, evidence=())
    busy = {
        node.node: trial.signals.get(node.node, {}).get(
            "busiest_cpu_percent", busy_percent(node.states)
        )
        for node in trial.nodes
        if node.role == Role.CLIENT
    }
    if not busy:
        return _Role(full=False, evidence=())
    name, most = max(busy.items(), key=lambda item: item[1])
    return _Role(most > _CLIENT_FULL, (f"the busiest client ({name}) is {most:.0f} % busy",))


def _network(known: Known) -> _Role:
    if known.link_bits_per_s is None or known.used_bits_per_s is None:
        return _Role(full=False, evidence=())
    share = known.used_bits_per_s / known.link_bits_per_s
    return _Role(share >= _LINK_FULL, (f"the director's link is {100 * share:.0f} % used",))


def _contradiction(
    servers: Sequence[NodeCpu], role: _Role, trial: Trial, known: Known
) -> str | None:
    if not role.full or known.alone is None or not servers:
        return None
    rate = trial.reply_rate / len(servers)
    if rate >= _CONTRADICTED * known.alone:
        return None
    return (
        f"each real server is full at {rate:.0f} replies/s, but one real server alone reached "
        f"{known.alone:.0f} replies/s"
    )
