"""client/fd-limit, timewait and generator-bound."""

import dataclasses

import pytest

from dirtune.checks import Cluster, Severity, Status, run, run_cross
from dirtune.checks.client.fd_limit import fd_limit
from dirtune.checks.client.generator_bound import generator_bound
from dirtune.checks.client.timewait import timewait
from dirtune.collect.net import Interface
from dirtune.collect.processes import Process
from dirtune.collect.stat import CpuTimes, Stat
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Place, Snapshot


def limited(limit, planned=1000, program="h2load"):
    process = Process(9, program, kernel=False, ticks=1, cpu=0, policy="other", priority=0)
    taken = Snapshot(
        limits={"Max open files": limit},
        place=Place("client", concurrency=planned),
        processes=(process,),
    )
    return run((fd_limit,), taken)[0]


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


def busy(role, percent, *, sent=0, speed=1000):
    """A node with one CPU and one link over 2 s."""

    def at(ticks, idle, bytes, seconds, **fields):
        times = CpuTimes(0, ticks, 0, 0, idle)
        link = Interface(
            "eth0", None, None, True, 1, 1, speed_mbps=speed, statistics={"tx_bytes": bytes}
        )
        return Snapshot(
            stat=Stat(times, (times,), None), interfaces=(link,), taken_s=seconds, **fields
        )

    earlier = at(0, 0, 0, 10.0)
    return at(2 * percent, 200 - 2 * percent, sent, 12.0, earlier=earlier, place=Place(role))


def bound(**nodes):
    return run_cross((generator_bound,), Cluster(nodes))[0]


def test_too_few_files():
    (found,) = limited(1099).findings

    assert (found.severity, found.subject) == (Severity.HIGH, "open files")
    assert found.message == "1,099 may be open, 1,100 are needed"
    assert found.fixes[0].commands == ("ulimit -n 1048576",)


@pytest.mark.parametrize(
    ("limit", "program"), [(1100, "h2load"), (None, "wrk"), (None, "httperf")]
)
def test_enough_files(limit, program):
    assert limited(limit, program=program).status is Status.PASSED


def test_select_ends_at_1024():
    (found,) = limited(None, planned=1025, program="httperf").findings

    assert found.message == "uses select(2), which ends at 1,024, for 1,025 connections"
    assert found.fixes[0].commands == ()
    assert limited(None, planned=1025, program="wrk").status is Status.PASSED


def test_files_unknown():
    assert limited(1024, planned=None).status is Status.INCONCLUSIVE
    assert run((fd_limit,), Snapshot(limits={}))[0].status is Status.NOT_APPLICABLE
    unlisted = Snapshot(limits={"Max processes": 1}, place=Place("client", concurrency=5))
    assert run((fd_limit,), unlisted)[0].status is Status.INCONCLUSIVE
    assert run((fd_limit,), Snapshot(place=Place("client")))[0].status is Status.SKIPPED


def test_half_of_the_ports_wait():
    (found,) = waiting(tw=14116).findings

    assert (found.severity, found.subject) == (Severity.MEDIUM, "tcp_tw_reuse")
    assert found.message == "is 2, and 14,116 of 28,232 source ports are in TIME_WAIT"
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

    assert found.message == "42 sockets more than tcp_max_tw_buckets allows were dropped"
    assert found.fixes[0].commands[0] == "sysctl -w 'net.ipv4.tcp_max_tw_buckets=400000'"
    assert waiting(overflow=(47, 47)).status is Status.PASSED


def test_waiting_unknown():
    assert waiting(tcp_tw_reuse="").status is Status.INCONCLUSIVE
    assert run((timewait,), Snapshot())[0].status is Status.SKIPPED


def test_a_client_at_its_end():
    (found,) = bound(lb=busy("director", 59), c1=busy("client", 90)).findings

    assert (found.severity, found.subject) == (Severity.INFO, "c1")
    assert found.message == "a CPU is at 90 % while the director's busiest is at 59 %"


def test_a_link_at_its_end():
    # 225 MB in 2 s are 900 Mbit/s.
    (found,) = bound(lb=busy("director", 5), c1=busy("client", 5, sent=225_000_000)).findings

    assert found.message.startswith("eth0 is at 90 % of its speed")


@pytest.mark.parametrize(("director", "client"), [(60, 95), (10, 89)])
def test_the_director_is_measured(director, client):
    found = bound(lb=busy("director", director), c1=busy("client", client))

    assert found.status is Status.PASSED


def test_nodes_that_cannot_be_compared():
    assert bound(lb=busy("director", 5)).status is Status.NOT_APPLICABLE
    once = Snapshot(place=Place("client"))
    assert bound(lb=busy("director", 5), c1=once).status is Status.INCONCLUSIVE
    assert bound(lb=Snapshot(place=Place("director")), c1=once).status is Status.INCONCLUSIVE
    assert run((generator_bound,), once)[0].status is Status.SKIPPED


def test_nodes_that_were_not_read_leave_it_open():
    nodes = {"lb": busy("director", 5), "c1": busy("client", 5)}

    def with_unread(name, role):
        return run_cross((generator_bound,), Cluster(nodes, {name: role}))[0]

    assert run_cross((generator_bound,), Cluster({}))[0].status is Status.SKIPPED
    assert with_unread("c2", "client").status is Status.SKIPPED
    assert "c2" in with_unread("c2", "client").reason
    assert with_unread("rs1", "real-server").status is Status.PASSED
    blind = dataclasses.replace(nodes["c1"], interfaces=None)
    assert bound(lb=nodes["lb"], c1=blind).status is Status.INCONCLUSIVE
