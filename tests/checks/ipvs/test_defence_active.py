import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.defence_active import defence_active
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.ip_vs import Service
from dirtune.snapshot import Snapshot
from tests.checks.machines import director, service

OFF = {"drop_packet": 0, "drop_entry": 0, "secure_tcp": 0, "amemthresh": 1_000_000}
MIB = 1 << 20


def outcome(**fields):
    sysctls = OFF | fields.pop("sysctls", {})
    kept = {name: value for name, value in sysctls.items() if value is not None}
    return run((defence_active,), director(service(1), sysctls=kept, **fields))[0]


@pytest.mark.parametrize(
    ("name", "mode", "severity", "words"),
    [
        ("drop_packet", 2, Severity.CRITICAL, "drops 1 of N new connections"),
        ("drop_packet", 3, Severity.CRITICAL, "drops 1 of 10 new connections"),
        ("drop_entry", 2, Severity.HIGH, "deletes half-open"),
        ("secure_tcp", 3, Severity.HIGH, "uses the stricter table"),
    ],
)
def test_a_defence_at_work(name, mode, severity, words):
    (found,) = outcome(sysctls={name: mode, "am_droprate": 10}).findings

    assert (found.subject, found.severity) == (f"net.ipv4.vs.{name}", severity)
    assert found.evidence[name] == mode
    assert words in found.message
    assert found.fixes[0].commands == (
        f"sysctl -w 'net.ipv4.vs.{name}=0'",
        f"echo 'net.ipv4.vs.{name}=0' >> /etc/sysctl.d/90-dirtune.conf",
    )
    assert len(found.fixes) == (2 if mode == 2 else 1)


def test_the_memory_that_triggered_it():
    memory = {"MemFree": 800 * MIB, "Buffers": 34 * MIB, "MemAvailable": 900 * MIB}
    x86 = CpuInfo(None, frozenset({"apic"}))
    (found,) = outcome(sysctls={"drop_entry": 2}, meminfo=memory, cpuinfo=x86).findings

    assert found.evidence["free_and_buffers_bytes"] == 834 * MIB
    assert found.evidence["amemthresh_bytes"] == 1_000_000 * 4096
    assert found.evidence["available_bytes"] == 900 * MIB


@pytest.mark.parametrize("mode", [0, 1])
def test_off_and_armed_are_quiet(mode):
    modes = {"drop_packet": mode, "drop_entry": mode, "secure_tcp": mode}

    assert outcome(sysctls=modes).status is Status.PASSED


def test_a_mode_that_is_not_known_leaves_it_open():
    assert outcome(sysctls={"drop_packet": None}).status is Status.INCONCLUSIVE


def test_it_needs_settings_and_a_director():
    fwm = Service("FWM", None, None, 7, "sh")

    assert run((defence_active,), Snapshot(services=(fwm,)))[0].status is Status.SKIPPED
    assert run((defence_active,), director(sysctls=OFF))[0].status is Status.NOT_APPLICABLE
