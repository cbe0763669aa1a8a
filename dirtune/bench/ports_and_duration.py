"""Compute the time and the client ports that a plan needs, and warn about problems. Pure."""

import math

import msgspec

from dirtune.plan.tables import Plan

# A finished connection, and with it the client's port, stays in the IPVS table for this many
# seconds (in FIN_WAIT with DR, in TIME_WAIT with NAT).
TABLE_LIFE_S = 120
_PORTS_ALL = 65535 - 1024 + 1
_PORTS_DEFAULT = 60999 - 32768 + 1


def warnings(plan: Plan) -> tuple[str, ...]:
    """Return warnings about what the results of the plan cannot show, one sentence each."""
    return (*_over_budget(plan), *_closed(plan), *_short(plan))


def estimate_s(plan: Plan, trials: int) -> float:
    """Estimate the seconds that *trials* trials take if the director is idle before each.

    With `load.settle = "drain"`, the estimate also includes the wait before each trial until the
    table entries of the previous trial expire.
    """
    drains = plan.load.settle == "drain"
    gap_s = min(plan.settle.max_s, TABLE_LIFE_S) if drains else 0
    overhead = gap_s + plan.settle.seconds + plan.load.timeout_s + 4
    return trials * (plan.load.load_s + overhead)


class TupleBudget(msgspec.Struct, frozen=True):
    """The rates that the ports of a client allow, compared with the rate that the plan needs.

    A finished connection stays in the IPVS table for 120 s, and its port cannot be used meanwhile.
    """

    each: float
    """Connections/s that each client must open: the highest rate of the plan divided by the
    smallest number of clients."""
    default: float
    """Highest connections/s that one client can open with the kernel's default port range."""
    widest: float
    """Highest connections/s that one client can open with all ports (net.ipv4.ip_local_port_range
    = 1024 65535)."""
    clients: int
    """The smallest number of clients whose ports are enough for the plan's highest rate."""


def tuple_budget(plan: Plan) -> TupleBudget:
    """Return the connections/s that each client must open, and the limits that its ports set."""
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
                f"At {budget.each:g} connections/s, a client runs out of ports: it has "
                f"{_PORTS_ALL}, and each stays in use for {TABLE_LIFE_S} s. Use at least "
                f"{budget.clients} clients."
            ),
        )
    if budget.each > budget.default:
        return (
            (
                f"At {budget.each:g} connections/s, a client runs out of ports in the default "
                "range. Set net.ipv4.ip_local_port_range to 1024 65535 on the clients."
            ),
        )
    return ()


def _closed(plan: Plan) -> tuple[str, ...]:
    if plan.load.open_loop:
        return ()
    name = plan.load.generator
    return (f"{name} is a closed loop: its trials show the peak rate, but nothing about loss.",)


def _short(plan: Plan) -> tuple[str, ...]:
    if plan.load.load_s >= TABLE_LIFE_S:
        return ()
    return (
        (
            f"Trials of {plan.load.load_s:g} s are short: they end before the connection table "
            f"stops growing, which takes {TABLE_LIFE_S} s. Compare them only with trials of the "
            "same length."
        ),
    )
