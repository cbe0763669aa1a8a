"""What the audit says of each placement of the devices, on a director booted for it."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.lab

DIRTUNE = (sys.executable, "-m", "dirtune")


def dirtune(*words, ok=(0,)):
    done = subprocess.run([*DIRTUNE, *words], capture_output=True, text=True, check=False)
    assert done.returncode in ok, done.stderr
    return done.stdout


@pytest.fixture
def audited(tmp_path, monkeypatch):
    """Boot a placement, audit its director, take it down."""
    monkeypatch.setenv("DIRTUNE_LAB", str(tmp_path / "lab"))
    monkeypatch.setenv("DIRTUNE_SSH_CONFIG", str(tmp_path / "lab/ssh_config"))

    def boot(*options):
        dirtune("lab", "up", "--real-servers", "1", "--clients", "1", *options)
        said = json.loads(dirtune("audit", "--host", "lb1", "--format", "json", ok=(0, 1)))
        return {outcome["check"]: outcome for outcome in said["outcomes"]}

    yield boot
    dirtune("lab", "down")


def test_one_io_apic_line_for_card_and_scsi_controller(audited):
    found = audited("--scenario", "shared")

    (shared,) = found["irq/shared-with-nic"]["findings"]
    assert sorted(shared["evidence"]["actions"]) == ["enp0s16", "sym53c8xx"]
    assert (shared["severity"], shared["cause"]) == ("medium", None)
    assert found["irq/xtpic-mode"]["status"] == "passed"


def test_the_rt_kernel_runs_the_handlers_of_the_line_in_threads(audited):
    found = audited("--scenario", "noapic", "--kernel", "rt")

    assert found["irq/xtpic-mode"]["status"] == "finding"
    (shared,) = found["irq/shared-with-nic"]["findings"]
    assert shared["cause"] == "irq/xtpic-mode"
    (threaded,) = found["irq/threaded-shared"]["findings"]
    assert threaded["evidence"]["irq"] == shared["evidence"]["irq"]
