"""Statistics against hand computation, tables and seeded simulation."""

import math
import random
import statistics

import msgspec
import pytest

from dirtune.analyse import compare
from dirtune.analyse.arms import Arms, arms_between, arms_of, neighbours_of
from dirtune.analyse.estimate import holm, rank_sum, sign_flip
from dirtune.analyse.run import Trial
from dirtune.errors import PlanError

CPU = "cpu_us_per_connection"


def paired(before, after, invalid=0):
    return Arms(tuple(before), tuple(after), paired=True, invalid=invalid)


def from_logs(*logs):
    """Pairs whose log ratios are exactly these."""
    return paired([100.0] * len(logs), [100 * math.exp(x) for x in logs])


def test_t_interval_by_hand():
    # Logs -0.05 and -0.15, four of each: mean -0.1, sd sqrt(8 * 0.05^2 / 7) = 0.0534522,
    # standard error 0.0534522 / sqrt 8 = 0.0188982, t(7, 97.5 %) = 2.364624 (any table).
    found = compare.compare(CPU, from_logs(*[-0.05, -0.15] * 4))

    half = 2.364624 * 0.0188982
    assert found.ratio == pytest.approx(math.exp(-0.1))
    assert found.interval == pytest.approx((math.exp(-0.1 - half), math.exp(-0.1 + half)))
    # All eight signs agree: 2 of 256 patterns are as extreme.
    assert found.p == pytest.approx(2 / 256)
    assert (found.verdict, found.test, found.pairs) == ("improved", "sign-flip", 8)
    # t(7, 80 %) = 0.896030
    assert found.minimum_detectable_effect == pytest.approx(
        math.expm1((2.364624 + 0.896030) * 0.0188982), rel=1e-5
    )


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0], 1.0),
        ([1.0] * 5, 0.0625),  # 2 of 32
        ([1.0] * 6, 0.03125),  # 2 of 64
        ([3.0, 2.0, -1.0], 0.5),  # |sum| 4 or more: +++ ++- and their mirror images, 4 of 8
        ([0.0, 0.0, 0.0], 1.0),
    ],
)
def test_sign_flip_by_hand(differences, p):
    assert sign_flip(differences) == p


def test_many_pairs_use_the_normal_approximation():
    # 25 equal differences: sum / sqrt(sum of squares) = 5 standard deviations
    assert sign_flip([0.1] * 25) == pytest.approx(5.733e-7, rel=1e-3)


@pytest.mark.parametrize(
    ("metric", "log", "verdict"),
    [
        (CPU, -0.1, "improved"),
        (CPU, 0.1, "regressed"),
        ("reply_rate", 0.1, "improved"),
        ("reply_rate", -0.1, "regressed"),
    ],
)
def test_which_way_is_better(metric, log, verdict):
    arms = from_logs(*[log - 0.001, log + 0.001] * 4)

    assert compare.compare(metric, arms).verdict == verdict


def test_no_difference_within_the_threshold_is_equivalent():
    arms = from_logs(*[-0.005, 0.005] * 4)

    assert compare.compare(CPU, arms).verdict == "equivalent"


def test_a_spread_that_hides_everything_is_inconclusive_and_says_what_it_takes():
    found = compare.compare(CPU, from_logs(*[-0.2, 0.14] * 4))

    assert found.verdict == "inconclusive"
    assert f"8 pairs can detect a change of {100 * found.minimum_detectable_effect:.1f} %" in (
        found.reason
    )
    # Mean -0.03, an effect of 3 %; pairs rise with the square of the ratio of the logarithms.
    needed = math.ceil(8 * (math.log1p(found.minimum_detectable_effect) / 0.03) ** 2)
    assert needed > 100
    assert found.reason.endswith(f"or with about {needed} pairs")


def test_an_inconclusive_verdict_invites_neither_more_pairs_nor_a_repetition():
    """Both would raise the share of false verdicts: it says what to change instead."""
    unpaired = Arms((1.0, 2, 3, 1, 2), (2.0, 1, 3, 1, 2), paired=False, invalid=0)

    for arms in (from_logs(*[-0.2, 0.14] * 4), unpaired):
        reason = compare.compare(CPU, arms).reason
        assert "do not extend or repeat this run" in reason
        assert (
            "plan a new run with longer windows, on a quieter machine, at another rate" in reason
        )


def test_an_effect_below_the_noise_floor_does_not_count():
    arms = from_logs(*[-0.051, -0.049] * 4)

    assert compare.compare(CPU, arms).verdict == "improved"
    found = compare.compare(CPU, arms, noise_floor=0.06)
    assert (found.verdict, found.noise_floor) == ("inconclusive", 0.06)
    assert "noise floor of 6 %" in found.reason


