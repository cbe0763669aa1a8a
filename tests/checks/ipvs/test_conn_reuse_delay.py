import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.conn_reuse_delay import conn_reuse_delay
from dirtune.collect.ip_vs import Stats
from dirtune.collect.kernel import Kernel
from tests.checks.machines import director, service

BOTH = {"conn_reuse_mode": 1, "conntrack": 1}


def outcome(release="5.4.0", *, rate=300, sysctls=None, samples=2):
    taken = director(
        service(1, forward="Masq"),
        sysctls=BOTH | (sysctls or {}),
        kernel=Kernel("lb1", release, None),
        ip_vs_stats=Stats(50_000 + 10 * rate, 0, 0, 0, 0),
        earlier={"ip_vs_stats": Stats(50_000, 0, 0, 0, 0)} if samples == 2 else None,
    )
    return run((conn_reuse_delay,), taken)[0]


@pytest.mark.parametrize(
    ("release", "severity"),
    [
        # The last kernels without commit f0a5e4d7a594; 4.9 never had it.
        ("4.9.337", Severity.HIGH),
        ("4.14.193", Severity.HIGH),
        ("4.19.139", Severity.HIGH),
        ("5.4.58", Severity.HIGH),
        ("5.6.19", Severity.HIGH),
        ("5.7.15", Severity.HIGH),
        ("5.8.1", Severity.HIGH),
        ("4.18.0-553.el8_10.x86_64", Severity.MEDIUM),
        ("5.4.0-150-generic", Severity.MEDIUM),
    ],
)
def test_an_old_kernel_that_tracks_and_reuses(release, severity):
    (found,) = outcome(release).findings

    assert found.severity is severity
    assert found.evidence["osrelease"] == release
    assert found.evidence["new_connections_per_second"] == 300
    assert found.evidence["forwarding"] == ["Masq"]
    assert found.fixes[0].commands[0] == "sysctl -w 'net.ipv4.vs.conntrack=0'"
    # conn_reuse_mode=0 would be the fault of ipvs/stale-conn-policy.
    assert [fix.id for fix in found.fixes] == ["stop-ipvs-conntrack", "newer-kernel"]


@pytest.mark.parametrize(
    "changed",
    [
        {"release": "4.14.194"},
        {"release": "4.19.140"},
        {"release": "5.4.59"},
        {"release": "5.7.16"},
        {"release": "5.8.2"},
        {"release": "5.9.0"},
        {"release": "5.10.0-35-amd64"},
        {"release": "6.1.0-56-amd64"},
        {"sysctls": {"conn_reuse_old_conntrack": 1}},
        {"release": "4.18.0-1.vendor", "sysctls": {"est_cpulist": ""}},
        {"rate": 299},
        {"sysctls": {"conntrack": 0}},
        {"sysctls": {"conn_reuse_mode": 0}},
    ],
)
def test_cured_slow_or_untracked_is_quiet(changed):
    assert outcome(**changed).status is Status.PASSED


def test_a_rate_takes_two_samples():
    assert outcome(samples=1).status is Status.INCONCLUSIVE


def test_a_release_that_is_none_leaves_it_open():
    assert outcome("custom").status is Status.INCONCLUSIVE


def test_a_kernel_without_the_settings():
    missing = run(
        (conn_reuse_delay,),
        director(service(1), sysctls={"conntrack": 1}, kernel=Kernel(None, "3.10.0", None)),
    )[0]

    assert missing.status is Status.NOT_APPLICABLE
