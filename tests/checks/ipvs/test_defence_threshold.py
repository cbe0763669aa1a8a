import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.defence_threshold import defence_threshold
from dirtune.collect.cpuinfo import CpuInfo
from tests.checks.machines import director, service

MIB = 1 << 20
X86 = CpuInfo(None, frozenset({"apic"}))
MEMORY = {"MemFree": 900 * MIB, "Buffers": 100 * MIB, "MemAvailable": 8000 * MIB}


def outcome(pages, *, mode=1, reserve_kb=67584, memory=MEMORY, cpuinfo=X86):
    sysctls = {"drop_entry": mode, "drop_packet": 0, "secure_tcp": 0, "amemthresh": pages}
    sysctls["vm/min_free_kbytes"] = reserve_kb
    known = {name: value for name, value in sysctls.items() if value is not None}
    taken = director(service(1), sysctls=known, meminfo=memory, cpuinfo=cpuinfo)
    return run((defence_threshold,), taken)[0]


@pytest.mark.parametrize("pages", [1024, 256])
def test_a_threshold_below_what_the_kernel_keeps(pages):
    (found,) = outcome(pages).findings

    assert (found.subject, found.severity) == ("net.ipv4.vs.amemthresh", Severity.MEDIUM)
    assert found.evidence["amemthresh_pages"] == pages
    assert found.evidence["min_free_kbytes"] == 67_584
    # 67,584 KiB are 16,896 pages.
    assert found.fixes[0].commands[0] == "sysctl -w 'net.ipv4.vs.amemthresh=42240'"


def test_a_threshold_that_free_memory_is_near():
    # 204,800 pages are 800 MiB, 80 % of what is free.
    (found,) = outcome(204_800).findings

    assert found.evidence["amemthresh_pages"] == 204_800
    assert "800 MiB" in found.message
    assert "1000 MiB" in found.message


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: outcome(204_799),
        lambda: outcome(1025),
        lambda: outcome(1024, reserve_kb=4095),
        lambda: outcome(1024, mode=0),
        lambda: outcome(1024, mode=3),
    ],
)
def test_a_threshold_that_fits_or_is_not_used(quiet):
    assert quiet().status is Status.PASSED


@pytest.mark.parametrize(
    "unknown",
    [
        lambda: outcome(None),
        lambda: outcome(204_800, memory=None),
        lambda: outcome(204_800, cpuinfo=CpuInfo(None, None)),
        lambda: outcome(1024, mode=None),
    ],
)
def test_what_is_not_known_leaves_it_open(unknown):
    assert unknown().status is Status.INCONCLUSIVE


def test_pages_of_another_size_get_no_number():
    assert outcome(1024, cpuinfo=CpuInfo(None, None)).findings[0].fixes == ()
