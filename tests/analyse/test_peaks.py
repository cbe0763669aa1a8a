"""The peak without a fix and with it, on trials written by hand."""

import msgspec
import pytest

from dirtune.analyse import peaks
from dirtune.analyse.run import Forecast
from tests.analyse.facts import trial

BEFORE = {"director_connections_per_s": 1000.0, "interrupts_per_connection": 0.05}
AFTER = {"director_connections_per_s": 1100.0, "interrupts_per_connection": 0.05}
FULL = {"director_idle_percent": 0.5, "cpu_us_per_connection": 1000.0}
# 100 us of useless calls per connection, at the rate at which a connection takes 5 interrupts.
FORECAST = Forecast((10,), ("aic7xxx",), 2.0, 100.0, 0.9, (0.85, 0.95), "a calculation")


def peak(name, arm, **metrics):
    return trial(1000, 10000, id=name, arm=arm, kind="peak", metrics=FULL | metrics)


def judged(arm, interrupts):
    metrics = {"interrupts_per_connection": interrupts, "cpu_us_per_connection": 1000.0}
    return trial(200, 2000, id=f"p01-1-{arm}", arm=arm, pair=1, metrics=metrics)


def test_the_peak_is_the_mean_of_the_valid_trials_by_the_directors_clock():
    trials = [
        peak("peak02-A", "A", **BEFORE),
        peak("peak03-A", "A", **BEFORE | {"director_connections_per_s": 1010.0}),
        peak("peak01-B", "B", **AFTER),
        msgspec.structs.replace(peak("peak04-B", "B", **BEFORE), validity="noisy"),
    ]

    before, after = (peaks.of_arm(trials, arm) for arm in "AB")

    assert (before.rate, before.lowest, before.highest, before.trials) == (1005, 1000, 1010, 2)
    assert (after.rate, after.trials) == (1100, 1)
    (text,) = peaks.sentences(trials)
    assert "1005 connections/s (2 trials, 1000 to 1010) without the fix" in text
    assert "1100 connections/s with it, 1.095 times" in text


def test_the_forecast_of_the_peak_counts_the_interrupts_at_the_peak():
    trials = [judged("A", 5.0), peak("a", "A", **BEFORE), peak("b", "B", **AFTER)]

    # 100 us by 5 interrupts is 20 us an interrupt; 0.05 of them are 1 of the peak's 1000 us.
    change, polled = peaks.sentences(trials, FORECAST)

    assert change.endswith("; the probe forecast 1.001.")
    assert "takes 0.05 interrupts instead of 5," in polled
    assert "NAPI" in polled


def test_with_an_interrupt_per_packet_nothing_is_said_of_polling():
    every = {"interrupts_per_connection": 5.0}
    trials = [judged("A", 5.0), peak("a", "A", **BEFORE | every), peak("b", "B", **AFTER | every)]

    (change,) = peaks.sentences(trials, FORECAST)

    # The whole 100 us of 1000 are saved: 1 / 0.9.
    assert change.endswith("; the probe forecast 1.111.")


def test_an_idle_director_was_not_at_its_peak():
    idle = {"director_idle_percent": 48.2}
    trials = [peak("a", "A", **BEFORE), peak("b", "B", **AFTER | idle)]

    (text,) = peaks.sentences(trials, FORECAST)

    assert text.startswith("The peak was not reached")
    assert "48 % idle" in text
    assert "times as many" not in text
    assert "forecast" not in text


@pytest.mark.parametrize("arm", ["A", "B"])
def test_one_arm_alone_says_nothing(arm):
    assert peaks.sentences([peak("a", arm, **BEFORE)]) == ()
    assert peaks.sentences([]) == ()
