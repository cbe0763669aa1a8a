"""What the audit says of each placement of the devices, on a director booted for it."""

import json

import pytest
from benches import RT, SHARED, dirtune, in_lab

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("booted")]


def audited():
    said = json.loads(dirtune("audit", "--host", "lb1", "--format", "json", ok=(0, 1)))
    return {outcome["check"]: outcome for outcome in said["outcomes"]}


@in_lab(SHARED)
def test_one_io_apic_line_for_card_and_scsi_controller():
    found = audited()

    (shared,) = found["irq/shared-with-nic"]["findings"]
    assert sorted(shared["evidence"]["actions"]) == ["enp0s16", "sym53c8xx"]
    assert (shared["severity"], shared["cause"]) == ("medium", None)
    assert found["irq/xtpic-mode"]["status"] == "passed"


@in_lab(RT)
def test_the_rt_kernel_runs_the_handlers_of_the_line_in_threads():
    found = audited()

    assert found["irq/xtpic-mode"]["status"] == "finding"
    (shared,) = found["irq/shared-with-nic"]["findings"]
    assert shared["cause"] == "irq/xtpic-mode"
    (threaded,) = found["irq/threaded-shared"]["findings"]
    assert threaded["evidence"]["irq"] == shared["evidence"]["irq"]
