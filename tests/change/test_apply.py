import errno
import os
import signal
from pathlib import Path

import pytest

from dirtune.change import nic
from dirtune.change.action import Saved
from dirtune.change.actions.bind import Bind
from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.run import Run
from dirtune.change.actions.set_affinity import SetAffinity
from dirtune.change.actions.set_nic import SetNic
from dirtune.change.actions.set_value import SetValue
from dirtune.change.actions.unbind import Unbind
from dirtune.change.apply import apply, roll_back
from dirtune.errors import ApplyError, DirtuneError, NotPossible, SourceMissing
from dirtune.signals import interruptible
from tests.change.machine import LINE, NIC, SCSI, SCSI2, SMBUS, Machine, picture

BACKLOG = "/proc/sys/net/core/netdev_max_backlog"
BUDGET = "/proc/sys/net/core/netdev_budget"
DROP_IN = "/etc/default/grub.d/90-dirtune.cfg"


@pytest.fixture
def host(machine):
    (machine.root / "proc/sys/net/core").mkdir(parents=True)
    (machine.root / BACKLOG[1:]).write_text("1000\n")
    (machine.root / BUDGET[1:]).write_text("0\n")
    (machine.root / DROP_IN[1:]).write_bytes(b"# caf\xe9\n")
    (machine.root / DROP_IN[1:]).chmod(0o640)
    return machine


def plan():
    return (
        Run(undo_argv=("update-grub",)),
        PutFile(DROP_IN, "# caf\\xe9\n", "new\n", 0o644),
        PutFile("/etc/grub.d/42_x", None, "#!/bin/sh\n", 0o755),
        Run(argv=("update-grub",)),
        SetValue(BUDGET, "0", "300"),
        Unbind(SCSI2, "sym53c8xx", "10", "sym53c8xx"),
        Unbind(SCSI, "sym53c8xx", "10", "sym53c8xx"),
        Unbind(SMBUS, "i801_smbus", "10", "i801_smbus"),
    )


class Journal:
    """Remembers what it was told; `on_begun` looks on."""

    def __init__(self, on_begun=lambda index, saved: None):
        self.on_begun = on_begun
        self.said = []

    def begun(self, index, saved):
        self.said.append((index, saved))
        self.on_begun(index, saved)

    def applied(self):
        self.said.append("applied")

    def undone(self, stuck, left=None):
        self.said.append(("undone", stuck))

    def done(self, actions):
        return [(actions[entry[0]], entry[1]) for entry in self.said if entry != "applied"]


def quiet():
    return Journal()


def test_everything_takes_and_is_journalled_before_it_is_made(host):
    seen = []

    look = Journal(lambda i, saved: seen.append((i, host.handlers(), saved.handlers)))
    apply(plan(), host, look)

    assert host.handlers() == ["enp0s16"]
    assert (host.root / DROP_IN[1:]).read_text() == "new\n"
    assert (host.root / "etc/grub.d/42_x").stat().st_mode & 0o777 == 0o755
    assert host.ran == [("update-grub",)]
    assert seen[5] == (5, list(LINE.values()), 2)
    assert look.said[-1] == "applied"
    assert seen[7] == (7, ["i801_smbus", "enp0s16"], 1)


def test_rolling_back_restores_every_byte_and_can_be_repeated(host):
    before = picture(host.root)
    kept = Journal()
    apply(plan(), host, kept)

    for _ in range(2):
        assert roll_back(kept.done(plan()), host) == ()
        after = picture(host.root)
        row = str(host.root / "proc/interrupts")
        # The kernel appends a handler to its line; the partners keep their order.
        assert after.pop(row)[0].endswith(b"enp0s16, i801_smbus, sym53c8xx, sym53c8xx\n")
        assert after == {path: what for path, what in before.items() if path != row}
    # Made once, and the files were back before the command ran again.
    assert host.ran == [("update-grub",)] * 3


