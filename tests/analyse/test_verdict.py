"""The closing sentence says what was measured and no more."""

from dirtune.analyse.run import Comparison, Forecast
from dirtune.analyse.verdict import sentence


def comparison(**changes):
    known = {
        "metric": "cpu_us_per_connection",
        "unit": "us",
        "better": "lower",
        "before": (1000.0,) * 8,
        "after": (900.0,) * 8,
        "pairs": 8,
        "ratio": 0.9,
        "interval": (0.88, 0.92),
        "test": "sign-flip",
        "p": 0.0078125,
        "noise_floor": None,
        "minimum_detectable_effect": 0.03,
        "verdict": "improved",
        "reason": None,
    }
    return Comparison(**known | changes)


FORECAST = Forecast((10,), ("sym53c8xx",), 1.4, 76.0, 0.912, (0.91, 0.93), "sum")


def test_a_verdict_has_its_numbers_and_the_forecast():
    assert sentence(comparison(), FORECAST) == (
        "Improved: CPU time per connection on the director changed to 0.900 times its earlier "
        "value "
        "(95 % interval 0.880 to 0.920, p = 0.008, 8 pairs); the probe forecast 0.912."
    )


def test_a_small_p_is_not_printed_as_0():
    assert "p < 0.001, 8 pairs" in sentence(comparison(p=0.0004))
    assert "p = 0.001, 8 pairs" in sentence(comparison(p=0.0006))


def test_too_few_pairs_are_no_ratio():
    few = comparison(
        ratio=None, interval=None, p=None, verdict="inconclusive", reason="2 valid pairs"
    )

    assert sentence(few, FORECAST) == (
        "Inconclusive: CPU time per connection on the director cannot be judged: 2 valid pairs."
    )


def test_an_inconclusive_verdict_says_why():
    noise = comparison(
        verdict="inconclusive", reason="the effect is within the noise floor of 12%"
    )

    assert "within the noise floor of 12%" in sentence(noise)
    assert "forecast" not in sentence(noise)


def test_trials_without_pairs_are_counted_by_arm():
    unpaired = comparison(metric="reply_rate", pairs=0, after=(900.0,) * 5)

    assert "the reply rate changed to" in sentence(unpaired)
    assert "8 and 5 trials" in sentence(unpaired)
