"""Comparisons on a simulated director, from trials to verdict: what is found, and what is not."""

import asyncio

import pytest
from simulated import Director, planned

from dirtune.analyse import compare
from dirtune.analyse.arms import Arms
from dirtune.bench import campaign

PLAN = planned(settle_s=1, rates=[50], warmup=0.1, window=4, duration=4.1, pairs=8)
METRIC = "cpu_us_per_connection"


class Drifting(Director):
    """A connection's cost grows by *drift* (a share) over the 16 trials."""

    drift = 0.0
    began = 0

    async def load(self, ticks):
        self.cost_us = self.first * self.arm * (1 + self.drift * self.began / 16)
        self.began += 1
        return await super().load(ticks)


def verdict(seed, *, effect=1.0, drift=0.0):
    director = Drifting(PLAN, cost_us=10_000, noise=0.02, seed=seed)
    director.first, director.drift, director.arm = director.cost_us, drift, 1.0
    kept = {}

    async def switch(arm):
        director.arm = effect if arm == "B" else 1.0

    def keep(result):
        kept[result.trial.id] = result.trial

    asyncio.run(campaign.pairs(director, PLAN, switch, keep))
    by_pair = sorted(kept.values(), key=lambda t: (t.pair, t.arm))
    before, after = (tuple(t.metrics[METRIC] for t in by_pair if t.arm == arm) for arm in "AB")
    assert len(before) == len(after) == 8
    return compare.compare(METRIC, Arms(before, after, paired=True, invalid=0)).verdict


@pytest.mark.parametrize("drift", [0.0, 0.1])
def test_without_an_effect_at_most_5_of_100_say_so(drift):
    verdicts = [verdict(seed, drift=drift) for seed in range(100)]

    assert sum(found in {"improved", "regressed"} for found in verdicts) <= 5


@pytest.mark.parametrize("drift", [0.0, 0.1])
def test_an_effect_of_5_per_cent_is_found_in_90_of_100(drift):
    verdicts = [verdict(seed, effect=0.95, drift=drift) for seed in range(100)]

    assert verdicts.count("improved") >= 90
    assert "regressed" not in verdicts