@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize("moment", ["journal", "write"])
def test_an_interruption_anywhere_undoes_everything(host, at, moment):
    before = picture(host.root)
    calls = []

    def journal(index, saved):
        calls.append(index)
        if (moment, index) == ("journal", at):
            raise KeyboardInterrupt
        if (moment, index) == ("write", at):
            host.interrupt = True

    with pytest.raises(KeyboardInterrupt):
        apply(plan(), Interrupted(host), Journal(journal))

    after = picture(host.root)
    row = str(host.root / "proc/interrupts")
    actions = sorted(after.pop(row)[0].split(b"XT-PIC")[1].replace(b",", b"").split())
    assert actions == sorted(name.encode() for name in LINE.values())
    before.pop(row)
    assert after == before


class Interrupted(Machine):
    """Ctrl-C arrives after the next change was made."""

    def __init__(self, machine):
        super().__init__(machine.root)
        self.signal = machine
        machine.interrupt = False

    def write(self, path, value):
        super().write(path, value)
        self._arrive()

    def replace(self, path, contents):
        super().replace(path, contents)
        self._arrive()

    def run(self, argv, *, timeout_s=300):
        super().run(argv)
        self._arrive()
        return ""

    def contents(self, path):
        # A command that only undoes makes nothing: the signal then comes with the next step.
        self._arrive()
        return super().contents(path)

    def _arrive(self):
        if self.signal.interrupt:
            self.signal.interrupt = False
            raise KeyboardInterrupt


def test_drift_since_the_plan_is_refused_and_undone(host):
    steps = (SetValue(BACKLOG, "1000", "2000"), SetValue(BUDGET, "999", "600"))

    with pytest.raises(ApplyError, match=r"netdev_budget .*'0'.*'999'"):
        apply(steps, host, quiet())

    assert (host.root / BACKLOG[1:]).read_text() == "1000\n"


def test_a_file_that_appeared_since_the_plan_is_left_alone(host):
    with pytest.raises(ApplyError, match=r"90-dirtune\.cfg is .*expected none"):
        apply((PutFile(DROP_IN, None, "mine\n"),), host, quiet())

    assert (host.root / DROP_IN[1:]).read_bytes() == b"# caf\xe9\n"


def test_a_setting_that_vanished_restores_the_ones_before_it(host):
    with pytest.raises(SourceMissing, match="gone"):
        apply((SetValue(BACKLOG, "1000", "2000"), SetValue("/proc/gone", "1", "2")), host, quiet())

    assert (host.root / BACKLOG[1:]).read_text() == "1000\n"


class Clamping(Machine):
    def write(self, path, value):
        super().write(path, "1500" if value == "2000" else value)


def test_a_value_the_kernel_did_not_take_is_undone(host):
    with pytest.raises(ApplyError, match="is '1500', expected '2000'"):
        apply((SetValue(BACKLOG, "1000", "2000"),), Clamping(host.root), quiet())

    assert (host.root / BACKLOG[1:]).read_text() == "1000\n"


class Sticky(Machine):
    """Unbinds, but the handler stays on the line."""

    def write(self, path, value):
        row = (self.root / "proc/interrupts").read_text()
        super().write(path, value)
        (self.root / "proc/interrupts").write_text(row)


def test_an_unbinding_without_effect_on_the_line_is_a_failure(host):
    with pytest.raises(ApplyError, match="irq 10 still has 2 handlers named sym53c8xx"):
        apply((Unbind(SCSI, "sym53c8xx", "10", "sym53c8xx"),), Sticky(host.root), quiet())


class Stuck(Machine):
    def write(self, path, value):
        if path.endswith("i801_smbus/bind"):
            raise ApplyError(f"{path}: No such device")
        super().write(path, value)


