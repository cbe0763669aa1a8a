"""What a profile says: where each node's CPU time went, and at which load. Pure data.

Published as `dirtune/profile/1`.
"""

import msgspec

from dirtune.analyse.handlers import HandlerWindow
from dirtune.analyse.run import NodeCpu, Trial


class Profile(msgspec.Struct, frozen=True):
    """One profiled window."""

    seconds: float
    nodes: tuple[NodeCpu, ...]
    """The director first."""
    offered_rate: float | None = None
    """Connections per second; None without a load of ours."""
    reply_rate: float | None = None
    metrics: dict[str, float] = {}
    handlers: HandlerWindow | None = None
    """What the interrupt probe measured; None where it did not run."""
    missing: tuple[str, ...] = ()
    """Nodes that took part and have no CPU times of their own."""
    validity: str | None = None
    reason: str | None = None
    schema: str = "dirtune/profile/1"


def of_trial(trial: Trial, handlers: HandlerWindow | None, names: tuple[str, ...]) -> Profile:
    """Return the profile that a profiled trial of the nodes *names* measured."""
    seen = {node.node for node in trial.nodes}
    return Profile(
        seconds=trial.window_s,
        nodes=trial.nodes,
        offered_rate=trial.offered_rate,
        reply_rate=trial.reply_rate,
        metrics=trial.metrics,
        handlers=handlers,
        missing=tuple(name for name in names if name not in seen),
        validity=trial.validity,
        reason=trial.reason,
    )
