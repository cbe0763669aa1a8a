"""CPU times beside vmstat(8), and that our reading of vmstat's and mpstat's texts is right."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dirtune.analyse import cpu
from dirtune.bench import local
from dirtune.host import LiveHost

sys.path.insert(0, str(Path(__file__).parent))
from second_tools import mpstat, vmstat

SHARED = Path(__file__).parents[3] / "shared"
needs_shared = pytest.mark.skipif(
    not SHARED.exists(), reason="the shared recordings are not beside this checkout"
)


@pytest.mark.skipif(shutil.which("vmstat") is None, reason="vmstat (procps) is not installed")
def test_shares_agree_with_vmstat():
    theirs = subprocess.Popen(["vmstat", "3", "2"], stdout=subprocess.PIPE, text=True)
    first = local.sample(LiveHost(), time.monotonic())
    text, _ = theirs.communicate()
    shares = cpu.shares(first, local.sample(LiveHost(), time.monotonic()))

    row = vmstat(text)[-1]
    # vmstat rounds, and the two did not begin in the same millisecond.
    assert shares["user"] == pytest.approx(row["us"], abs=4)
    assert shares["system"] - shares["unaccounted"] == pytest.approx(row["sy"], abs=4)
    assert shares["idle"] + shares["iowait"] == pytest.approx(row["id"] + row["wa"], abs=4)
    assert shares["steal"] == pytest.approx(row["st"], abs=4)


# Read by eye: samples, and of the last one interrupts, switches, user, system, idle.
VMSTAT = {
    "el7-34k-interrupts": (3, 33185, 48424, 1, 1, 98),
    "jc-vmstat-1-long-ubuntu": (37, 98, 114, 0, 0, 100),
    "jc-vmstat-awt": (1, 29, 57, 0, 0, 99),
    "jc-vmstat-extra-wide": (1, 3, 5, 3, 1, 96),
    "jc-vmstat-w": (1, 29, 57, 0, 0, 99),
    "lkml-pm-idle-66irq": (5, 28, 14, 0, 0, 100),
    "lkp-timestamp-pst": (2, 753, 2187, 2, 1, 98),
}


@needs_shared
def test_recorded_vmstat():
    for path in sorted((SHARED / "fixtures/vmstat").glob("*.txt")):
        rows = vmstat(path.read_text())
        last = tuple(rows[-1][name] for name in ("in", "cs", "us", "sy", "id"))
        assert (len(rows), *last) == VMSTAT[path.stem], path.stem
    ours = vmstat((SHARED / "data/generators/vmstat.txt").read_text())
    assert [row["st"] for row in ours] == [11, 0, 1]


# Read by eye: intervals, CPUs of the last one with `all`, its softirq and idle over all CPUs.
MPSTAT = {
    "arm64-4cpu-average-soft": (1, 5, 9.73, 63.65),
    "el6-2cpu-no-gnice": (1, 3, 0.02, 98.90),
    "el7-2cpu-3samples": (2, 3, 0.0, 50.0),
    "jc-mpstat-A-2-5": (6, 2, 0.0, 99.60),
    "lkp-json-1": (3, 5, 0.0, 73.74),
    "lkp-json-4": (2, 1, 0.5, 69.0),
    "lkp-json-5": (0, 0, None, None),
    "locale-comma-2cpu": (1, 3, 0.03, 77.93),
}


@needs_shared
def test_recorded_mpstat():
    for path in sorted((SHARED / "fixtures/mpstat").glob("*.txt")):
        found = mpstat(path.read_text())
        cpus = list(found.values())[-1] if found else {}
        everything = cpus.get("all", {})
        seen = (len(found), len(cpus), everything.get("soft"), everything.get("idle"))
        assert seen == MPSTAT[path.stem], path.stem
        for states in cpus.values():
            assert sum(states.values()) == pytest.approx(100, abs=0.1), path.stem