def test_what_cannot_be_undone_is_named_and_the_rest_is_undone(host):
    steps = (
        SetValue(BACKLOG, "1000", "2000"),
        Unbind(SMBUS, "i801_smbus"),
        SetValue(BUDGET, "1", "2"),
    )

    with pytest.raises(ApplyError, match=r"expected '1'; could not undo: .*i801_smbus/bind"):
        apply(steps, Stuck(host.root), quiet())

    assert (host.root / BACKLOG[1:]).read_text() == "1000\n"


class Faulty(Machine):
    def run(self, argv, *, timeout_s=300):
        raise ValueError("nobody expected this")


def test_a_fault_in_one_undo_is_named_and_the_rest_is_undone(host):
    before = picture(host.root)
    kept = Journal()
    apply(plan(), host, kept)

    (stuck,) = roll_back(kept.done(plan()), Faulty(host.root))

    assert stuck.startswith("internal error: ValueError: nobody expected this")
    row = str(host.root / "proc/interrupts")
    after = picture(host.root)
    assert {**after, row: None} == {**before, row: None}


def test_undoing_what_was_never_made_changes_nothing(host):
    before = picture(host.root)
    done = [
        (Unbind(SCSI, "sym53c8xx"), Saved()),
        (SetValue(BUDGET, "0", "300"), Saved(text="0\n")),
        (PutFile("/etc/grub.d/42_x", None, "x"), Saved()),
        (Bind(NIC, "other"), Saved()),
    ][:3]

    assert roll_back(done, host) == ()
    assert picture(host.root) == before


def test_a_folder_is_made_for_a_file_and_goes_with_it(host):
    action, folder = (
        PutFile("/etc/dirtune/boot.sh", None, "#!/bin/sh\n"),
        host.root / "etc/dirtune",
    )
    journal = Journal()

    apply([action], host, journal)
    assert (folder / "boot.sh").read_text() == "#!/bin/sh\n"
    assert roll_back(journal.done([action]), host) == ()
    assert not folder.exists()
    assert roll_back(journal.done([action]), host) == (), "and again"

    apply([action], host, journal)
    (folder / "dirtune.toml").write_text("")
    roll_back(journal.done([action])[-1:], host)
    assert [path.name for path in folder.iterdir()] == ["dirtune.toml"], "not ours to remove"
    folder.joinpath("dirtune.toml").unlink()
    apply([action], host, again := Journal())
    roll_back(again.done([action]), host)
    assert folder.is_dir(), "it was there before"


def test_a_half_written_replacement_leaves_no_trace(host):
    before = picture(host.root)
    (host.root / "etc/grub.d/.42_x.dirtune-new").write_text("#!/b")

    assert roll_back([(PutFile("/etc/grub.d/42_x", None, "x"), Saved())], host) == ()
    assert picture(host.root) == before


def test_a_driver_that_is_not_loaded_any_more_says_so(host):
    host.write("/sys/bus/pci/drivers/i801_smbus/unbind", SMBUS)
    (host.root / "sys/bus/pci/drivers/i801_smbus").rmdir()

    (stuck,) = roll_back([(Unbind(SMBUS, "i801_smbus"), Saved())], host)

    assert "i801_smbus, which is not loaded" in stuck


def test_binding_is_undone_by_unbinding(host):
    host.write("/sys/bus/pci/drivers/i801_smbus/unbind", SMBUS)
    kept, steps = Journal(), (Bind(SMBUS, "i801_smbus"),)

    apply(steps, host, kept)
    assert "i801_smbus" in host.handlers()

    assert roll_back(kept.done(steps), host) == ()
    assert "i801_smbus" not in host.handlers()


class Full(Journal):
    def applied(self):
        raise NotPossible("No space left on device")


def test_what_cannot_be_written_down_is_undone(host):
    full = Full()

    with pytest.raises(NotPossible, match="No space left"):
        apply((SetValue(BACKLOG, "1000", "2000"),), host, full)

    assert (host.root / BACKLOG[1:]).read_text() == "1000\n"
    assert full.said[-1] == ("undone", ())


