import dataclasses
from ipaddress import IPv4Network

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.destination_mismatch import destination_mismatch
from dirtune.collect.ip_vs import Destination, Service
from tests.checks.machines import VIP, director, service


def outcome(forward, *, port=80, server_port=80, weight=1, fwmark=None, **fields):
    server = Destination("198.18.0.11", server_port, forward, weight, 0, 0)
    plain = (
        dataclasses.replace(service(1), port=port, destinations=(server,))
        if fwmark is None
        else Service("FWM", None, None, fwmark, "rr", destinations=(server,))
    )
    return run((destination_mismatch,), director(plain, **fields))[0]


@pytest.mark.parametrize("forward", ["Route", "Tunnel"])
def test_direct_routing_and_tunnels_do_not_change_the_port(forward):
    (finding,) = outcome(forward, server_port=8080).findings

    assert finding.severity is Severity.HIGH
    assert "198.18.0.11:8080 gets packets for port 80" in finding.message
    assert f"{forward} does not change the port of TCP {VIP}:80" in finding.message


def test_a_local_destination_with_another_hosts_address():
    (finding,) = outcome("Local").findings

    assert finding.severity is Severity.HIGH
    assert "not on this host" in finding.message
    assert outcome("Local", addresses=None).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: outcome("Masq", server_port=8080),
        lambda: outcome("Route"),
        lambda: outcome("Route", server_port=8080, weight=0),
        lambda: outcome("Route", port=0, server_port=0),
        lambda: outcome("Route", fwmark=7, server_port=8080),
        lambda: outcome("Local", addresses=frozenset({VIP, "198.18.0.11"})),
        lambda: outcome("Local", local_networks=frozenset({IPv4Network("198.18.0.0/28")})),
    ],
)
def test_destinations_that_fit(quiet):
    assert quiet().status is Status.PASSED
