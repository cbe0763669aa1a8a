"""Run the pairs of a comparison, with interim tests (looks) after planned numbers of pairs.

The looks are recorded in the run before its first trial (`Run.looks`), and the result of each look
is written to disk before the next trial, so that an interrupted run continues by the same rule.
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
    """Run the plan's pairs of trials; stop early if a planned look (interim test) decides.

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