class TwiceInterrupted(Machine):
    """Ctrl-C comes while the value is written, and again while it is put back."""

    def write(self, path, value):
        super().write(path, value)
        raise KeyboardInterrupt


def test_an_interrupted_undo_is_not_written_down_as_done(host):
    kept = Journal()

    with pytest.raises(KeyboardInterrupt):
        apply((SetValue(BACKLOG, "1000", "2000"),), TwiceInterrupted(host.root), kept)

    assert kept.said == [(0, Saved(text="1000\n"))]


# --- affinities and cards ---

IRQ = "/proc/irq/30"
MOVE = SetAffinity("30", "0-1", "1", "eth0-rx-0")
RING = SetNic("eth0", "rings", {"rx": 256}, {"rx": 512})


@pytest.fixture
def irq(machine):
    """An interrupt; how it goes is a file that a test writes."""
    folder = machine.root / IRQ[1:]
    (folder / "eth0-rx-0").mkdir(parents=True)
    (folder / "smp_affinity_list").write_text("0-1\n")
    return machine


def read(host, name):
    return (host.root / f"{IRQ[1:]}/{name}").read_text()


@pytest.mark.parametrize("effective", ["1\n", "\n", None])
def test_an_interrupt_that_goes_where_it_may_or_nowhere_is_moved(irq, effective):
    if effective is not None:
        (irq.root / f"{IRQ[1:]}/effective_affinity_list").write_text(effective)

    apply((MOVE,), irq, quiet())

    assert read(irq, "smp_affinity_list") == "1"
    assert MOVE.holds(irq)


@pytest.mark.parametrize("number", [errno.EIO, errno.EPERM])
def test_a_kernel_that_manages_an_interrupt_refuses_to_move_it(irq, monkeypatch, number):
    """The answer was EIO until 2024; since Linux 6.12 the file's mode shows it beforehand."""
    path = type(Path())
    opened = path.open

    def refusing(self, mode="r", **more):
        if mode == "w" and self.name == "smp_affinity_list":
            raise OSError(number, os.strerror(number))
        return opened(self, mode, **more)

    monkeypatch.setattr(path, "open", refusing)
    with pytest.raises(
        ApplyError, match=r"irq 30 .* the kernel manages its CPUs .* queues instead"
    ):
        apply((MOVE,), irq, quiet())
    assert read(irq, "smp_affinity_list") == "0-1\n"


def test_an_interrupt_that_goes_elsewhere_in_spite_of_its_mask_was_not_moved(irq):
    (irq.root / f"{IRQ[1:]}/effective_affinity_list").write_text("0\n")

    with pytest.raises(ApplyError, match="irq 30 still goes to CPU 0"):
        apply((MOVE,), irq, quiet())

    assert read(irq, "smp_affinity_list") == "0-1\n"
    irq.write(MOVE.path, "1")
    assert not MOVE.holds(irq)


def test_a_number_that_is_another_interrupts_now_is_left_alone(irq):
    (irq.root / f"{IRQ[1:]}/eth0-rx-0").rename(irq.root / f"{IRQ[1:]}/nvme0q1")
    irq.write(MOVE.path, "0")

    assert roll_back([(MOVE, Saved(text="0-1\n"))], irq) == ()
    assert read(irq, "smp_affinity_list") == "0"


@pytest.mark.parametrize("printed", ["a/b", "a\x1cb", "renamed"])
def test_an_interrupt_whose_handler_has_no_folder_of_its_name_is_moved_back(irq, printed):
    """As the kernel makes none for a slash, or had made it before an interface was renamed."""
    table = f"           CPU0\n 30:          1  PCI-MSI 1-edge      other, {printed}\n"
    (irq.root / "proc/interrupts").write_text(table)
    move = SetAffinity("30", "0-1", "1", printed.replace("\x1c", "\\x1c"))  # as it is recorded

    apply((move,), irq, kept := Journal())
    assert read(irq, "smp_affinity_list") == "1"

    ((_, saved),) = kept.said[:1]
    assert roll_back([(move, saved)], irq) == ()
    assert read(irq, "smp_affinity_list") == "0-1\n"


