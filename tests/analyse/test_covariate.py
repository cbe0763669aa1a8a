"""The effect at equal values of a metric that the fix does not change."""

import math
import operator
import random

import msgspec
import pytest
from scipy import linalg, stats

from dirtune.analyse import compare
from dirtune.analyse.arms import Arms, Covariate, arms_of, neighbours_of
from dirtune.analyse.estimate import estimate
from dirtune.analyse.run import Trial
from dirtune.analyse.verdict import sentence

CPU, INTERRUPTS = "cpu_us_per_connection", "interrupts_per_connection"
BEFORE = ((903.0, 5.1), (938.0, 6.2), (887.0, 4.6), (921.0, 5.5), (912.0, 5.6), (945.0, 6.4))
AFTER = ((860.0, 5.0), (911.0, 6.9), (849.0, 4.7), (872.0, 5.2), (899.0, 6.0), (880.0, 5.9))


def arms(before=BEFORE, after=AFTER, groups=(), *, adjusted=True):
    """The cost and the interrupts per connection of each trial."""
    costs, interrupts = zip(*(zip(*side, strict=True) for side in (before, after)), strict=True)
    covariate = Covariate(INTERRUPTS, *interrupts, groups) if adjusted else None
    return Arms(*costs, paired=True, invalid=0, covariate=covariate)


def regression(before, after, groups):
    """The effect, its standard error and the degrees of freedom, by scipy's least squares."""
    y = [math.log(cost) for cost, _ in (*before, *after)]
    columns = [[x for _, x in (*before, *after)], [0] * len(before) + [1] * len(after)]
    columns += [[float(each == group) for each in (*groups, *groups)] for group in set(groups)]
    fitted, rest, _, _ = linalg.lstsq(list(zip(*columns, strict=True)), y)
    freedom = len(y) - len(columns)
    products = [[sum(map(operator.mul, a, b)) for b in columns] for a in columns]
    return fitted[1], math.sqrt(linalg.inv(products)[1][1] * rest / freedom), freedom


@pytest.mark.parametrize("groups", [(0,) * 6, (0, 1, 0, 1, 0, 1), (2, 2, 2, 0, 1, 1)])
def test_the_effect_is_that_of_a_regression_as_scipy_fits_it(groups):
    estimated = estimate(arms(groups=groups))
    effect, error, freedom = regression(BEFORE, AFTER, groups)

    assert estimated.log_ratio == pytest.approx(effect)
    assert estimated.error == pytest.approx(error)
    assert estimated.freedom == freedom
    assert estimated.half_width == pytest.approx(stats.t.ppf(0.975, freedom) * error)
    assert estimated.p == pytest.approx(2 * stats.t.sf(abs(effect / error), freedom))


def test_a_line_without_any_rest_is_certain():
    before = [(100 * math.exp(0.25 * x), x) for x in (1.0, 2.0, 3.0, 5.0, 6.0, 8.0)]
    after = [(cost * 0.9 * math.exp(0.25), x + 1) for cost, x in before]

    assert estimate(arms(before, after)).ratio == pytest.approx(0.9)
    assert estimate(arms(before, after)).p < 1e-9
    assert estimate(arms(before, before)).p == 1


@pytest.mark.parametrize("after", [4.0, 5.0])
def test_a_covariate_that_only_the_arm_changes_adjusts_nothing(after):
    before, after = (
        [(cost, x) for cost, _ in side] for side, x in ((BEFORE, 4.0), (AFTER, after))
    )

    assert estimate(arms(before, after)) == estimate(arms(before, after, adjusted=False))


def test_exchanged_arms_have_the_opposite_effect():
    assert estimate(arms().swapped).log_ratio == pytest.approx(-estimate(arms()).log_ratio)


def measured(seed, effect, *, more=0.0, drift=0.0, jumps=0.0):
    """Seven pairs as on the emulated director: 32 us for each interrupt, and 0.8 % of other noise.

    *drift* is the change over the run, as a share; *jumps* the share of trials that cost 5 % more.
    """
    dice = random.Random(seed)
    sides = {"A": [], "B": []}
    for place, arm in enumerate("ABBAABBAABBAAB"):
        interrupts = dice.gauss(5.7 + more * (arm == "B"), 0.9)
        cost = 930 + 32 * (interrupts - 5.7) + dice.gauss(0, 7.5)
        cost *= (1 + drift * place / 13) * (1.05 if dice.random() < jumps else 1)
        sides[arm].append((cost * (effect if arm == "B" else 1), interrupts))
    return sides["A"], sides["B"]


