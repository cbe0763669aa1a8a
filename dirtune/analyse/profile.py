"""The result of `dirtune profile`: CPU time, the load during it, and probe results. Pure data.

The JSON document has the schema `dirtune/profile/1`.
"""

import msgspec

from dirtune.analyse.bottleneck import Bottleneck
from dirtune.analyse.probed import Probed
from dirtune.analyse.run import NodeCpu, Trial, Validity
from dirtune.analyse.work import Work


class Profile(msgspec.Struct, frozen=True):
    """The profile of one window of time."""

    seconds: float
    nodes: tuple[NodeCpu, ...]
    """The CPU time of each node, the director first."""
    offered_rate: float | None = None
    """Offered rate of the load in connections per second; None if dirtune made no load."""
    reply_rate: float | None = None
    metrics: dict[str, float] = {}
    work: Work | None = None
    """The director's packets, connections and interrupts; None if they were not measured."""
    probed: Probed | None = None
    """The measurements of the director's probes."""
    bottleneck: Bottleneck | None = None
    missing: tuple[str, ...] = ()
    """Names of nodes that took part, but whose CPU times are unknown."""
    command_status: int | None = None
    """Exit status of the profiled command; a negative number is the signal that ended the command.
    None if there was no command, or if it was still running when the window ended."""
    validity: Validity | None = None
    reason: str | None = None
    schema: str = "dirtune/profile/1"


def of_trial(trial: Trial, director: Profile | None, names: tuple[str, ...]) -> Profile:
    """Return a profile made from *trial*, in which probes ran on the director.

    *director* is the profile of the same window that dirtune on the director printed. *names* are
    the nodes that took part.
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
