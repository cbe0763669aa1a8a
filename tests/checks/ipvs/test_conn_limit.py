import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.conn_limit import conn_limit
from dirtune.collect.ipvs_netlink import Ipvs
from tests.checks.machines import detailed, director, service


def outcome(active, inactive, *, templates=0, **settings):
    plain = service(1, loads=((active, inactive),))
    known = Ipvs((detailed(plain, {"persistent": templates}),))
    return run((conn_limit,), director(plain, sysctls=settings, ipvs=known))[0]


@pytest.mark.parametrize(
    ("load", "templates", "severity"),
    [
        ((600, 400), 0, Severity.CRITICAL),
        ((600, 300), 100, Severity.CRITICAL),
        ((600, 200), 0, Severity.HIGH),
    ],
)
def test_a_table_at_or_near_its_limit(load, templates, severity):
    (finding,) = outcome(*load, templates=templates, conn_max=1000).findings

    assert finding.severity is severity
    assert "of at most 1,000 entries" in finding.message
    assert finding.fixes[0].commands[0] == "sysctl -w 'net.ipv4.vs.conn_max=2000'"


def test_far_from_the_limit():
    assert outcome(600, 199, conn_max=1000).status is Status.PASSED


def test_a_kernel_without_a_limit():
    assert outcome(10**7, 0).status is Status.NOT_APPLICABLE
