import dataclasses

import pytest

from dirtune.checks import Risk, Severity, Status, run
from dirtune.checks.realserver.dr_off_link import dr_off_link
from dirtune.collect.rulesets import Rulesets
from dirtune.snapshot import Snapshot
from tests.checks.nodes import LINK, RULES
from tests.checks.realserver.directors import FAR, NEAR, director


def off_link(forward, *servers, **fields):
    return run((dr_off_link,), director(forward, *servers, **fields))[0]


def test_direct_routing_over_a_router():
    (found,) = off_link("Route", NEAR, FAR).findings

    assert (found.severity, found.subject) == (Severity.CRITICAL, FAR)
    assert found.evidence["gateway"] == "198.18.0.254"
    assert (found.fixes[0].risk, found.fixes[0].commands) == (Risk.DISRUPTIVE, ())


@pytest.mark.parametrize(
    ("forward", "server"),
    [("Route", NEAR), ("Tunnel", FAR), ("Masq", FAR), ("Route", "198.18.0.1")],
)
def test_on_the_link_or_by_other_means(forward, server):
    assert off_link(forward, server).status is Status.PASSED


def test_a_link_made_of_a_tunnel_has_no_gateway():
    vxlan = dataclasses.replace(LINK, interface="vxlan7")

    assert off_link("Route", NEAR, routes=(vxlan,)).status is Status.PASSED


def test_rules_and_no_route_leave_it_open():
    own = Rulesets(None, None, ("9: from all to 192.0.2.0/24 lookup 7", *RULES), None)

    assert off_link("Route", FAR, rulesets=own).status is Status.INCONCLUSIVE
    assert off_link("Route", FAR, rulesets=None).status is Status.INCONCLUSIVE
    assert off_link("Route", FAR, routes=(LINK,)).status is Status.INCONCLUSIVE
    assert off_link("Route", FAR, routes=None).status is Status.SKIPPED
    assert run((dr_off_link,), Snapshot(services=(), routes=()))[0].status is (
        Status.NOT_APPLICABLE
    )
