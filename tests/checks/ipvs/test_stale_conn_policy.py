import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.stale_conn_policy import stale_conn_policy
from dirtune.collect.kernel import Kernel
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


GLUED = (service(1, 0, loads=((5, 0), (12, 555))),)


def on_kernel(release, *, version=None, mode=0, nodest=1, samples=2, **settings):
    return outcome(
        *GLUED,
        sysctls={"conn_reuse_mode": mode, "expire_nodest_conn": nodest} | settings,
        before=GLUED if samples == 2 else None,
        kernel=Kernel("lb1", release, version),
    )


@pytest.mark.parametrize(
    "release",
    [
        "4.9.337",
        "4.14.256",
        "4.19.218",
        "5.4.162",
        "5.4.0-1035-aws",
        "5.10.82",
        "5.14.21",
        "5.15.5",
    ],
)
@pytest.mark.parametrize("nodest", [0, 1])
def test_before_november_2021_mode_0_ignores_weight_0_whatever_expire_nodest_conn_is(
    release, nodest
):
    found = next(f for f in on_kernel(release, nodest=nodest).findings if "ignores" in f.message)

    assert (found.severity, found.subject) == (Severity.HIGH, "net.ipv4.vs.conn_reuse_mode")
    assert "198.18.0.12:80" in found.message
    assert [fix.id for fix in found.fixes] == ["reuse-by-weight", "newer-kernel"]
    assert "sysctl -w 'net.ipv4.vs.conn_reuse_mode=1'" in found.fixes[0].commands
    assert "expire_nodest_conn" not in str(found.fixes)


@pytest.mark.parametrize(
    ("release", "conntrack", "stopped"),
    [("5.4.10", 1, True), ("5.4.10", 0, False), ("5.4.59", 1, False), ("5.15.1", 1, False)],
)
def test_the_fix_stops_tracking_only_where_mode_1_would_delay(release, conntrack, stopped):
    (found,) = on_kernel(release, conntrack=conntrack).findings

    assert ("sysctl -w 'net.ipv4.vs.conntrack=0'" in found.fixes[0].commands) is stopped


@pytest.mark.parametrize(
    ("release", "settings", "version"),
    [
        ("5.16.0", {}, None),
        ("6.1.0-56-amd64", {}, None),
        ("4.14.257", {}, None),
        ("4.19.219", {}, None),
        ("5.4.163", {}, None),
        ("5.10.83", {}, None),
        ("5.15.6", {}, None),
        ("5.10.0-46-amd64", {}, "#1 SMP Debian 5.10.257-1 (2026-05-01)"),
        ("5.14.0-427.el9.x86_64", {"est_cpulist": ""}, None),
        ("5.4.0", {"mode": 1}, None),
    ],
)
def test_patched_kernels_and_mode_1_look_at_the_weight(release, settings, version):
    assert on_kernel(release, version=version, **settings).status is Status.PASSED


def test_one_sample_shows_that_clients_may_stay():
    (found,) = on_kernel("5.4.0-1035-aws", samples=1).findings

    assert found.severity is Severity.MEDIUM
