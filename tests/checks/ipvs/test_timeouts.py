import pytest

from dirtune.checks import Status, run
from dirtune.checks.ipvs.timeouts import timeouts
from dirtune.collect.ipvs_netlink import Ipvs
from tests.checks.machines import director, program, service


def timed(active, inactive, *, fin=120, size=1 << 20, protocol="TCP"):
    plain = service(1, loads=((active, inactive),), protocol=protocol)
    told = Ipvs((), {"tcp": 900, "tcp_fin": fin, "udp": 300})
    taken = director(plain, ipvs=told, ip_vs_table_size=size, processes=(program("keepalived"),))
    return run((timeouts,), taken)[0]


@pytest.mark.parametrize(("size", "severity"), [(1 << 20, "low"), (1 << 16, "medium")])
def test_closed_connections_fill_the_table(size, severity):
    (found,) = timed(100_000, 500_000, size=size).findings

    assert found.severity == severity
    assert (found.evidence["inactive"], found.evidence["active"]) == (500_000, 100_000)
    assert found.evidence["timeouts_s"]["tcp_fin"] == 120
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
