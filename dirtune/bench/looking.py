"""Run the pairs of a comparison to its planned looks, and write each look into the run.

The rule is in the run before its first trial (`Run.looks`), and each look is on disk before the
next trial, so an interrupted run continues by the same rule.
"""

from collections.abc import Awaitable, Callable

import msgspec

from dirtune.analyse import looks
from dirtune.analyse.run import Comparison
from dirtune.bench.store import Store
from dirtune.plan.tables import Plan

Reach = Callable[[Plan], Awaitable[object]]
"""Runs pairs, after those on disk, until the plan's number of pairs is valid."""


async def pairs(
    plan: Plan,
    kept: Store,
    reach: Reach,
    judge: Callable[[], Comparison],
    say: Callable[[str], None],
) -> None:
    """Run the plan's pairs; if looks are planned, run to each look until one of them stops.

    *judge* compares the primary metric at the first rate, over the trials on disk.
    """
    if kept.run.looks is None:
        await reach(plan)
        return
    say(looks.rule(kept.run.looks))
    while (due := looks.due(kept.run.looks)) is not None:
        await reach(
            msgspec.structs.replace(plan, load=msgspec.structs.replace(plan.load, pairs=due))
        )
        taken = looks.taken(kept.run.looks, judge())
        kept.save(msgspec.structs.replace(kept.run, looks=taken))
        say(looks.progress(taken))
