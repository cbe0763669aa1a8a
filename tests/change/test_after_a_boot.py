"""What was kept over a boot is undone after it, although the boot has made it in another way."""

import pytest

from dirtune.change.action import Saved
from dirtune.change.actions.bind import Bind
from dirtune.change.actions.set_affinity import SetAffinity
from dirtune.change.actions.unbind import Unbind
from dirtune.change.in_effect import verify
from dirtune.change.plan import Change, Plan
from dirtune.change.transaction import Place, carry_out, take_back
from dirtune.errors import ApplyError, NotPossible
from dirtune.settings import Risk
from tests.change.machine import SCSI, Machine, build, picture

UNSET = "(null)\n"
OVERRIDE = f"/sys/bus/pci/devices/{SCSI}/driver_override"
UNBIND, BIND = Unbind(SCSI, "sym53c8xx"), Bind(SCSI, "vfio-pci")
MOVE = SetAffinity("30", "0-1", "1", "eth0-rx-0")


class Kernel(Machine):
    """A device has a driver whose name its override is, or any if that is not set."""

    def write(self, path, value):
        driver, _, verb = path.removeprefix("/sys/bus/pci/drivers/").partition("/")
        if verb == "bind" and self.read(OVERRIDE) not in {UNSET, f"{driver}\n"}:
            raise ApplyError(f"{path}: No such device")
        if path == OVERRIDE:  # as driver_set_override() does
            value = UNSET if value == "\n" else f"{value.strip()}\n"
        super().write(path, value)


@pytest.fixture
def host(tmp_path):
    build(tmp_path)
    (tmp_path / "sys/bus/pci/drivers/vfio-pci").mkdir()
    (tmp_path / OVERRIDE[1:]).write_text(UNSET)
    return Kernel(tmp_path)


def make(action, host):
    saved = action.save(host)
    action.make(host)
    action.require_made(saved, host)
    return saved


@pytest.mark.parametrize("before", [UNSET, "sym53c8xx\n"])
def test_a_device_that_a_boot_kept_without_a_driver_gets_it_back(host, before):
    host.write(OVERRIDE, before)
    saved = make(UNBIND, host)
    host.write(OVERRIDE, "none")  # by the row of udev, when the machine started

    UNBIND.undo(saved, host)
    UNBIND.undo(saved, host)

    assert host.link(f"/sys/bus/pci/devices/{SCSI}/driver").endswith("/sym53c8xx")
    assert host.read(OVERRIDE) == before


def test_a_journal_of_before_says_nothing_of_an_override(host):
    make(UNBIND, host)
    host.write(OVERRIDE, "none")

    UNBIND.undo(Saved(), host)

    assert host.read(OVERRIDE) == UNSET


def test_a_driver_that_a_boot_gave_a_device_is_taken_from_it_and_the_one_before_is_back(host):
    saved = [make(UNBIND, host), make(BIND, host)]
    host.write(OVERRIDE, "vfio-pci")

    BIND.undo(saved[1], host)
    UNBIND.undo(saved[0], host)

    assert host.link(f"/sys/bus/pci/devices/{SCSI}/driver").endswith("/sym53c8xx")
    assert host.read(OVERRIDE) == UNSET


def test_an_override_of_somebody_else_is_left_alone(host):
    saved = make(UNBIND, host)
    host.write(OVERRIDE, "vfio-pci")

    with pytest.raises(ApplyError, match="No such device"):
        UNBIND.undo(saved, host)

    assert host.read(OVERRIDE) == "vfio-pci\n"


@pytest.mark.parametrize("action", [UNBIND, BIND])
def test_a_device_that_was_pulled_out_leaves_nothing_to_undo(host, action):
    saved = Saved(text=UNSET)
    folder = host.root / OVERRIDE[1:]
    folder.parent.rename(host.root / "pulled-out")
    before = picture(host.root)

    action.undo(saved, host)

    assert picture(host.root) == before


def interrupt(host, number, name, cpus):
    folder = host.root / f"proc/irq/{number}"
    (folder / name).mkdir(parents=True)
    (folder / "smp_affinity_list").write_text(f"{cpus}\n")
    return folder / "smp_affinity_list"


@pytest.mark.parametrize(("cpus", "after"), [("1", "0-1\n"), ("0", "0\n")])
def test_an_interrupt_with_another_number_is_moved_back_where_the_boot_has_moved_it(
    host, cpus, after
):
    other, same = interrupt(host, 30, "nvme0q1", "1"), interrupt(host, 41, "eth0-rx-0", cpus)
    (host.root / "proc/irq/default_smp_affinity").write_text("3\n")

    MOVE.undo(Saved(text="0-1\n"), host)

    assert (other.read_text(), same.read_text()) == ("1\n", after)


def test_the_order_and_what_holds_follow_an_interrupt_to_its_new_number(host, tmp_path):
    boot = host.root / "proc/sys/kernel/random/boot_id"
    boot.parent.mkdir(parents=True)
    boot.write_text("first\n")
    interrupt(host, 30, "eth0-rx-0", "0-1")
    at = Place(tmp_path / "state", tmp_path / "run")
    earlier = carry_out(plan(MOVE), host, at)
    (host.root / "proc/irq/30").rename(host.root / "proc/irq/41")
    other = interrupt(host, 30, "nvme0q1", "0")
    boot.write_text("second\n")
    assert [held.holds for held in verify(at, host)] == [True]

    later = carry_out(plan(SetAffinity("41", "1", "0", "eth0-rx-0")), host, at)

    assert [(held.journal, held.holds) for held in verify(at, host)] == [(later, True)]
    with pytest.raises(NotPossible, match=f"^{earlier} cannot be rolled back yet, .* {later} "):
        take_back(at, host, earlier)
    take_back(at, host, later)
    take_back(at, host, earlier)
    assert (host.root / "proc/irq/41/smp_affinity_list").read_text() == "0-1\n"
    assert other.read_text() == "0\n"


def plan(action):
    return Plan((Change(action, Risk.SAFE, "irq/x", "move", "move it"),))
