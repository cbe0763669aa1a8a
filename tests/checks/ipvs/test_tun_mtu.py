from ipaddress import IPv4Network

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.tun_mtu import tun_mtu
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.collect.net import Interface
from dirtune.collect.routes import Route
from tests.checks.machines import detailed, director, service

ROUTES = (
    Route("eth0", IPv4Network("0.0.0.0/0"), "203.0.113.1", 0),
    Route("eth1", IPv4Network("198.18.0.0/24"), None, 0),
)


def tunnel(mtu, *, kind=None, rise=10, name="Icmp.OutDestUnreachs", samples=2, forward="Tunnel"):
    plain = service(1, forward=forward)
    told = None if kind is None else Ipvs((detailed(plain, {"tunnel_type": kind}),))
    zero = {"Icmp.OutDestUnreachs": 3, "Ip.FragCreates": 3, "Ip.FragFails": 3}
    cards = tuple(
        Interface(n, None, None, True, 0, 0, mtu=m) for n, m in (("eth0", 1400), ("eth1", mtu))
    )
    taken = director(
        plain,
        routes=ROUTES,
        interfaces=cards,
        ipvs=told,
        snmp=zero | {name: 3 + rise},
        earlier={"snmp": zero} if samples == 2 else None,
    )
    return run((tun_mtu,), taken)[0]


@pytest.mark.parametrize(
    ("mtu", "kind", "wanted"),
    [(1500, None, 1520), (1519, 0, 1520), (1531, 1, 1532), (1523, 2, 1524)],
)
def test_packets_do_not_fit_the_tunnel(mtu, kind, wanted):
    (found,) = tunnel(mtu, kind=kind).findings

    assert (found.subject, found.severity) == ("eth1", Severity.HIGH)
    assert found.message == (
        f"The MTU of eth1 is {mtu} bytes, but tunnelled packets have up to {wanted} bytes; "
        "Icmp.OutDestUnreachs rose by 10"
    )
    assert found.fixes[1].commands == (f"ip link set dev eth1 mtu {wanted}",)


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: tunnel(1520),
        lambda: tunnel(1532, kind=1),
        lambda: tunnel(9000),
        lambda: tunnel(1500, rise=9),
        lambda: tunnel(1500, forward="Route"),
    ],
)
def test_jumbo_frames_and_small_requests_are_quiet(quiet):
    assert quiet().status is Status.PASSED


def test_fragments_tell_as_well_and_take_two_samples():
    assert tunnel(1500, name="Ip.FragCreates").status is Status.FINDING
    assert tunnel(1500, samples=1).status is Status.INCONCLUSIVE
