"""Measure the director's peak without and with a fix, in trials of a closed loop."""

from collections.abc import Sequence

import msgspec

from dirtune.analyse.run import Trial, TrialKind
from dirtune.bench import campaign, rig
from dirtune.bench.outcome import Order
from dirtune.bench.store import Store
from dirtune.bench.trial import conduct
from dirtune.plan.tables import Plan

GENERATOR = "wrk"


async def measure(
    nodes: rig.LiveRig, plan: Plan, kept: Store, arm: str, keep: campaign.Keep
) -> None:
    """Run the peak trials of *arm* that *plan* asks for and that are not on disk yet.

    The director must be in this arm. An invalid trial is repeated once.
    """
    if following(plan, kept.run.trials, arm) is None:
        return
    load = msgspec.structs.replace(plan.load, generator=GENERATOR, at_most=None)
    loop = msgspec.structs.replace(plan, load=load)
    connected = nodes.of_plan(loop)
    while (order := following(plan, kept.run.trials, arm)) is not None:
        keep(await conduct(connected, loop, order))


def following(plan: Plan, done: Sequence[Trial], arm: str) -> Order | None:
    """Return the next peak trial of *arm*; None after the last one.

    *done* are all trials of the run. A closed loop sets its own rate, whatever the order says.
    """
    known = {trial.id: trial for trial in done}
    rate = plan.pair_rates[0]
    for number in range(1, plan.compare.peak_trials + 1):
        name = f"peak{number:02}-{arm}"
        first, again = known.get(name), known.get(f"{name}+2")
        if first is None:
            return Order(name, arm, TrialKind.JUDGED, rate)
        if not first.valid and again is None:
            return Order(f"{name}+2", arm, TrialKind.JUDGED, rate)
    return None
