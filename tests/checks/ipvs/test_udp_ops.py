import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.udp_ops import udp_ops
from dirtune.collect.ip_vs import Service
from dirtune.collect.ipvs_netlink import Ipvs
from tests.checks.machines import detailed, director, service


def udp(held, *, other=0, port=53, protocol="UDP", **more):
    asked = service(1, protocol=protocol, port=port, loads=((0, held),), **more)
    known = Ipvs((detailed(asked),))
    return run((udp_ops,), director(asked, service(1, loads=((other, 0),)), ipvs=known))[0]


@pytest.mark.parametrize(("held", "other"), [(1_000, 1_000), (100_000, 900_000)])
@pytest.mark.parametrize("port", [53, 123, 514, 1812])
def test_questions_fill_the_table(held, other, port):
    (found,) = udp(held, other=other, port=port).findings

    assert (found.subject, found.severity) == (f"UDP 198.18.0.100:{port}", Severity.MEDIUM)
    assert found.evidence["entries"] == held
    assert found.evidence["all_entries"] == held + other
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
