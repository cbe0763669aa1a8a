"""Which closed-loop trials a fix still needs for its peak."""

import msgspec

from dirtune.tune import peaks
from tests.analyse.facts import trial
from tests.plans import plan_of


def following(trials, done, arm):
    plan = plan_of(director="lb1", rates=[200])
    compare = msgspec.structs.replace(plan.compare, peak_trials=trials)
    return peaks.following(msgspec.structs.replace(plan, compare=compare), done, arm)


def rest(trials, done, arm):
    """The ids of the peak trials that a run with the trials *done* still makes; all are valid."""
    made, done = [], list(done)
    while (order := following(trials, done, arm)) is not None:
        assert (order.rate, order.arm) == (200, arm)  # each client needs a part of the rate
        made.append(order.id)
        done.append(trial(1000, 1000, id=order.id, arm=order.arm, kind="peak"))
    return made


def test_each_arm_has_as_many_trials_as_the_plan_says():
    assert rest(2, [], "A") == ["peak01-A", "peak02-A"]
    assert rest(1, [], "B") == ["peak01-B"]
    assert rest(0, [], "A") == []


def test_an_interrupted_run_makes_only_what_is_missing():
    done = [trial(1000, 1000, id="peak01-B", arm="B", kind="peak"), trial(200, 200, id="p01-1-A")]

    assert rest(2, done, "B") == ["peak02-B"]
    assert rest(1, done, "A") == ["peak01-A"]


def test_an_invalid_trial_is_repeated_once():
    first = trial(1000, 1000, id="peak01-B", arm="B", kind="peak", validity="noisy")
    second = trial(1000, 1000, id="peak01-B+2", arm="B", kind="peak", validity="noisy")

    assert following(1, [first], "B").id == "peak01-B+2"
    assert following(1, [first, second], "B") is None