def test_an_effect_too_small_to_matter_does_not_count():
    # Real beyond doubt at 1.9 to 2.1 %, threshold 5 %: equivalent; threshold 2 %: neither.
    arms = from_logs(*[-0.0185, -0.0195] * 4)

    assert compare.compare(CPU, arms, threshold=0.05).verdict == "equivalent"
    assert compare.compare(CPU, arms, threshold=0.01).verdict == "improved"
    wide = from_logs(*[-0.010, -0.028] * 4)
    found = compare.compare(CPU, wide)
    assert found.verdict == "inconclusive"
    assert "below 2 %" in found.reason


@pytest.mark.parametrize(
    ("arms", "reason"),
    [
        (
            from_logs(*[-0.5, -0.51, -0.49, -0.5, -0.5]),
            "only 5 pairs are valid, but a verdict needs 6",
        ),
        (
            Arms((1.0,) * 5, (2.0,) * 4, paired=False, invalid=0),
            "an arm has only 4 valid trials, but a verdict needs 5",
        ),
        (paired([1.0] * 6, [0.0] * 6), "value of zero or less"),
        (paired([], []), "0 pairs are valid"),
    ],
)
def test_what_cannot_be_judged_says_why(arms, reason):
    found = compare.compare(CPU, arms)

    assert found.verdict == "inconclusive"
    assert reason in found.reason
    assert (found.ratio, found.interval, found.p) == (None, None, None)


def test_unpaired_arms():
    # No overlap, 5 against 5: Mann-Whitney's smallest p is 2 / C(10, 5) = 0.0079.
    before, after = (100.0, 101, 102, 103, 104), (80.0, 81, 82, 83, 84)

    found = compare.compare(CPU, Arms(before, after, paired=False, invalid=1))

    assert found.p == pytest.approx(2 / 252)
    assert found.ratio == pytest.approx(0.80387, abs=1e-4)  # geometric means 81.988 / 101.990
    assert (found.verdict, found.test, found.pairs, found.invalid) == (
        "improved",
        "mann-whitney",
        0,
        1,
    )


def test_identical_trials_are_no_improvement():
    same = Arms((5.0,) * 6, (5.0,) * 6, paired=False, invalid=0)

    assert compare.compare(CPU, same).verdict == "equivalent"
    assert compare.compare(CPU, paired([5.0] * 8, [5.0] * 8)).verdict == "equivalent"


def test_the_noise_floor_covers_an_off_centre_interval():
    # Mean log 0.03 with hardly any spread: the floor is the 3 %, not the spread.
    floor = compare.noise_floor(from_logs(*[0.0299, 0.0301] * 4))

    assert floor == pytest.approx(math.expm1(0.03), abs=2e-4)
    assert compare.noise_floor(from_logs(0.1, 0.2)) is None


def test_holm_by_hand():
    # Sorted 0.01 0.02 0.03 0.04 times 4 3 2 1: 0.04 0.06 0.06 0.04, and never falling.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx((0.06, 0.04, 0.06, 0.06))
    assert holm([0.6, 0.7]) == (1.0, 1.0)
    assert holm([]) == ()


def test_secondary_metrics_are_corrected_and_the_primary_is_not():
    clear = from_logs(*[-0.099, -0.101] * 4)  # p = 2 / 256
    # Six pairs of eight agree: 2 / 64 would do alone, and does not among three.
    weak = from_logs(*[-0.05, -0.06, -0.055, -0.056, -0.054, -0.058])
    primary, second, third, fourth = (
        compare.compare(name, arms)
        for name, arms in zip(
            (CPU, "connect_ms", "latency_p50_ms", "latency_p99_ms"),
            (weak, weak, clear, from_logs(*[0.3, -0.3] * 4)),
            strict=True,
        )
    )
    found = compare.adjusted([primary, second, third, fourth])

    assert [c.verdict for c in found] == ["improved", "inconclusive", "improved", "inconclusive"]
    # 3 x 0.0078, then 2 x 0.03125, then 1.
    assert [c.p_holm for c in found] == [
        None,
        pytest.approx(2 / 32),
        pytest.approx(3 * 2 / 256),
        1,
    ]
    assert found[1].reason == "p is 0.062 after Holm's correction for 3 secondary metrics"


@pytest.mark.parametrize(
    ("before", "after", "p"),
    [
        # All five above all five: 2 of 252 deals.
        ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], 2 / 252),
        # Midranks 1 2.5 2.5 4: the sum 3.5 and its mirror 6.5, two deals each of six.
        ([1, 2], [2, 3], 4 / 6),
        ([7, 7, 7], [7, 7, 7], 1),
    ],
)
def test_rank_sum_by_hand(before, after, p):
    assert rank_sum(before, after) == pytest.approx(p)


