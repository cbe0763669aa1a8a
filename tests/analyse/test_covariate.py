"""The effect at equal values of a metric that the fix does not change."""

import math
import random

import msgspec
import pytest
from scipy import stats

from dirtune.analyse import compare
from dirtune.analyse.arms import Arms, Covariate, arms_of, neighbours_of
from dirtune.analyse.estimate import estimate
from dirtune.analyse.run import Trial
from dirtune.analyse.verdict import sentence

CPU, INTERRUPTS = "cpu_us_per_connection", "interrupts_per_connection"
APART = (0.9, -1.4, 0.3, 1.1, -0.2, -0.8, 0.5)
LOGS = (-0.01, -0.09, -0.03, 0.0, -0.05, -0.06, -0.02)


def arms(logs=LOGS, apart=APART):
    before = (100.0,) * len(logs)
    after = tuple(100 * math.exp(log) for log in logs)
    values = apart and tuple(5.0 + each for each in apart)
    covariate = values and Covariate(INTERRUPTS, (5.0,) * len(values), values)
    return Arms(before, after, paired=True, invalid=0, covariate=covariate)


def test_the_effect_is_the_intercept_of_a_line_as_scipy_fits_it():
    found, line = estimate(arms()), stats.linregress(APART, LOGS)

    assert found.log_ratio == pytest.approx(line.intercept)
    assert found.error == pytest.approx(line.intercept_stderr)
    assert found.freedom == len(LOGS) - 2
    half = stats.t.ppf(0.975, len(LOGS) - 2) * line.intercept_stderr
    assert found.half_width == pytest.approx(half)


def test_p_is_that_of_the_intercept():
    line = stats.linregress(APART, LOGS)
    t = line.intercept / line.intercept_stderr

    assert estimate(arms()).p == pytest.approx(2 * stats.t.sf(abs(t), len(LOGS) - 2))


def test_a_line_without_any_rest_is_certain():
    apart = (-1.0, 0.0, 1.0, 2.0, 3.0, -2.0)

    assert estimate(arms([0.25 * x for x in apart], apart)).p == 1
    assert estimate(arms([0.25 * x - 0.5 for x in apart], apart)).p < 1e-9


def test_a_covariate_that_is_the_same_in_all_pairs_adjusts_nothing():
    assert estimate(arms(apart=(0.3,) * 7)) == estimate(arms(apart=None))


def test_exchanged_arms_have_the_opposite_effect():
    assert estimate(arms().swapped).log_ratio == pytest.approx(-estimate(arms()).log_ratio)


def measured(seed, effect, pairs=7, more=0.0):
    """Pairs as on the emulated director: 36 us for each interrupt, and 0.6 % of other noise."""
    dice = random.Random(seed)
    logs, apart = [], []
    for _ in range(pairs):
        one, two = dice.gauss(5.7, 0.9), dice.gauss(5.7 + more, 0.9)
        costs = [930 + 36 * (each - 5.7) + dice.gauss(0, 6) for each in (one, two)]
        logs.append(math.log(costs[1] * effect / costs[0]))
        apart.append(two - one)
    return logs, apart


def share(effect, *, adjusted, verdicts, seeds=2000):
    found = 0
    for seed in range(seeds):
        logs, apart = measured(seed, effect)
        given = arms(logs, apart if adjusted else None)
        comparison = compare.compare(CPU, given, threshold=1e-6)
        found += comparison.verdict in verdicts
    return found / seeds


def test_without_an_effect_no_more_than_5_of_100_verdicts_are_false():
    # The standard error of a share of 5 % over 2,000 runs is 0.5 %.
    assert share(1.0, adjusted=True, verdicts={"improved", "regressed"}) <= 0.05 + 2 * 0.005


def test_a_covariate_that_the_fix_changes_leaves_the_direct_effect():
    """The arms differ by 0.4 interrupts and by -3 % at equal interrupts."""
    found = []
    for seed in range(300):
        logs, apart = measured(seed, 0.97, more=0.4)
        found.append(estimate(arms(logs, apart)).log_ratio)

    assert math.exp(sum(found) / len(found)) == pytest.approx(0.97, abs=0.002)


def test_an_effect_of_4_per_cent_is_found_only_with_the_adjustment():
    assert share(0.96, adjusted=True, verdicts={"improved"}) >= 0.9
    assert share(0.96, adjusted=False, verdicts={"improved"}) <= 0.6


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


def test_the_covariate_of_a_pair_is_after_minus_before():
    found = arms_of(TRIALS, CPU, None, INTERRUPTS).covariate

    assert found == Covariate(INTERRUPTS, (5.0, 5.5), (6.5, 6.0))
    assert found.apart == (1.5, 0.5)
    assert arms_of(TRIALS, CPU).covariate is None


def test_neighbours_have_the_covariate_of_the_later_minus_that_of_the_earlier():
    close = neighbours_of(TRIALS, CPU, None, INTERRUPTS)

    assert (close.before, close.after) == ((880.0,), (870.0,))
    assert close.covariate.apart == (-0.5,)


def test_a_trial_without_the_covariate_leaves_the_effect_as_it_is():
    trials = (*TRIALS[:3], trial(2, "A", 930.0, None))

    assert arms_of(trials, CPU, None, INTERRUPTS).covariate is None


def test_the_verdict_says_what_was_adjusted_and_by_how_much():
    found = compare.compare(CPU, arms())

    plain = math.exp(sum(LOGS) / len(LOGS))
    assert found.unadjusted == pytest.approx(plain)
    mean = 5 + sum(APART) / len(APART)
    assert (
        f"at equal interrupts per connection ({plain:.3f} without this adjustment; interrupts per "
        f"connection went from 5 to {mean:.3g})"
    ) in sentence(found)
