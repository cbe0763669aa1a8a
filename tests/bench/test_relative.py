"""Trials that saw another machine than the rest of their campaign."""

import asyncio

import msgspec
import pytest
from simulated import PLAN, Director

from dirtune.bench import campaign, judge, relative
from dirtune.bench.outcome import Order
from dirtune.bench.trial import Result


def trial(number, busy, *, arm="A", steal=0.0, validity="valid", rate=150.0):
    made = judge.failed(Order(f"p{number}-{arm}", arm, "judged", rate), "", PLAN, "")
    host = {"busy": busy, "steal": steal}
    return msgspec.structs.replace(made, host=host, validity=validity, reason=None)


def trials(*busy, **more):
    return [trial(number, each, **more) for number, each in enumerate(busy)]


@pytest.mark.parametrize(
    ("busy", "found"),
    [
        ((60, 61, 60, 59, 60, 71), ["p5-A"]),  # 11 points from 60, where 10 are allowed
        ((60, 61, 60, 59, 60, 70), []),
        ((60, 61, 60, 59, 60, 49), ["p5-A"]),  # quieter than the rest is another machine too
        # Their middle is 55, half lie 5 or more from it: 4 x 1.4826 x 5 = 29.7 points.
        ((50, 50, 60, 55, 60, 55, 84), []),
        ((50, 50, 60, 55, 60, 55, 85), ["p6-A"]),
        ((60, 60, 60, 90), []),  # too few to tell which is the odd one
    ],
)
def test_far_from_the_median_of_the_arm(busy, found):
    marked = relative.far(trials(*busy), 10)

    assert [each.id for each in marked] == found
    assert all(each.validity == "noisy" for each in marked)


def test_what_the_arms_differ_in_is_no_reason():
    both = trials(90, 90, 91, 89, 90, 90, 90) + trials(60, 60, 61, 59, 60, arm="B")

    assert relative.far(both, 10) == ()


def test_the_words():
    (found,) = relative.far([*trials(60, 61, 60, 59, 60), trial(9, 60, steal=14.2)], 10)

    assert {"stolen", "14.2", "0.0"} <= set(found.reason.split())


def test_those_that_do_not_count_say_nothing():
    some = [*trials(60, 60, 60, 60), trial(8, 99, validity="noisy"), trial(9, 99, rate=300.0)]

    assert relative.far(some, 10) == ()


class Loaded(Director):
    """Its machine does something else during the fifth trial."""

    def __init__(self):
        super().__init__()
        self.loads = 0

    async def load(self, ticks):
        self.loads += 1
        self.steal_percent = 30.0 if self.loads == 5 else 0.0
        return await super().load(ticks)


@pytest.mark.parametrize(("far", "more"), [(10.0, 1), (None, 0)])
def test_a_pair_with_a_trial_that_was_far_is_had_again(far, more):
    lax = msgspec.structs.replace(PLAN.validity, steal=100.0, steal_peak=100.0, far=far)
    load = msgspec.structs.replace(PLAN.load, pairs=6)
    plan, kept = msgspec.structs.replace(PLAN, validity=lax, load=load), {}

    def keep(result):
        kept[result.trial.id] = result.trial

    assert asyncio.run(campaign.pairs(Loaded(), plan, campaign.stay, keep)) == 6
    assert len(kept) == 2 * (6 + more)
    assert [t.id for t in kept.values() if t.validity == "noisy"] == ["p03-1-A"][:more]


def test_a_rate_that_never_counts_keeps_no_far_trial_of_another():
    async def measure(rig, plan, order):
        busy, valid = 90 if order.id == "p03-1-B" else 50, order.rate == 200
        made = trial(1, busy, rate=order.rate, validity="valid" if valid else "noisy")
        own = {"id": order.id, "pair": order.pair, "arm": order.arm}
        return Result(msgspec.structs.replace(made, **own), {})

    plan, kept = limits(10.0, None), {}
    plan = msgspec.structs.replace(
        plan,
        compare=msgspec.structs.replace(plan.compare, rates=(200.0, 400.0)),
        load=msgspec.structs.replace(plan.load, pairs=6),
    )

    def keep(result):
        kept[result.trial.id] = result.trial

    asyncio.run(campaign.pairs(Director(), plan, campaign.stay, keep, measure=measure))
    noisy = [t.id for t in kept.values() if t.offered_rate == 200 and t.validity == "noisy"]
    assert noisy == ["p03-1-B"]


def noise(*pairs):
    """An A/A run whose machine stole these per cents during the two trials of each pair."""
    return [
        msgspec.structs.replace(trial(f"{pair}{arm}", 50, steal=steal), pair=pair)
        for pair, both in enumerate(pairs, 1)
        for arm, steal in zip("AB", both, strict=True)
    ]


def limits(far, pair_steal, pair_busy=None):
    validity = msgspec.structs.replace(
        PLAN.validity, far=far, pair_steal=pair_steal, pair_busy=pair_busy
    )
    return msgspec.structs.replace(PLAN, validity=validity)


@pytest.mark.parametrize(
    ("pairs", "far", "pair_steal"),
    [
        # Quiet: the plan's own limits stay.
        (((1, 1), (1, 1), (1, 1), (1, 1), (1, 1)), 10.0, 10.0),
        # The middle is 6, half lie 4 from it: 4 x 1.4826 x 4 = 23.72 points.
        # The pairs are 0, 8, 0, 8 and 8 apart: 4 x 1.4826 x 8 = 47.44 points.
        (((2, 2), (2, 10), (10, 10), (10, 2), (2, 10)), 23.72, 47.44),
        # Four pairs are too few to tell how far apart they usually are; eight trials are not.
        (((2, 2), (2, 10), (10, 10), (10, 2)), 23.72, 10.0),
        (((2, 30), (2, 30)), 10.0, 10.0),
    ],
)
def test_an_aa_run_tells_how_this_machine_usually_is(pairs, far, pair_steal):
    found = relative.calibrated(limits(10.0, 10.0), noise(*pairs)).validity

    assert (found.far, found.pair_steal) == pytest.approx((far, pair_steal), abs=0.01)


def test_and_how_far_apart_its_load_usually_is_in_a_pair():
    loads = ((50, 50), (50, 58), (50, 50), (58, 50), (50, 58))
    trials = [
        msgspec.structs.replace(trial(f"{pair}{arm}", busy), pair=pair)
        for pair, both in enumerate(loads)
        for arm, busy in zip("AB", both, strict=True)
    ]

    # The pairs are 0, 8, 0, 8 and 8 apart: 4 x 1.4826 x 8 = 47.44 points.
    found = relative.calibrated(limits(None, 10.0, 20.0), trials).validity
    assert (found.pair_steal, found.pair_busy) == (10.0, pytest.approx(47.44, abs=0.01))


def test_what_rates_differ_in_is_not_how_this_machine_usually_is():
    wild = [2, 2, 10, 10, 6]
    still = [trial(f"{n}A", 50, steal=steal) for n, steal in enumerate(wild)]
    faster = [msgspec.structs.replace(each, id=f"+{each.id}", offered_rate=999.0,
        host=each.host | {"steal": 40.0}) for each in still]  # fmt: skip

    # The middle is 6, half lie 4 from it: 23.72 points, and at the other rate none from 40.
    found = relative.calibrated(limits(10.0, None), [*still, *faster]).validity
    assert found.far == pytest.approx(23.72, abs=0.01)


def test_limits_that_are_not_set_stay_unset():
    wild = noise((2, 2), (2, 10), (10, 10), (10, 2), (2, 10))

    assert relative.calibrated(limits(None, None), wild) == limits(None, None)
