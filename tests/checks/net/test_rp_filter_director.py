from ipaddress import IPv4Network

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.net.rp_filter_director import rp_filter_director
from dirtune.collect.routes import Route
from dirtune.collect.rulesets import Rulesets
from tests.checks.machines import director, service
from tests.checks.nodes import LINK, RULES, default

INSIDE = Route("eth1", IPv4Network("10.0.0.0/24"), None, 0)
# The virtual address is on eth0's link, the way back to clients is by eth1.
ASYMMETRIC = (LINK, INSIDE, default("10.0.0.254", "eth1"))
SYMMETRIC = (LINK, INSIDE, default("198.18.0.254"))
ROUTED = (Route("eth0", IPv4Network("203.0.113.0/24"), None, 0), INSIDE, ASYMMETRIC[2])
COUNTER = "TcpExt.IPReversePathFilter"


def outcome(everyone=0, eth0=1, eth1=0, *, routes=ASYMMETRIC, rise=None, **fields):
    values = {"all": everyone, "eth0": eth0, "eth1": eth1}
    settings = {
        f"net/ipv4/conf/{name}/rp_filter": value
        for name, value in values.items()
        if value is not None
    }
    counters = {"snmp": {COUNTER: 1000 + (rise or 0)}}
    earlier = None if rise is None else {"snmp": {COUNTER: 1000}}
    known = {"routes": routes, "rulesets": Rulesets(None, None, RULES, None)} | counters
    taken = director(service(1), sysctls=settings, earlier=earlier, **(known | fields))
    return run((rp_filter_director,), taken)[0]


@pytest.mark.parametrize("values", [(1, 0), (0, 1), (1, 1)])
def test_clients_come_in_by_another_way_than_back(values):
    (found,) = outcome(*values).findings

    assert (found.subject, found.severity) == ("eth0", Severity.MEDIUM)
    assert found.evidence["best_route"] == "eth1"
    assert found.evidence["rp_filter"] == {"all": values[0], "eth0": values[1]}
    assert found.fixes[0].commands[:2] == (
        "sysctl -w 'net.ipv4.conf.all.rp_filter=2'",
        "sysctl -w 'net.ipv4.conf.eth0.rp_filter=2'",
    )


def test_packets_are_dropped_now():
    (found,) = outcome(1, 0, 0, routes=SYMMETRIC, rise=7).findings

    assert (found.subject, found.severity) == ("eth0, eth1", Severity.HIGH)
    assert found.evidence["dropped_packets"] == 7


def test_a_second_default_route():
    routes = (*SYMMETRIC, Route("eth1", IPv4Network("0.0.0.0/0"), "10.0.0.254", 100))
    (found,) = outcome(1, routes=routes).findings

    assert found.subject == "eth1"


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ((0, 0, 0), {}),
        ((2, 1, 1), {}),
        ((1, 2, 0), {}),
        ((0, 2, 0), {"rise": 7}),
        ((0, 0, 1), {}),
        ((1, 1, 1), {"routes": SYMMETRIC}),
        ((1, 1, 1), {"routes": SYMMETRIC, "rise": 0}),
        ((1, 1, 1), {"routes": (LINK, default("198.18.0.254")), "rise": 7}),
        ((1, 1, 1), {"routes": (LINK, INSIDE)}),
    ],
)
def test_nothing_is_dropped(values, fields):
    assert outcome(*values, **fields).status is Status.PASSED


@pytest.mark.parametrize(
    "fields",
    [
        {"eth0": None},
        {"rulesets": None},
        {"rulesets": Rulesets(None, None, (*RULES, "9:\tfrom all iif eth0 lookup 7"), None)},
        {"routes": ROUTED},
    ],
)
def test_what_decides_is_not_known(fields):
    assert outcome(**fields).status is Status.INCONCLUSIVE


def test_missing_sources():
    assert outcome(routes=None).status is Status.SKIPPED
