"""What a plan takes: its time, its clients' ports, and what may spoil its results. Pure."""

import math

import msgspec

from dirtune.plan.tables import Plan

# A finished connection stays in the IPVS table this long (FIN_WAIT under DR, TIME_WAIT
# under NAT), and its client's port with it.
TABLE_LIFE_S = 120
_PORTS_ALL = 65535 - 1024 + 1
_PORTS_DEFAULT = 60999 - 32768 + 1


def warnings(plan: Plan) -> tuple[str, ...]:
    """Return what may spoil the plan's results, each in one sentence."""
    return (*_over_budget(plan), *_closed(plan), *_short(plan))


def estimate_s(plan: Plan, trials: int) -> float:
    """Return about how many seconds *trials* trials take, with a director that settles at once.

    A connection table that must drain takes the life of its entries.
    """
    drains = plan.load.settle == "drain"
    gap_s = min(plan.settle.max_s, TABLE_LIFE_S) if drains else 0
    overhead = gap_s + plan.settle.seconds + plan.load.timeout_s + 4
    return trials * (plan.load.load_s + overhead)


class TupleBudget(msgspec.Struct, frozen=True):
    """Connections per second that a client may open before ports come up again.

    A finished connection keeps its entry, and so its port, for 120 s.
    """

    each: float
    """What the plan's highest rate, of its sweep or its search, asks of a client; of its matrix,
    where fewest share it."""
    default: float
    """With the kernel's own range of ports."""
    widest: float
    """With all of them: net.ipv4.ip_local_port_range = 1024 65535."""
    clients: int
    """How many clients the highest rate needs at least."""


def tuple_budget(plan: Plan) -> TupleBudget:
    """Return what the plan asks of its clients' ports, and what they have."""
    searched = plan.knee.highest if plan.knee is not None else None
    total = max(*plan.load.rates, *plan.compare.rates, searched or 0.0)
    fewest = min(plan.matrix.clients if plan.matrix else (), default=len(plan.clients))
    return TupleBudget(
        each=total / fewest,
        default=_PORTS_DEFAULT / TABLE_LIFE_S,
        widest=_PORTS_ALL / TABLE_LIFE_S,
        clients=math.ceil(total * TABLE_LIFE_S / _PORTS_ALL),
    )


def _over_budget(plan: Plan) -> tuple[str, ...]:
    if not plan.load.open_loop:
        return ()
    budget = tuple_budget(plan)
    if budget.each > budget.widest:
        why = f"use {_PORTS_ALL} ports up before an entry's {TABLE_LIFE_S} s are over"
        asked = f"{budget.each:g} connections/s per client {why}"
        return (f"{asked}: take {budget.clients} clients",)
    if budget.each > budget.default:
        wide = "net.ipv4.ip_local_port_range = 1024 65535"
        return (f"{budget.each:g} connections/s per client need {wide} there",)
    return ()


def _closed(plan: Plan) -> tuple[str, ...]:
    if plan.load.open_loop:
        return ()
    name = plan.load.generator
    return (f"{name} is a closed loop: its trials probe the peak and say nothing about loss",)


def _short(plan: Plan) -> tuple[str, ...]:
    if plan.load.load_s >= TABLE_LIFE_S:
        return ()
    return (
        (
            f"trials of {plan.load.load_s:g} s are short: the connection table grows for "
            f"{TABLE_LIFE_S} s; compare them with trials of the same length only"
        ),
    )
