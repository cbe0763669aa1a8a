from ipaddress import IPv4Network

import pytest

from dirtune.checks import Risk, Severity, Status, run
from dirtune.checks.realserver.nat_gateway import nat_gateway
from dirtune.collect.routes import Route
from dirtune.collect.rulesets import Rulesets
from dirtune.snapshot import Place
from tests.checks.nodes import DIRECTOR, LINK, RULES, VIP, default, server

CLIENT = "203.0.113.7"


def outcome(gateway, *more, clients=(), source_nat=False, forward="Masq", **fields):
    place = Place(
        "real-server",
        (VIP,),
        forward,
        frozenset({DIRECTOR, "192.0.2.1"}),
        client_addresses=frozenset(clients),
        source_nat=source_nat,
    )
    routes = (LINK, *more, *([default(gateway)] if gateway else []))
    return run((nat_gateway,), server(**({"place": place, "routes": routes} | fields)))[0]


def test_the_default_route_leads_past_the_director():
    (found,) = outcome("198.18.0.254").findings

    assert (found.severity, found.subject) == (Severity.CRITICAL, "default route")
    assert found.evidence["next_hops"] == {"0.0.0.0": "198.18.0.254"}
    (fix,) = found.fixes
    assert fix.risk is Risk.DISRUPTIVE
    assert fix.commands == (f"ip route replace default via {DIRECTOR}",)


def test_a_client_on_the_same_link():
    (found,) = outcome(DIRECTOR, clients=["198.18.0.77"]).findings

    assert found.evidence["next_hops"] == {"198.18.0.77": "dev eth0"}
    # The default route does not matter to a client on the link.
    assert found.fixes[0].commands == (f"ip route replace 198.18.0.77/32 via {DIRECTOR}",)


def test_no_route_at_all():
    (found,) = outcome(None).findings

    assert found.evidence["next_hops"] == {"0.0.0.0": None}


def test_a_director_in_no_network_of_ours_has_no_command():
    far = Route("eth0", IPv4Network("10.0.0.0/8"), None, 0)
    (found,) = outcome("10.0.0.1", routes=(far, default("10.0.0.1"))).findings

    assert found.fixes[0].commands == ()


@pytest.mark.parametrize(
    ("gateway", "fields"),
    [
        (DIRECTOR, {}),
        (DIRECTOR, {"clients": [CLIENT], "source_nat": None}),
    ],
)
def test_answers_through_the_director(gateway, fields):
    assert outcome(gateway, **fields).status is Status.PASSED


def test_the_clients_network_is_routed_by_itself():
    through = Route("eth0", IPv4Network("203.0.113.0/24"), DIRECTOR, 0)

    assert outcome("198.18.0.254", through, clients=[CLIENT]).status is Status.PASSED
    assert outcome("198.18.0.254", through).status is Status.INCONCLUSIVE


def test_a_director_that_rewrites_sources():
    assert outcome("198.18.0.254", source_nat=True).status is Status.INCONCLUSIVE
    assert outcome("198.18.0.254", source_nat=None).status is Status.INCONCLUSIVE


@pytest.mark.parametrize("rules", [("9: from 198.18.0.11 lookup 7", *RULES), None])
def test_rules_of_its_own_leave_it_open(rules):
    found = outcome("198.18.0.254", rulesets=Rulesets(None, None, rules, None))

    assert found.status is Status.INCONCLUSIVE


def test_other_servers():
    assert outcome("198.18.0.254", forward="Route").status is Status.NOT_APPLICABLE
    assert outcome("198.18.0.254", forward=None).status is Status.INCONCLUSIVE
    assert outcome("198.18.0.254", place=False).status is Status.INCONCLUSIVE
    assert outcome("198.18.0.254", routes=None).status is Status.SKIPPED
