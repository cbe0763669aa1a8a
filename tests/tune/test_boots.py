"""A boot is one replicate, however many trials it carries."""

import msgspec

from dirtune.analyse import compare
from dirtune.analyse.run import Trial
from dirtune.tune import decide

TRIAL = Trial(
    id="b1-1-A",
    arm="A",
    kind="judged",
    pair=None,
    started="",
    offered_rate=200,
    window_s=15,
    intended=0,
    attempted=0,
    replied=0,
    failed={},
    reply_rate=200,
    latency=None,
    validity="valid",
    reason=None,
    metrics={},
    counters={},
    settle_s=3,
    settled=True,
)


def trial(name, value, **changes):
    arm = name[-1]
    known = {"id": name, "arm": arm, "metrics": {"cpu_us_per_connection": value}}
    return msgspec.structs.replace(TRIAL, **known | changes)


def test_trials_of_one_boot_are_averaged():
    trials = [
        trial("b1-0-A", 9999, kind="baseline"),
        trial("b1-1-A", 1000),
        trial("b1-2-A", 1200),
        trial("b2-1-B", 800),
        trial("b2-2-B", 900, validity="noisy"),
        trial("b4-1-A", 1300),
    ]

    arms = decide.boot_means(trials, "cpu_us_per_connection")

    assert (arms.before, arms.after) == ((1100, 1300), (800,))
    assert (arms.paired, arms.invalid) == (False, 1)


def test_three_boots_an_arm_are_too_few_for_a_verdict():
    trials = [trial(f"b{n}-1-{arm}", 1000.0 + n) for n, arm in enumerate(decide.boot_arms(3))]

    found = compare.compare(
        "cpu_us_per_connection", decide.boot_means(trials, "cpu_us_per_connection")
    )

    assert (len(found.before), len(found.after)) == (3, 3)
    assert found.verdict == "inconclusive"
    assert "5" in found.reason.split()
