"""The queue, the rule and the boots, on plans and trials written by hand."""

import msgspec
import pytest

from dirtune.analyse.run import Comparison
from dirtune.change.actions.set_value import SetValue
from dirtune.change.documents import PlanDocument, ShownChange
from dirtune.change.plan import Refusal
from dirtune.checks import Risk, discovery
from dirtune.errors import PlanError
from dirtune.tune import decide
from dirtune.tune.decide import Attempt, Boot, Session, Wishes
from tests.tune.test_boots import trial

KNOWN = {check.id: check for check in discovery.all_checks()}


def change(reason, risk, title):
    action = SetValue("/proc/sys/x", "0", "1")
    kept_by = {"commands": (), "persisted_by": None}
    return ShownChange(action=action, risk=risk, reason=reason, fix="x", title=title, **kept_by)


PLAN = PlanDocument(
    risk=Risk.REBOOT,
    changes=(
        change("nic/ring-below-max", Risk.DISRUPTIVE, "give eth0 rx 4096"),
        change("ipvs/sysctl-lost", Risk.SAFE, "set expire_nodest_conn"),
        change("ipvs/sysctl-lost", Risk.SAFE, "set conn_reuse_mode"),
        change("irq/xtpic-mode", Risk.REBOOT, "take noapic from the command line"),
    ),
    refusals=(Refusal("irq/shared-with-nic", "unbind", "0000:00:14.0 (ahci)", "carries /"),),
)


def queue(*words, **wishes):
    found = decide.attempts(PLAN, Wishes(words, **wishes), KNOWN)
    return [(each.checks, each.risk.value, each.outcome) for each in found]


def test_without_names_the_gravest_comes_first_and_nobody_is_booted():
    assert queue() == [
        (("irq/xtpic-mode",), "reboot", "left out"),  # critical
        (("ipvs/sysctl-lost",), "safe", None),  # high, as is the next
        (("irq/shared-with-nic",), "safe", "refused"),
        (("nic/ring-below-max",), "disruptive", "left out"),  # medium
    ]
    *_, refused, ring = decide.attempts(PLAN, Wishes(), KNOWN)
    assert ring.why.endswith(": dirtune tune --check nic/ring-below-max")
    assert refused.why == "0000:00:14.0 (ahci): carries /"


def test_named_what_needs_boots_comes_before_what_a_boot_would_take_back():
    words = ("nic/ring-below-max/raise", "irq/xtpic-mode")

    found = decide.attempts(PLAN, Wishes(words), KNOWN)

    assert [each.checks for each in found if each.outcome is None][:1] == [("irq/xtpic-mode",)]
    assert ("nic/ring-below-max/raise",) in [each.checks for each in found]


def test_live_traffic_is_not_booted_even_if_named_and_interrupted_only_then():
    (first, *_, named) = queue("irq/xtpic-mode", "nic/ring-below-max", live=True)

    assert first == (("irq/xtpic-mode",), "reboot", "left out")
    assert named == (("nic/ring-below-max",), "disruptive", None)
    (*_, unnamed) = queue(live=True)
    assert unnamed == (("nic/ring-below-max",), "disruptive", "left out")


def test_of_one_check_only_one_fix_is_tried():
    words = ("nic/ring-below-max/raise", "ipvs/sysctl-lost", "nic/ring-below-max/other")

    with pytest.raises(PlanError, match="two fixes of nic/ring-below-max"):
        decide.attempts(PLAN, Wishes(words), KNOWN)
    assert decide.attempts(PLAN, Wishes((words[0], words[0])), KNOWN)


def test_all_together_is_one_attempt_that_mends_only_if_each_does():
    words = ("nic/ring-below-max", "ipvs/sysctl-lost")
    named = msgspec.structs.replace(
        PLAN, changes=tuple(c for c in PLAN.changes if c.reason in words)
    )
    (both, *rest) = decide.attempts(named, Wishes(words, together=True), KNOWN)

    assert both.checks == ("ipvs/sysctl-lost", "nic/ring-below-max")
    assert both.titles == (
        "set expire_nodest_conn",
        "set conn_reuse_mode",
        "give eth0 rx 4096",
    )
    assert (both.risk, both.mends) == (Risk.DISRUPTIVE, False)
    assert [each.outcome for each in rest] == ["refused"]


def test_what_mends_and_what_only_speeds_up():
    found = {each.name: each.mends for each in decide.attempts(PLAN, Wishes(), KNOWN)}

    assert found == {
        "ipvs/sysctl-lost": True,
        "nic/ring-below-max": False,
        "irq/xtpic-mode": False,
        "irq/shared-with-nic": False,
    }


@pytest.mark.parametrize(
    ("verdict", "mends", "equivalent", "kept"),
    [
        ("improved", False, False, True),
        ("improved", True, False, True),
        ("equivalent", False, False, False),
        ("equivalent", True, False, True),
        ("equivalent", False, True, True),
        ("inconclusive", True, True, False),
        ("regressed", True, True, False),
    ],
)
def test_the_rule(verdict, mends, equivalent, kept):
    assert decide.keeps(verdict, mends=mends, equivalent=equivalent)[0] is kept


COMPARISON = Comparison(
    metric="cpu_us_per_connection",
    unit="us",
    better="lower",
    before=(),
    after=(),
    pairs=8,
    ratio=1.001,
    interval=(0.99, 1.01),
    test="sign-flip",
    p=0.9,
    noise_floor=None,
    minimum_detectable_effect=0.01,
    verdict="equivalent",
    reason=None,
)


def test_an_attempt_that_is_over_carries_its_verdict():
    attempt = Attempt(("ipvs/sysctl-lost",), mends=True)

    done = decide.judged(attempt, COMPARISON, "Equivalent: ...", equivalent=False)

    assert (done.outcome, done.comparison, done.sentence) == (
        "kept",
        COMPARISON,
        "Equivalent: ...",
    )


def test_the_next_is_the_first_that_is_not_over():
    over = Attempt(("a/a",), outcome="refused")
    session = Session("id", "now", "dirtune tune", "0", "t", {}, (over, Attempt(("b/b",))))

    assert decide.upcoming(session) == 1
    done = decide.with_attempt(session, 1, msgspec.structs.replace(over, outcome="kept"))
    assert decide.upcoming(done) is None


def test_boots_take_turns_and_both_arms_have_as_many():
    assert decide.boot_arms(1) == "AB"
    assert decide.boot_arms(3) == "ABBAAB"
    assert decide.boot_arms(5) == "ABBAABBAAB"


def test_a_boot_that_was_cut_off_is_gone_on_with():
    trials = [trial(name, 1.0) for name in ("b1-0-A", "b1-1-A", "b1-2-A", "b1-3-A", "b2-0-B")]

    assert decide.next_boot((), "AB") == 1
    assert decide.next_boot(trials, "AB") == 2
    rest = [trial(f"b2-{place}-B", 1.0) for place in (1, 2, 3)]
    assert decide.next_boot([*trials, *rest], "AB") is None


@pytest.mark.parametrize(
    ("boot", "stage"),
    [
        (None, "prepare"),
        (Boot(1, "boot-a"), "prepare"),
        (Boot(2, "boot-b"), "wait"),
        (Boot(2, "boot-a"), "measure"),
    ],
)
def test_the_second_boot_is_measured_once_the_director_was_made_ready_and_booted(boot, stage):
    assert decide.boot_stage(boot, 2, "boot-b") == stage
