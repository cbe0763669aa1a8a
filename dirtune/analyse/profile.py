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
    validity: str | None = None
    reason: str | None = None
    schema: str = "dirtune/profile/1"


def of_trial(trial: Trial, handlers: HandlerWindow | None) -> Profile:
    """Return the profile that a profiled trial measured."""
    return Profile(
        seconds=trial.window_s,
        nodes=trial.nodes,
        offered_rate=trial.offered_rate,
        reply_rate=trial.reply_rate,
        metrics=trial.metrics,
        handlers=handlers,
        validity=trial.validity,
        reason=trial.reason,
    )
