import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.client.timewait import timewait
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Place, Snapshot


def waiting(tw=0, overflow=(0, 0), role="client", **values):
    sysctls = {"net/ipv4/ip_local_port_range": "32768\t60999", "net/ipv4/tcp_tw_reuse": "2"}
    sysctls |= {f"net/ipv4/{name}": str(value) for name, value in values.items()}
    name = "TcpExt.TCPTimeWaitOverflow"
    taken = Snapshot(
        sysctls=Sysctls(sysctls),
        snmp={"sockstat.TCP.tw": tw, name: overflow[1]},
        addresses=frozenset({"127.0.0.1", "198.18.0.20"}),
        place=Place(role),
        earlier=Snapshot(snmp={name: overflow[0]}),
    )
    return run((timewait,), taken)[0]


def test_half_of_the_ports_wait():
    (found,) = waiting(tw=14116).findings

    assert (found.severity, found.subject) == (Severity.MEDIUM, "tcp_tw_reuse")
    assert found.evidence == {"tcp_tw_reuse": 2, "time_wait": 14_116, "ports": 28_232}
    assert found.fixes[0].commands[:2] == (
        "sysctl -w 'net.ipv4.tcp_tw_reuse=1'",
        "sysctl -w 'net.ipv4.tcp_timestamps=1'",
    )


@pytest.mark.parametrize(
    "fields",
    [{"tw": 14115}, {"tw": 28000, "tcp_tw_reuse": 1}, {"tw": 28000, "role": "real-server"}],
)
def test_few_wait_or_are_reused(fields):
    assert waiting(**fields).status is Status.PASSED


@pytest.mark.parametrize("role", ["client", "real-server"])
def test_recycling_drops_others(role):
    (found,) = waiting(role=role, tcp_tw_recycle=1).findings

    assert (found.severity, found.subject) == (Severity.CRITICAL, "tcp_tw_recycle")
    assert found.fixes[0].commands[0] == "sysctl -w 'net.ipv4.tcp_tw_recycle=0'"


def test_buckets_that_overflow():
    (found,) = waiting(overflow=(5, 47), tcp_max_tw_buckets=200000).findings

    assert found.evidence == {"overflows": 42, "tcp_max_tw_buckets": 200_000}
    assert found.fixes[0].commands[0] == "sysctl -w 'net.ipv4.tcp_max_tw_buckets=400000'"
    assert waiting(overflow=(47, 47)).status is Status.PASSED


def test_waiting_unknown():
    assert waiting(tcp_tw_reuse="").status is Status.INCONCLUSIVE
    assert run((timewait,), Snapshot())[0].status is Status.SKIPPED