def test_rank_sum_of_many_trials_is_the_normal_approximation():
    before = [float(n) for n in range(0, 400, 2)]
    after = [float(n) for n in range(41, 441, 2)]
    # By hand: U = number of pairs with after below before, its mean n^2 / 2 and its spread
    # sqrt(n^2 (2 n + 1) / 12); half a step is taken off for continuity.
    below = sum(b > a for b in before for a in after)
    z = (200**2 / 2 - below - 0.5) / math.sqrt(200**2 * 401 / 12)

    assert rank_sum(before, after) == pytest.approx(math.erfc(z / math.sqrt(2)))


def simulate(seed, effect, drift, *, noise=0.02, pairs=8):
    """Trials of a director in the order A B, B A, ... while the machine drifts."""
    chance = random.Random(seed)
    arms = {"A": [], "B": []}
    for n in range(pairs * 2):
        arm = "ABBA"[n % 4]
        value = 1000 * (1 + drift * n / (2 * pairs)) * math.exp(chance.gauss(0, noise))
        arms[arm].append(value * (effect if arm == "B" else 1))
    return compare.compare(CPU, paired(arms["A"], arms["B"]))


@pytest.mark.parametrize("drift", [0, 0.05])
def test_without_an_effect_nothing_improves(drift):
    verdicts = [simulate(seed, 1.0, drift).verdict for seed in range(200)]

    false = sum(v in {"improved", "regressed"} for v in verdicts)
    assert false <= 10


@pytest.mark.parametrize("drift", [0, 0.05])
def test_an_effect_of_5_per_cent_is_found(drift):
    verdicts = [simulate(seed, 0.95, drift).verdict for seed in range(100)]

    assert verdicts.count("improved") >= 90
    assert "regressed" not in verdicts


def trial(arm, value, *, pair=None, validity="valid", kind="judged", rate=150.0):
    return Trial(
        id="t",
        arm=arm,
        kind=kind,
        pair=pair,
        started="",
        offered_rate=rate,
        window_s=10,
        intended=1,
        attempted=1,
        replied=1,
        failed={},
        reply_rate=1,
        latency=None,
        validity=validity,
        reason=None,
        metrics={CPU: value},
        counters={},
        settle_s=0,
        settled=True,
    )


