import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.client.ephemeral_ports import ephemeral_ports
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Place, Snapshot

DEFAULT = "32768\t60999"  # 28,232 ports, 470.5/s


def outcome(*, tw=0, opened=None, rate=None, span=DEFAULT, addresses=("198.18.0.20",), **more):
    sysctls = {"net/ipv4/ip_local_port_range": span} | more
    earlier = Snapshot(snmp={"Tcp.ActiveOpens": 1000}, taken_s=10.0)
    snmp = {"sockstat.TCP.tw": tw, "Tcp.ActiveOpens": 1000 + 2 * (opened or 0)}
    taken = Snapshot(
        snmp=snmp,
        sysctls=Sysctls(sysctls),
        addresses=frozenset({"127.0.0.1", "::1", *addresses}),
        place=Place("client", rate=rate),
        taken_s=12.0,
        earlier=None if opened is None else earlier,
    )
    return run((ephemeral_ports,), taken)[0]


def test_ports_in_time_wait():
    (found,) = outcome(tw=22586).findings

    assert (found.severity, found.subject) == (Severity.HIGH, "source ports")
    assert (found.evidence["time_wait"], found.evidence["ports"]) == (22_586, 28_232)
    assert found.fixes[0].commands == (
        "sysctl -w 'net.ipv4.ip_local_port_range=1024 65535'",
        "echo 'net.ipv4.ip_local_port_range=1024 65535' >> /etc/sysctl.d/90-dirtune.conf",
    )
    assert found.fixes[1].commands == ()


def test_just_below_80_per_cent():
    assert outcome(tw=22585, opened=0).status is Status.PASSED


@pytest.mark.parametrize(
    ("rate", "status"),
    [(471, Status.FINDING), (470, Status.PASSED)],
)
def test_the_rate_that_a_plan_asks(rate, status):
    assert outcome(rate=rate).status is status


def test_the_measured_rate_with_our_sockets_waiting():
    (found,) = outcome(opened=500, tw=14200).findings

    assert found.message == (
        "This client opens 500 connections/s, but its 28,232 source ports allow 471 connections/s"
    )


def test_the_server_closes_first():
    assert outcome(opened=500, tw=40).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    "fields",
    [
        {"addresses": ("198.18.0.20", "198.18.0.21")},
        {"span": "1024\t65535"},
        {"net/ipv4/tcp_tw_reuse": "1", "net/ipv4/tcp_timestamps": "1"},
    ],
)
def test_more_room(fields):
    assert outcome(rate=600, **fields).status is Status.PASSED


def test_reuse_on_loopback_alone_does_not_help():
    more = {"net/ipv4/tcp_tw_reuse": "2", "net/ipv4/tcp_timestamps": "1"}

    assert outcome(rate=600, **more).status is Status.FINDING


def test_reserved_ports_are_taken_off():
    # 28,232 less 100 less 1: 28,131 and 468.85/s.
    reserved = {"net/ipv4/ip_local_reserved_ports": "80,40000-40099,50000"}

    assert outcome(rate=469, **reserved).findings[0].evidence["ports"] == 28131


def test_a_range_that_is_wide_has_no_command():
    (found,) = outcome(rate=2000, span="1024\t65535").findings

    assert [fix.id for fix in found.fixes] == ["use-more-addresses"]


def test_unknown():
    assert outcome(span="").status is Status.INCONCLUSIVE
    assert outcome(addresses=()).status is Status.INCONCLUSIVE
    assert outcome().status is Status.INCONCLUSIVE
    assert run((ephemeral_ports,), Snapshot(sysctls=Sysctls({}), snmp={}))[0].status is (
        Status.NOT_APPLICABLE
    )
