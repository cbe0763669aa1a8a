"""Which closed-loop trials a fix still needs for its peak."""

import msgspec

from dirtune.tune import peaks
from tests.analyse.facts import trial
from tests.plans import plan_of


def following(trials, done):
    plan = plan_of(director="lb1", rates=[200])
    compare = msgspec.structs.replace(plan.compare, peak_trials=trials)
    return peaks.following(msgspec.structs.replace(plan, compare=compare), done)


def rest(trials, done):
    """The ids of the peak trials that a run with the trials *done* still makes; all are valid."""
    made, done = [], list(done)
    while (order := following(trials, done)) is not None:
        assert order.rate == 200  # each client needs a part of it
        made.append((order.id, order.arm))
        done.append(trial(1000, 1000, id=order.id, arm=order.arm, kind="peak"))
    return made


def test_the_arms_alternate_so_that_drift_cancels():
    assert rest(2, []) == [
        ("peak01-B", "B"),
        ("peak02-A", "A"),
        ("peak03-A", "A"),
        ("peak04-B", "B"),
    ]
    assert [arm for _, arm in rest(3, [])] == ["B", "A", "A", "B", "B", "A"]
    assert rest(0, []) == []


def test_an_interrupted_run_makes_only_what_is_missing():
    done = [trial(1000, 1000, id="peak01-B", arm="B", kind="peak"), trial(200, 200, id="p01-1-A")]

    assert [name for name, _ in rest(1, done)] == ["peak02-A"]


def test_an_invalid_trial_is_repeated_once():
    first = trial(1000, 1000, id="peak01-B", arm="B", kind="peak", validity="noisy")
    second = trial(1000, 1000, id="peak01-B+2", arm="B", kind="peak", validity="noisy")

    assert following(1, [first]).id == "peak01-B+2"
    assert following(1, [first, second]).id == "peak02-A"
