"""Servers that drain, and persistence that keeps clients together."""

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.persistence_skew import persistence_skew
from dirtune.checks.ipvs.quiesced import quiesced
from dirtune.collect.ipvs_netlink import Ipvs
from tests.checks.machines import detailed, director, service


def drained(then, now, *, seconds=3600, weights=(1, 0), before=(1, 0), **more):
    late = service(*weights, loads=((5, 0), (now, 0)), **more)
    early = service(*before, loads=((5, 0), (then, 0)), **more)
    earlier = {"services": (early,), "taken_s": 0.0}
    return run((quiesced,), director(late, taken_s=float(seconds), earlier=earlier))[0]


@pytest.mark.parametrize(
    ("seconds", "severity"), [(3600, "low"), (86_399, "low"), (86_400, "medium")]
)
def test_a_server_that_does_not_drain(seconds, severity):
    (found,) = drained(7, 7, seconds=seconds).findings

    assert found.severity == severity
    assert found.subject == "198.18.0.12:80 of TCP 198.18.0.100:80"
    assert "from 7 to 7 connections" in found.message
    assert found.fixes == ()


def test_persistent_clients_can_be_let_go():
    (fix,) = drained(7, 8, persistent_jiffies=75_000).findings[0].fixes

    assert fix.commands[0] == "sysctl -w 'net.ipv4.vs.expire_quiescent_template=1'"


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: drained(7, 6),
        lambda: drained(7, 0),
        lambda: drained(7, 0, seconds=60),
        lambda: drained(7, 7, weights=(1, 1)),
        lambda: drained(7, 7, before=(1, 1)),
        lambda: drained(0, 7),
    ],
)
def test_a_server_that_drains_or_serves(quiet):
    assert quiet().status is Status.PASSED


def test_less_than_an_hour_says_nothing():
    one = service(0, loads=((7, 0),))

    assert drained(7, 7, seconds=3599).status is Status.INCONCLUSIVE
    assert run((quiesced,), director(one))[0].status is Status.INCONCLUSIVE


def skewed(*loads, weights=(1, 1), persistent=75_000, known=True, **settings):
    rows = tuple((load, 0) for load in loads)
    plain = service(*weights, loads=rows, persistent_jiffies=persistent)
    facts = {"netmask": "255.255.255.255", "persistent_s": 300} | settings
    told = Ipvs((detailed(plain, **facts),)) if known else None
    return run((persistence_skew,), director(plain, ipvs=told))[0]


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (
            lambda: skewed(1000, 0),
            "198.18.0.11:80 has 100% of the connections and 50% of the weight",
        ),
        (
            lambda: skewed(600, 400, weights=(1, 3), known=False),
            "198.18.0.11:80 has 60% of the connections and 25% of the weight",
        ),
        (
            lambda: skewed(500, 500, netmask="255.255.255.0"),
            "netmask 255.255.255.0 sets many clients together",
        ),
        (lambda: skewed(500, 500, persistent_s=3601), "clients stay for 3601 s"),
    ],
)
def test_clients_are_kept_together(outcome, said):
    (found,) = outcome().findings

    assert (found.severity, found.message) == (Severity.MEDIUM, said)
    assert found.fixes[0].commands == ()


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: skewed(999, 0),
        lambda: skewed(990, 0, netmask="255.255.0.0", persistent_s=9000),
        lambda: skewed(999, 2, weights=(9, 1)),
        lambda: skewed(1000, 0, weights=(3, 0)),
        lambda: skewed(1000, 0, persistent=None),
        lambda: skewed(500, 500, persistent_s=3600),
        lambda: skewed(500, 500, family=6, netmask="64.0.0.0"),
    ],
)
def test_few_clients_and_fair_shares_are_quiet(quiet):
    assert quiet().status is Status.PASSED


def test_netmask_and_timeout_take_netlink():
    assert skewed(500, 500, known=False).status is Status.INCONCLUSIVE
