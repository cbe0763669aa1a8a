"""The job of `dirtune bench failover`: run a load through a fail-over, and return its cost."""

from dirtune import signals
from dirtune.analyse.failover import Failover
from dirtune.bench import failover
from dirtune.plan.tables import Plan


def cost(
    plan: Plan, command: str, *, rate: float | None, before_s: float, after_s: float
) -> Failover:
    """Return what the fail-over that *command* causes cost the clients of *plan*."""
    return signals.run(failover.measure(failover.prepared(plan, rate, before_s, after_s), command))
