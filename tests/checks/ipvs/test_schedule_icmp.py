import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.schedule_icmp import schedule_icmp
from tests.checks.machines import director, program, service


def judged(check, sysctls, *, scheduler="rr", processes=("keepalived",), protocol="TCP"):
    programs = None if processes is None else tuple(program(name) for name in processes)
    one = service(1, scheduler=scheduler, protocol=protocol)
    return run((check,), director(one, sysctls=sysctls, processes=programs))[0]


def icmp(value=0, **more):
    return judged(schedule_icmp, {"conntrack": 0, "schedule_icmp": value}, **more)


@pytest.mark.parametrize(
    ("scheduler", "processes", "severity", "mh_services"),
    [
        ("rr", ("bird",), Severity.MEDIUM, []),
        ("mh", ("bgpd",), Severity.MEDIUM, ["TCP 198.18.0.100:80"]),
        ("mh", (), Severity.LOW, ["TCP 198.18.0.100:80"]),
        ("mh", None, Severity.LOW, ["TCP 198.18.0.100:80"]),
    ],
)
def test_icmp_may_come_to_another_director(scheduler, processes, severity, mh_services):
    (found,) = icmp(scheduler=scheduler, processes=processes).findings

    assert found.severity is severity
    assert found.evidence["routers"] == list(processes or ())
    assert found.evidence["mh_services"] == mh_services
    assert found.message.startswith("net.ipv4.vs.schedule_icmp is 0, ")
    assert found.fixes[0].commands[0] == "sysctl -w 'net.ipv4.vs.schedule_icmp=1'"


def test_icmp_of_a_single_director_finds_its_connection():
    assert icmp().status is Status.PASSED
    assert icmp(1, scheduler="mh", processes=("bird",)).status is Status.PASSED
    assert icmp(1, processes=None).status is Status.PASSED


def test_icmp_that_is_not_known():
    assert icmp(processes=None).status is Status.INCONCLUSIVE
    missing = judged(schedule_icmp, {"conntrack": 0}, scheduler="mh")
    assert missing.status is Status.NOT_APPLICABLE