def alternating(values, invalid=()):
    """The trials of pairs A B, B A, A B and so on, with these values in the order of time."""
    arms = [arm for n in range(len(values) // 2) for arm in ("BA" if n % 2 else "AB")]
    return [
        trial(arm, value, pair=n // 2 + 1, validity="noisy" if n in invalid else "valid")
        for n, (arm, value) in enumerate(zip(arms, values, strict=True))
    ]


def test_neighbours_of_the_same_arm_are_an_a_a_run_of_their_own():
    # A1 B1 B2 A2 A3 B3 B4 A4: between B1 and B2, A2 and A3, B3 and B4 nothing was changed.
    values = [100, 50, 51, 102, 103, 52, 53, 104]
    found = neighbours_of(alternating(values), CPU)

    assert found.paired
    assert list(zip(found.before, found.after, strict=True)) == [(50, 51), (103, 102), (52, 53)]
    # Steady drift of 1 % a trial is not noise: it is in both directions.
    drifting = alternating([100 * 1.01**n * (1, 0.5)[n % 4 in (1, 2)] for n in range(16)])
    ratios = [a / b for b, a in zip(*neighbours_of(drifting, CPU)[:2], strict=True)]
    assert ratios == pytest.approx([1.01, 1 / 1.01] * 3 + [1.01])


def test_an_invalid_trial_is_no_neighbour():
    values = [100, 50, 51, 102, 103, 52, 53, 104]
    found = neighbours_of(alternating(values, invalid={2}), CPU)

    assert list(zip(found.before, found.after, strict=True)) == [(102, 103), (53, 52)]
    assert found.invalid == 1
    assert compare.noise_floor(found) is None, "too few for a floor"


def test_the_floor_of_neighbours_does_not_hold_the_effect():
    """Seven ratios of sd 1.41 %: the 95 % interval of their mean is 1.31 % wide on each side."""
    chance = random.Random(1)
    floors = []
    for _ in range(400):
        trials = alternating(
            [(100, 80)[n % 4 in (1, 2)] * math.exp(chance.gauss(0, 0.01)) for n in range(16)]
        )
        floors.append(compare.noise_floor(neighbours_of(trials, CPU)))
    # t(6, 97.5 %) is 2.447, and c4(7) 0.959; the distance of the mean adds to it.
    half = 2.447 * 0.959 * 0.01 * math.sqrt(2) / math.sqrt(7)
    assert half < statistics.fmean(floors) < half + 0.01 * math.sqrt(2) / math.sqrt(7)


def test_pairs_of_a_run_are_matched_by_number_and_only_valid_judged_trials_count():
    found = arms_of(
        (
            trial("A", 1, pair=1),
            trial("B", 2, pair=1),
            trial("B", 4, pair=2),
            trial("A", 9, pair=2, validity="noisy"),
            trial("A", 3, pair=2),
            trial("A", 5, pair=3),
            trial("B", 99, pair=3, kind="profiled"),
        ),
        CPU,
    )

    assert found == Arms((1, 3), (2, 4), paired=True, invalid=1)


def test_two_sets_of_trials():
    before = [trial("A", 1), trial("A", 2, validity="client_limited")]

    assert arms_between(before, [trial("A", 3)], CPU) == Arms((1,), (3,), paired=False, invalid=1)


def test_several_rates_ask_for_one():
    trials = [trial("A", 1), trial("A", 2, rate=300.0)]

    with pytest.raises(PlanError, match=r"several rates, 150, 300 "):
        arms_between(trials, trials, CPU)
    with pytest.raises(PlanError, match=r"several rates, 150, 300 "):
        arms_of(trials, CPU)
    assert arms_between(trials, trials, CPU, 300.0).before == (2,)


@pytest.mark.parametrize(("asked", "found"), [(200, (2,)), (153, (1,)), (150, (1,))])
def test_a_rate_that_was_asked_is_the_one_that_was_offered_instead(asked, found):
    """200/s of two clients is one connection each in 9.9 ms, in whole milliseconds 202.02."""
    trials = [trial("A", 1), trial("A", 2, rate=202.02)]

    assert arms_of(trials, CPU, asked).before == found


def test_a_trial_that_broke_has_the_rate_that_was_asked_and_is_counted_as_such():
    broken = trial("B", 9, rate=150.0, pair=2, validity="setup_error")
    pair = [trial("A", 1, rate=151.2, pair=1), trial("B", 2, rate=151.2, pair=1)]

    found = arms_of([*pair, trial("A", 3, rate=151.2, pair=2), broken], CPU)

    assert found == Arms((1,), (2,), paired=True, invalid=1)


def test_one_that_broke_does_not_hide_those_that_offered_not_quite_the_same():
    pair = [trial("A", 1, rate=202.02, pair=1), trial("B", 2, rate=202.02, pair=1)]
    broken = trial("A", 9, rate=200.0, pair=2, validity="setup_error")
    others = [trial("A", 5, rate=401, pair=3), trial("B", 5, rate=401, pair=3)]

    found = arms_of([*pair, broken, *others], CPU, 200)
    assert (found.before, found.after, found.invalid) == ((1,), (2,), 1)
    only_broken = arms_of([broken, *others], CPU, 200)
    assert (only_broken.before, only_broken.after, only_broken.invalid) == ((), (), 1)


def test_a_rate_that_nobody_offered_is_refused():
    with pytest.raises(PlanError, match=r"175 .* 150, 202.02"):
        arms_of([trial("A", 1), trial("A", 2, rate=202.02)], CPU, 175)


def test_several_cells_ask_for_one():
    cells = [msgspec.structs.replace(trial("A", 1), cell=name) for name in ("rr", "wlc")]

    with pytest.raises(PlanError, match=r"several cells.*RUN:wlc"):
        arms_between(cells, cells, CPU)
    with pytest.raises(PlanError, match=r"several cells.*RUN:wlc"):
        arms_of(cells, CPU)


def test_two_runs_of_two_arms_each_ask_for_one():
    pairs = [trial("A", 1, pair=1), trial("B", 2, pair=1)]

    with pytest.raises(PlanError, match=r"two arms.*RUN:A or RUN:B"):
        arms_between(pairs, pairs, CPU)


def test_an_unknown_metric_names_the_known_ones():
    with pytest.raises(PlanError, match=r"speed is not a metric.*connect_ms"):
        compare.compare("speed", from_logs(*[0.0] * 6))


@pytest.mark.parametrize("paired", [True, False])
def test_values_that_nothing_measures_are_no_numbers_to_compare(paired):
    arms = Arms((1e-300, 2e-300) * 4, (1e300, 2e300) * 4, paired=paired, invalid=0)

    found = compare.compare("cpu_us_per_connection", arms)

    assert (found.verdict, found.reason) == (
        *(
            "inconclusive",
            "a trial has a value that is too small or too large to be a measurement",
        ),
    )


@pytest.mark.parametrize("paired", [True, False])
def test_the_widest_spread_of_values_has_an_interval(paired):
    arms = Arms((2e-60, 9e59) * 4, (9e59, 2e-60) * 4, paired=paired, invalid=0)

    assert compare.compare("cpu_us_per_connection", arms).verdict == "inconclusive"
