"""A profile: the CPU time of each node, and the load at which it was used. Pure data.

Published as `dirtune/profile/1`.
"""

import msgspec

from dirtune.analyse.bottleneck import Bottleneck
from dirtune.analyse.probed import Probed
from dirtune.analyse.run import NodeCpu, Trial, Validity
from dirtune.analyse.work import Work


class Profile(msgspec.Struct, frozen=True):
    """One profiled window."""

    seconds: float
    nodes: tuple[NodeCpu, ...]
    """The director first."""
    offered_rate: float | None = None
    """Connections per second; None if dirtune made no load."""
    reply_rate: float | None = None
    metrics: dict[str, float] = {}
    work: Work | None = None
    """The work of the director; None if the dirtune on the director did not measure it."""
    probed: Probed | None = None
    """The measurements of the director's probes."""
    bottleneck: Bottleneck | None = None
    missing: tuple[str, ...] = ()
    """Nodes that took part but have no CPU times of their own."""
    command_status: int | None = None
    """Exit status of the profiled command, or minus the signal that ended it; None without a
    command, or if it outlived the window."""
    validity: Validity | None = None
    reason: str | None = None
    schema: str = "dirtune/profile/1"


def of_trial(trial: Trial, director: Profile | None, names: tuple[str, ...]) -> Profile:
    """Return the profile of a profiled trial of the nodes *names*.

    *director* is the profile of the same window that the dirtune on the director made.
    """
    seen = {node.node for node in trial.nodes}
    own = director or Profile(seconds=trial.window_s, nodes=())
    return Profile(
        seconds=trial.window_s,
        nodes=trial.nodes,
        offered_rate=trial.offered_rate,
        reply_rate=trial.reply_rate,
        metrics=trial.metrics,
        work=own.work,
        probed=own.probed,
        bottleneck=own.bottleneck,
        missing=tuple(name for name in names if name not in seen),
        validity=trial.validity,
        reason=trial.reason,
    )
