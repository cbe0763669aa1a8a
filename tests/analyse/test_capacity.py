"""Curve, peak and knee in words, by hand."""

import pytest
from facts import run, trial

from dirtune.analyse import capacity
from dirtune.analyse.run import Knee
from dirtune.render import run_tables


def test_the_curve_is_of_valid_trials_of_the_sweep_only():
    points = capacity.curve(
        [
            trial(200, 180),
            trial(200, 190),
            trial(200, 10, validity="noisy"),
            trial(200, 10, kind="search"),
            trial(200, 10, kind="observed"),
            trial(100, 100),
        ]
    )

    assert [point.offered for point in points] == [100, 200]
    # 180 and 190: their mean, and sqrt(50); 300 of 4000 lost.
    assert points[1][1:] == (185, pytest.approx(7.071, abs=0.001), 0.075, 2)
    assert points[0].sd is None


def test_the_peak_is_the_most_replies_not_the_most_offered():
    points = capacity.curve([trial(100, 100), trial(200, 180), trial(300, 150)])

    assert capacity.peak(points) == points[1]
    assert capacity.peak(()) is None


def test_what_a_closed_loop_made_is_told_and_labelled():
    probes = [trial(2900, 2900, kind="peak"), trial(3100, 3100, kind="peak")]
    found = run(*probes, trial(9000, 9000, kind="peak", validity="noisy"))

    # Mean 3000, sd sqrt(2) * 100.
    said = "Peak probe: 3000 replies/s (2 trials, sd 141.4). A closed loop cannot show loss."
    assert run_tables.headline(found) == said
    assert said in run_tables.text(found, "simple")


@pytest.mark.parametrize(
    ("replies", "lost", "told"), [(98, 0.04, False), (96, 0.04, True), (98, 0.06, True)]
)
def test_a_peak_is_one_where_replies_fall_behind(replies, lost, told):
    points = [capacity.Point(50, 50, None, 0, 1), capacity.Point(100, replies, None, lost, 1)]

    assert capacity.saturated(points) is told


@pytest.mark.parametrize(
    ("knee", "said"),
    [
        (Knee(1e-4, "", 3640.0, 3710.0, "system", "x"), "3640/s (below 3710/s)"),
        (Knee(1e-4, "", 3640.0, None, "clients", "x"), ">= 3640/s (client-limited)"),
        (Knee(1e-4, "", 3640.0, None, "range", "x"), ">= 3640/s"),
        (Knee(1e-4, "", None, None, "trials", "x"), "no rate"),
    ],
)
def test_a_knee_in_words(knee, said):
    assert capacity.in_words(knee) == (
        f"at most 0.01 % lost: {said}; x; 0 valid trials, 0 invalid"
    )
