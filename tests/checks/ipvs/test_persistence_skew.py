import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.persistence_skew import persistence_skew
from dirtune.collect.ipvs_netlink import Ipvs
from tests.checks.machines import detailed, director, service


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
            "198.18.0.11:80 has 100 % of the connections and 50 % of the weight",
        ),
        (
            lambda: skewed(600, 400, weights=(1, 3), known=False),
            "198.18.0.11:80 has 60 % of the connections and 25 % of the weight",
        ),
        (
            lambda: skewed(500, 500, netmask="255.255.255.0"),
            "the netmask 255.255.255.0 sends many clients to the same server",
        ),
        (lambda: skewed(500, 500, persistent_s=3601), "clients stay with their server for 3601 s"),
    ],
)
def test_clients_are_kept_together(outcome, said):
    (found,) = outcome().findings

    assert found.severity is Severity.MEDIUM
    assert found.message.endswith(f": {said}")
    assert found.fixes[0].commands == ()


def test_of_five_hundred_servers_the_busiest_are_named():
    loads = [*(10 + n for n in range(100)), *[0] * 400]

    (found,) = skewed(*loads, weights=(1,) * 500).findings

    # Of 5,950 connections, a fair share is 11.9; 86 servers have at least twice as many.
    busiest = "198.18.0.110:80 has 2 % of the connections and 0.2 % of the weight"
    assert f"balanced: {busiest}, " in found.message
    assert found.message.endswith("and 83 more")
    assert len(found.message) < 300


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
