from ipaddress import IPv4Network

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.nat_forward_off import nat_forward_off
from dirtune.collect.ip_vs import Destination, Service, Stats
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.collect.routes import Route
from tests.checks.machines import VIP, detailed, director, service

ROUTES = (
    Route("eth0", IPv4Network("0.0.0.0/0"), "203.0.113.1", 0),
    Route("eth1", IPv4Network("198.18.0.0/24"), None, 0),
)


ALL, ETH0, ETH1 = "net/ipv4/ip_forward", *(f"net/ipv4/conf/eth{n}/forwarding" for n in (0, 1))


def nat(sysctls, *, routes=ROUTES, forward="Masq", **fields):
    one = service(1, 1, forward=forward)
    fields = {"ip_vs_stats": Stats(9, 900, 800, 0, 0)} | fields
    return run((nat_forward_off,), director(one, sysctls=sysctls, routes=routes, **fields))[0]


@pytest.mark.parametrize(
    ("sysctls", "routes", "subject"),
    [
        # Writing 1 into an ip_forward that is 1 does not change the interface's setting.
        ({ALL: 1, ETH0: 1, ETH1: 0}, ROUTES, "net.ipv4.conf.eth1.forwarding"),
        ({ALL: 0}, ROUTES, "net.ipv4.ip_forward"),
        ({ALL: 0, ETH1: 1}, None, "net.ipv4.ip_forward"),
    ],
)
def test_replies_are_not_forwarded(sysctls, routes, subject):
    (found,) = nat(sysctls, routes=routes).findings

    assert (found.subject, found.severity) == (subject, Severity.CRITICAL)
    assert found.evidence["servers"] == ["198.18.0.11", "198.18.0.12"]
    assert found.fixes[0].commands[0] == f"sysctl -w '{subject}=1'"


def test_replies_of_ipv6_have_a_setting_of_their_own():
    six = Service(
        "TCP",
        "fd00::9",
        80,
        None,
        "rr",
        destinations=(Destination("fd00::2", 80, "Masq", 1, 0, 0),),
    )
    settings = {ALL: 1, "net/ipv6/conf/all/forwarding": 0}
    (found,) = run((nat_forward_off,), director(six, sysctls=settings))[0].findings

    assert found.subject == "net.ipv6.conf.all.forwarding"
    assert found.fixes[0].commands[0] == "sysctl -w 'net.ipv6.conf.all.forwarding=1'"


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: nat({ALL: 1, ETH0: 0, ETH1: 1}),
        lambda: nat({ALL: 0}, forward="Route"),
        lambda: nat({ALL: 0}, forward="Tunnel"),
        lambda: nat({ALL: 0}, forward="Local"),
        lambda: nat({ALL: 0}, addresses=frozenset({VIP, "198.18.0.11", "198.18.0.12"})),
    ],
)
def test_forwarding_that_is_on_or_not_needed(quiet):
    assert quiet().status is Status.PASSED


def test_what_is_not_known_leaves_it_open():
    assert nat({}).status is Status.INCONCLUSIVE
    assert nat({ALL: 0}, addresses=None).status is Status.INCONCLUSIVE


def replied(came, went, *, protocol="TCP", forwards=1):
    plain = service(1, forward="Masq", protocol=protocol)
    now = Ipvs((detailed(plain, packets_in=50 + came, packets_out=50 + went),))
    then = Ipvs((detailed(plain, packets_in=50, packets_out=50),))
    taken = director(plain, sysctls={ALL: forwards}, ipvs=now, earlier={"ipvs": then})
    return run((nat_forward_off,), taken)[0]


def test_nothing_goes_back_though_it_could():
    (found,) = replied(1000, 0).findings

    assert found.severity is Severity.CRITICAL
    assert (found.evidence["packets_in"], found.evidence["packets_out"]) == (1000, 0)


@pytest.mark.parametrize(
    ("came", "went", "protocol"), [(999, 0, "TCP"), (5000, 1, "TCP"), (5000, 0, "UDP")]
)
def test_replies_few_packets_and_one_way_udp_are_quiet(came, went, protocol):
    assert replied(came, went, protocol=protocol).status is Status.PASSED


def test_the_setting_explains_the_silence():
    assert len(replied(1000, 0, forwards=0).findings) == 1


def in_total(came, went, *services, then=(0, 0), samples=2):
    """The totals of /proc/net/ip_vs_stats, and no answer of netlink."""
    now = Stats(9, came, went, 0, 0)
    earlier = {"ip_vs_stats": Stats(9, *then, 0, 0)} if samples == 2 else None
    taken = director(
        *(services or (service(1, forward="Masq"),)),
        sysctls={ALL: 1},
        ip_vs_stats=now,
        earlier=earlier,
    )
    return run((nat_forward_off,), taken)[0]


@pytest.mark.parametrize(("samples", "when"), [(2, "between the samples"), (1, "since")])
def test_the_totals_serve_where_the_services_counters_are_missing(samples, when):
    (finding,) = in_total(11_400, 0, samples=samples).findings

    assert finding.severity is Severity.CRITICAL
    assert "11,400 packets came" in finding.message
    assert when in finding.message


def test_replies_in_the_totals_are_enough():
    assert in_total(11_400, 9000).status is Status.PASSED
    # Old totals do not hide that replies have ended.
    assert in_total(11_400, 9000, then=(100, 9000)).status is Status.FINDING


@pytest.mark.parametrize(
    "unclear",
    [
        lambda: in_total(300, 0),
        # Only NAT counts outgoing packets, and the totals do not tell the services apart.
        lambda: in_total(9000, 0, service(1, forward="Masq"), service(1, port=81)),
        lambda: nat({ALL: 1}, ip_vs_stats=None),
        # Without estimation the kernel does not sum its counters up.
        lambda: nat({ALL: 1, "run_estimation": 0}),
    ],
)
def test_missing_counters_are_never_a_pass(unclear):
    assert unclear().status is Status.INCONCLUSIVE


def test_totals_of_other_forwarding_methods_do_not_count():
    assert in_total(9000, 0, service(1)).status is Status.PASSED
