"""Entries that stay too long: the fin timeout, and UDP without one-packet scheduling."""

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.timeouts import timeouts
from dirtune.checks.ipvs.udp_ops import udp_ops
from dirtune.collect.ip_vs import Service
from dirtune.collect.ipvs_netlink import Ipvs
from tests.checks.machines import detailed, director, program, service


def timed(active, inactive, *, fin=120, size=1 << 20, protocol="TCP"):
    plain = service(1, loads=((active, inactive),), protocol=protocol)
    told = Ipvs((), {"tcp": 900, "tcp_fin": fin, "udp": 300})
    taken = director(plain, ipvs=told, ip_vs_table_size=size, processes=(program("keepalived"),))
    return run((timeouts,), taken)[0]


@pytest.mark.parametrize(("size", "severity"), [(1 << 20, "low"), (1 << 16, "medium")])
def test_closed_connections_fill_the_table(size, severity):
    (found,) = timed(100_000, 500_000, size=size).findings

    assert found.severity == severity
    assert found.message == "is 120 s, with 500,000 connections closing and 100,000 established"
    assert found.fixes[0].commands == ("ipvsadm --set 0 30 0",)
    assert found.fixes[0].competes == ("keepalived",)


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: timed(80_000, 410_000),
        lambda: timed(100_001, 500_000),
        lambda: timed(100_000, 500_000, fin=30),
        lambda: timed(10, 99_000),
    ],
)
def test_a_timeout_that_fits(quiet):
    assert quiet().status is Status.PASSED


def test_timeouts_take_netlink():
    assert run((timeouts,), director(service(1)))[0].status is Status.SKIPPED


def udp(held, *, other=0, port=53, protocol="UDP", **more):
    asked = service(1, protocol=protocol, port=port, loads=((0, held),), **more)
    known = Ipvs((detailed(asked),))
    return run((udp_ops,), director(asked, service(1, loads=((other, 0),)), ipvs=known))[0]


@pytest.mark.parametrize(("held", "other"), [(1_000, 1_000), (100_000, 900_000)])
@pytest.mark.parametrize("port", [53, 123, 514, 1812])
def test_questions_fill_the_table(held, other, port):
    (found,) = udp(held, other=other, port=port).findings

    assert (found.subject, found.severity) == (f"UDP 198.18.0.100:{port}", Severity.MEDIUM)
    assert found.message.startswith(f"holds {held:,} of {held + other:,} entries")
    assert found.fixes[0].commands == (f"ipvsadm -E -u 198.18.0.100:{port} -o -s rr",)


def test_a_nat_service_gets_no_command():
    assert udp(1_000, forward="Masq").findings[0].fixes[0].commands == ()


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: udp(999),
        lambda: udp(1_000, other=1_001),
        lambda: udp(1_000, ops=True),
        lambda: udp(1_000, persistent_jiffies=75_000),
    ],
)
def test_few_questions_and_affinity_are_quiet(quiet):
    assert quiet().status is Status.PASSED


@pytest.mark.parametrize(("port", "protocol"), [(443, "UDP"), (53, "TCP"), (1194, "UDP")])
def test_other_services_are_not_meant(port, protocol):
    assert udp(900_000, port=port, protocol=protocol).status is Status.NOT_APPLICABLE


def test_a_mark_has_no_port():
    mark = Service("FWM", None, None, 7, "sh")

    assert run((udp_ops,), director(mark))[0].status is Status.NOT_APPLICABLE
