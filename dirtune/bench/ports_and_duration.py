"""The cost of a plan in time and in its clients' ports, and warnings about it. Pure."""

import math

import msgspec

from dirtune.plan.tables import Plan

# A finished connection stays in the IPVS table this long (FIN_WAIT under DR, TIME_WAIT
# under NAT), and its client's port with it.
TABLE_LIFE_S = 120
_PORTS_ALL = 65535 - 1024 + 1
_PORTS_DEFAULT = 60999 - 32768 + 1


def warnings(plan: Plan) -> tuple[str, ...]:
    """Return warnings about the plan's results, one sentence each."""
    return (*_over_budget(plan), *_closed(plan), *_short(plan))


def estimate_s(plan: Plan, trials: int) -> float:
    """Estimate the seconds that *trials* trials take on a director that settles at once.

    With `load.settle = "drain"` a trial also waits until the entries of the last one expire.
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
    """Connections/s of one client at the highest rate of the sweep or the search, shared by the
    fewest clients of the matrix."""
    default: float
    """Limit with the kernel's default range of ports."""
    widest: float
    """Limit with all ports (net.ipv4.ip_local_port_range = 1024 65535)."""
    clients: int
    """Least number of clients for the highest rate."""


def tuple_budget(plan: Plan) -> TupleBudget:
    """Return the rate that the plan asks of a client, and the limits that its ports set."""
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
        return (
            (
                f"{budget.each:g} connections/s per client use up {_PORTS_ALL} ports before an "
                f"entry expires after {TABLE_LIFE_S} s. Use {budget.clients} clients."
            ),
        )
    if budget.each > budget.default:
        return (
            (
                f"{budget.each:g} connections/s per client use up the default range of ports. "
                "Set net.ipv4.ip_local_port_range to 1024 65535 on the clients."
            ),
        )
    return ()


def _closed(plan: Plan) -> tuple[str, ...]:
    if plan.load.open_loop:
        return ()
    name = plan.load.generator
    return (f"{name} is a closed loop: its trials show the peak and say nothing about loss.",)


def _short(plan: Plan) -> tuple[str, ...]:
    if plan.load.load_s >= TABLE_LIFE_S:
        return ()
    return (
        (
            f"Trials of {plan.load.load_s:g} s are short, because the connection table grows for "
            f"{TABLE_LIFE_S} s. Compare them only with trials of the same length."
        ),
    )