def test_an_interrupt_that_would_not_be_found_again_is_not_moved(irq):
    (irq.root / f"{IRQ[1:]}/eth0-rx-0").rmdir()

    with pytest.raises(ApplyError, match="irq/30/smp_affinity_list may belong to another"):
        apply((MOVE,), irq, quiet())

    assert read(irq, "smp_affinity_list") == "0-1\n"


def test_a_setting_that_went_with_its_module_is_nothing_to_undo(host):
    done = [(SetValue("/proc/sys/net/ipv4/vs/gone", "0", "1"), Saved(text="0\n"))]

    assert roll_back([*done, (RING, Saved(values={"rx": 256}))], host) == ()


@pytest.fixture
def rings(machine, monkeypatch):
    """A card's rings; its driver takes at most 400 descriptors where it is told so."""
    (machine.root / "sys/class/net/eth0").mkdir()
    found = {"rx": 256, "rx_max": 4096, "limit": 4096}

    def write(host, interface, group, values):
        found.update({name: min(value, found["limit"]) for name, value in values.items()})

    monkeypatch.setattr(nic, "read", lambda host, interface, group: dict(found))
    monkeypatch.setattr(nic, "write", write)
    monkeypatch.setattr(nic, "rss_table", lambda host, interface: None)
    return found


def test_a_card_is_set_and_put_back(machine, rings):
    kept = Journal()

    apply((RING,), machine, kept)
    assert (rings["rx"], RING.holds(machine)) == (512, True)

    assert roll_back(kept.done((RING,)), machine) == ()
    assert (rings["rx"], RING.holds(machine)) == (256, False)


def test_a_value_that_a_driver_did_not_take_is_undone(machine, rings):
    rings["limit"] = 400

    with pytest.raises(ApplyError, match=r"eth0 rx .*'400'.*'512'"):
        apply((RING,), machine, quiet())

    assert rings["rx"] == 256


def test_a_card_that_was_set_since_the_plan_is_left_alone(machine, rings):
    rings["rx"] = 300

    with pytest.raises(ApplyError, match=r"eth0 rx .*'300'.*'256'"):
        apply((RING,), machine, quiet())

    assert rings["rx"] == 300


class Hanging(Machine):
    """The connection is lost while a value is put back."""

    def write(self, path, value):
        if value == "1000\n":
            os.kill(os.getpid(), signal.SIGHUP)
        super().write(path, value)


def test_a_connection_that_is_lost_while_undoing_does_not_end_it(host):
    steps = (SetValue(BACKLOG, "1000", "2000"), SetValue(BUDGET, "999", "600"))
    kept = Journal()

    with interruptible(), pytest.raises(ApplyError, match="expected '999'"):
        apply(steps, Hanging(host.root), kept)

    assert (host.root / BACKLOG[1:]).read_text() == "1000\n"
    assert kept.said[-1] == ("undone", ())


class FullFromNowOn(Full):
    def undone(self, stuck, left=None):
        super().undone(stuck, left)
        raise NotPossible("a full disk keeps nothing")


@pytest.mark.parametrize(
    ("broken", "said"),
    [(False, "^No space left on device$"), (True, "^No space left on device; could not undo: x")],
)
def test_why_it_failed_is_said_where_the_undo_cannot_be_written_down(
    host, monkeypatch, broken, said
):
    def refuse(*_):
        raise ApplyError("x")

    if broken:
        monkeypatch.setattr(SetValue, "undo", refuse)

    with pytest.raises(DirtuneError, match=said):
        apply((SetValue(BACKLOG, "1000", "2000"),), host, FullFromNowOn())
