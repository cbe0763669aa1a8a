import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.stale_conn_policy import stale_conn_policy
from tests.checks.machines import director, program, service

NEW = {"expire_nodest_conn": 1, "expire_quiescent_template": 1, "conn_reuse_mode": 1}


def outcome(*services, sysctls=None, processes=(), before=None, **more):
    settings = {name: v for name, v in (NEW | (sysctls or {})).items() if v is not None}
    programs = None if processes is None else tuple(program(each) for each in processes)
    earlier = None if before is None else {"services": before}
    taken = director(*services, sysctls=settings, processes=programs, earlier=earlier, **more)
    return run((stale_conn_policy,), taken)[0]


OLD = {"expire_nodest_conn": 0}


@pytest.mark.parametrize("name", ["kube-proxy", "kube-router"])
def test_a_manager_that_deletes(name):
    (found,) = outcome(service(1), sysctls=OLD, processes=(name,)).findings

    assert (found.subject, found.severity) == ("net.ipv4.vs.expire_nodest_conn", Severity.MEDIUM)
    assert found.evidence["managers"] == [name]
    assert found.fixes[0].commands[0] == "sysctl -w 'net.ipv4.vs.expire_nodest_conn=1'"
    assert found.fixes[0].competes == (name,)


def test_a_destination_that_went_with_connections():
    before = (service(1, 1, loads=((5, 0), (5, 0))),)
    (found,) = outcome(service(1), sysctls=OLD, before=before).findings

    assert found.severity is Severity.HIGH
    assert found.evidence["gone"] == ["198.18.0.12:80 of TCP 198.18.0.100:80"]


@pytest.mark.parametrize(
    ("then", "now", "status"),
    [(10, 10, Status.FINDING), (10, 12, Status.FINDING), (10, 9, Status.PASSED)],
)
def test_a_destination_of_weight_0_that_does_not_drain(then, now, status):
    found = outcome(
        service(1, 0, loads=((5, 0), (now, 0))),
        sysctls=OLD | {"conn_reuse_mode": 0},
        before=(service(1, 0, loads=((5, 0), (then, 0))),),
    )

    assert found.status is status
    assert found.severity in (None, Severity.HIGH)


@pytest.mark.parametrize(("weights", "severity"), [((1,), "medium"), ((1, 0), "high")])
def test_persistent_clients_stay(weights, severity):
    sticky = service(*weights, persistent_jiffies=75000)
    (found,) = outcome(sticky, sysctls={"expire_quiescent_template": 0}).findings

    assert found.severity == severity
    assert found.subject == "net.ipv4.vs.expire_quiescent_template"


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: outcome(service(1), processes=("kube-proxy",)),
        lambda: outcome(service(1), sysctls=OLD),
        lambda: outcome(service(1), sysctls={"expire_quiescent_template": 0}),
        lambda: outcome(
            service(1, protocol="UDP", port=53, ops=True), sysctls=OLD, processes=("kube-proxy",)
        ),
        lambda: outcome(service(1), sysctls=OLD, before=(service(1, 1),)),
        lambda: outcome(
            service(1, 0, loads=((5, 0), (5, 0))),
            sysctls=OLD,
            before=(service(1, 0, loads=((5, 0), (5, 0))),),
        ),
    ],
)
def test_nothing_stays(quiet):
    assert quiet().status is Status.PASSED


@pytest.mark.parametrize(
    "unknown",
    [
        lambda: outcome(service(1), sysctls=OLD, processes=("keepalived",)),
        lambda: outcome(service(1), sysctls=OLD, processes=None),
        lambda: outcome(service(1), sysctls={"expire_nodest_conn": None}),
        lambda: outcome(
            service(1, persistent_jiffies=1), sysctls={"expire_quiescent_template": None}
        ),
    ],
)
def test_what_is_not_known_leaves_it_open(unknown):
    assert unknown().status is Status.INCONCLUSIVE