def share(effect, verdicts, *, adjusted=True, seeds=2000, alpha=0.05, **noise):
    counted = 0
    for seed in range(seeds):
        given = arms(*measured(seed, effect, **noise), adjusted=adjusted)
        comparison = compare.compare(CPU, given, threshold=1e-6, alpha=alpha)
        counted += comparison.verdict in verdicts
    return counted / seeds


@pytest.mark.parametrize(
    "noise", [{}, {"drift": 0.03}, {"drift": -0.1}, {"jumps": 0.07}, {"more": 0.4}], ids=str
)
def test_without_an_effect_no_more_than_5_of_100_verdicts_are_false(noise):
    # The standard error of a share of 5 % over 2,000 runs is 0.5 %.
    assert share(1.0, {"improved", "regressed"}, **noise) <= 0.05 + 2 * 0.005


def test_a_covariate_that_the_fix_changes_leaves_the_direct_effect():
    """The arms differ by 0.4 interrupts and by -3 % at equal interrupts."""
    ratios = [estimate(arms(*measured(seed, 0.97, more=0.4))).log_ratio for seed in range(300)]

    assert math.exp(sum(ratios) / len(ratios)) == pytest.approx(0.97, abs=0.002)


def test_an_effect_of_4_per_cent_is_found_at_the_first_look_although_some_trials_jump():
    jumps = {"jumps": 0.07, "alpha": 0.0294}

    assert share(0.96, {"improved"}, alpha=0.0294) >= 0.99
    assert share(0.96, {"improved"}, **jumps) >= 0.9
    assert share(0.96, {"improved"}, adjusted=False, **jumps) <= 0.5


def test_the_trials_own_floor_leaves_the_effect_out():
    trials = []
    for number, (first, second) in enumerate(zip(*measured(1, 0.9), strict=True), start=1):
        both = [trial(number, "A", *first), trial(number, "B", *second)]
        trials += both if number % 2 else both[::-1]
    floor = compare.own_floor_of(trials, CPU, None, INTERRUPTS)

    # Six pairs of neighbours, two levels and a slope: 8 degrees of freedom.
    assert floor == pytest.approx(2.306 * 0.008 * math.sqrt(2 / 6), rel=0.6)


def trial(number, arm, cost, interrupts):
    metrics = {CPU: cost} | ({} if interrupts is None else {INTERRUPTS: interrupts})
    fields = {
        "id": f"p{number}-{arm}",
        "arm": arm,
        "kind": "judged",
        "pair": number,
        "started": "2026-12-01T00:00:00+00:00",
        "offered_rate": 200.0,
        "window_s": 8.0,
        "intended": 1600,
        "attempted": 1600,
        "replied": 1600,
        "failed": {},
        "reply_rate": 200.0,
        "latency": None,
        "validity": "valid",
        "reason": None,
        "metrics": metrics,
        "counters": {},
        "settle_s": 1.0,
        "settled": True,
        "shares": {},
        "nodes": [],
        "host": {},
    }
    return msgspec.convert(fields, Trial)


TRIALS = (
    trial(1, "A", 900.0, 5.0),
    trial(1, "B", 880.0, 6.5),
    trial(2, "B", 870.0, 6.0),
    trial(2, "A", 930.0, 5.5),
)


def test_each_trial_of_a_pair_has_its_covariate():
    covariate = arms_of(TRIALS, CPU, None, INTERRUPTS).covariate

    assert covariate == Covariate(INTERRUPTS, (5.0, 5.5), (6.5, 6.0))
    assert arms_of(TRIALS, CPU).covariate is None


def test_neighbours_of_one_arm_form_a_group():
    close = neighbours_of((*TRIALS, trial(3, "A", 940.0, 5.8)), CPU, None, INTERRUPTS)

    assert (close.before, close.after) == ((880.0, 940.0), (870.0, 930.0))
    assert close.covariate == Covariate(INTERRUPTS, (6.5, 5.8), (6.0, 5.5), (1, 0))


def test_a_trial_without_the_covariate_leaves_the_effect_as_it_is():
    trials = (*TRIALS[:3], trial(2, "A", 930.0, None))

    assert arms_of(trials, CPU, None, INTERRUPTS).covariate is None


def test_the_verdict_says_what_was_adjusted_and_by_how_much():
    comparison = compare.compare(CPU, arms())

    logs = [math.log(b / a) for (a, _), (b, _) in zip(BEFORE, AFTER, strict=True)]
    plain = math.exp(sum(logs) / len(logs))
    assert comparison.unadjusted == pytest.approx(plain)
    assert (
        f"at equal interrupts per connection ({plain:.3f} without this adjustment; interrupts per "
        "connection went from 5.57 to 5.62)"
    ) in sentence(comparison)
