"""The rung of tracefs: tables of Linux 6.1, and an instance that never stays."""

import os
import shutil
import signal

import pytest

from dirtune.analyse.handlers import HandlerCount
from dirtune.errors import ApplyError, NotPossible, ParseError
from dirtune.host import WritableHost
from dirtune.probes.tracefs import Reading, counting, decode, parse_hist, remove_left_behind
from dirtune.signals import Ended, interruptible

ENTRIES = """\
# event histogram
#
# trigger info: hist:keys=irq,name:vals=hitcount:sort=hitcount:size=8192 [active]
#

{ irq:         38, name: ahci[0000:00:1f.2]                                 } hitcount:          2
{ irq:         29, name: virtio2-virtqueues                                 } hitcount:          4
{ irq:         25, name: virtio0-requests                                   } hitcount:        366

Totals:
    Hits: 372
    Entries: 3
    Dropped: 0
"""
EXITS = """\
# event histogram
#
# trigger info: hist:keys=irq,ret:vals=hitcount:sort=hitcount:size=8192 [active]
#

{ irq:         38, ret:          1 } hitcount:          2
{ irq:         25, ret:          0 } hitcount:          3
{ irq:         29, ret:          1 } hitcount:          4
{ irq:         25, ret:          1 } hitcount:        408

Totals:
    Hits: 417
    Entries: 4
    Dropped: 0
"""
EMPTY = ENTRIES[:96] + "\nTotals:\n    Hits: 0\n    Entries: 0\n    Dropped: 0\n"
INTERRUPTS = """\
           CPU0       CPU1
 25:          0      {0}   PCI-MSI 16385-edge      virtio0-requests
 29:          0         13   PCI-MSI 65537-edge      virtio2-virtqueues
NMI:          0          0   Non-maskable interrupts
"""
FOLDER = "/sys/kernel/tracing/instances"
SELF = f"{FOLDER}/dirtune-77-4242"
STAT = "77 (a) b c) S 1 77 77 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0 0"


def test_a_table_as_the_kernel_prints_it():
    entries, exits = parse_hist(ENTRIES), parse_hist(EXITS)

    assert entries.hits == {
        (38, "ahci[0000:00:1f.2]"): 2,
        (29, "virtio2-virtqueues"): 4,
        (25, "virtio0-requests"): 366,
    }
    assert exits.hits[25, "0"] == 3
    assert parse_hist(EMPTY).hits == {}
    assert parse_hist(ENTRIES.replace("Dropped: 0", "Dropped: 17")).dropped == 17


@pytest.mark.parametrize("name", ["PCIe PME, aerdrv", "a } b", "eth0-TxRx-0", "x: y"])
def test_a_name_is_kept_to_the_letter(name):
    row = f"{{ irq:         10, name: {name:<50} }} hitcount:          9\n"

    assert parse_hist(row).hits == {(10, name): 9}


def test_a_row_that_is_none_is_refused():
    with pytest.raises(ParseError, match="handler"):
        parse_hist("{ common_pid:         10 } hitcount:          2\n")


def reading(at, count, entries, exits=EXITS):
    return Reading(at, INTERRUPTS.format(count), entries, exits)


def test_a_window_is_the_difference_of_two_readings():
    more = ENTRIES.replace("366", "370").replace("Dropped: 0", "Dropped: 2")
    after = EXITS.replace(
        "ret:          0 } hitcount:          3", "ret:          0 } hitcount: 5"
    )
    after = after.replace("408", "410").replace("Dropped: 0", "Dropped: 1")

    found = decode(reading(10.0, 400, ENTRIES), reading(12.5, 404, more, after))

    assert (found.seconds, found.source) == (2.5, "tracefs")
    assert found.handlers == (HandlerCount(25, "virtio0-requests", 4),)
    assert found.line_counts == {"25": 4, "29": 0}
    assert found.none == {"25": 2}
    assert found.lost == 3


def test_what_began_within_the_window_counts_from_nothing():
    found = decode(reading(0.0, 0, EMPTY, EMPTY), reading(1.0, 366, ENTRIES))

    assert [(h.irq, h.calls) for h in found.handlers] == [(25, 366), (29, 4), (38, 2)]
    assert found.none == {"25": 3, "29": 0, "38": 0}


class Tracefs(WritableHost):
    """A tree whose instances have files of their own, as the kernel makes them."""

    def __init__(self, root, *, refuse=""):
        super().__init__(root)
        self.root = root
        self.at = root / FOLDER.lstrip("/")
        self.at.mkdir(parents=True)
        self.refuse = refuse
        (root / "proc/77").mkdir(parents=True)
        (root / "proc/self").symlink_to("77")
        (root / "proc/77/stat").write_text(STAT.format(start=4242))
        (root / "proc/interrupts").write_text(INTERRUPTS.format(5))

    def make_folder(self, path):
        super().make_folder(path)
        for event, text in (("entry", ENTRIES), ("exit", EXITS)):
            folder = self._at(path) / f"events/irq/irq_handler_{event}"
            folder.mkdir(parents=True)
            (folder / "hist").write_text(text)

    def write(self, path, value):
        if self.refuse and self.refuse in path:
            raise ApplyError(f"{path}: Invalid argument")
        super().write(path, value)

    def remove_folder(self, path):
        shutil.rmtree(self._at(path))

    @property
    def instances(self):
        return sorted(path.name for path in self.at.iterdir())


@pytest.fixture
def host(tmp_path):
    return Tracefs(tmp_path)


def test_it_counts_in_an_instance_of_its_own_and_leaves_none(host):
    with counting(host, FOLDER) as take:
        assert host.instances == ["dirtune-77-4242"]
        entry, exit_ = (
            host.read(f"{SELF}/events/irq/irq_handler_{event}/trigger")
            for event in ("entry", "exit")
        )
        assert (entry, exit_) == ("hist:keys=irq,name:size=8192", "hist:keys=irq,ret:size=8192")
        assert (take().entries, take().exits) == (ENTRIES, EXITS)

    assert host.instances == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_none_and_is_then_as_it_was(host, number):
    before = signal.getsignal(number)
    with pytest.raises(Ended), interruptible(), counting(host, FOLDER):
        os.kill(os.getpid(), number)

    assert host.instances == []
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("refuse", ["irq_handler_entry", "irq_handler_exit"])
def test_a_kernel_that_refuses_is_told_in_one_line(tmp_path, refuse):
    host = Tracefs(tmp_path, refuse=refuse)

    with pytest.raises(NotPossible) as caught, counting(host, FOLDER):
        pass

    said = str(caught.value)
    assert said.startswith("tracefs: the kernel refused a hist trigger: ")
    assert said.endswith("/trigger: Invalid argument")
    assert host.instances == []


def test_what_a_killed_run_left_is_removed_and_nothing_else(host):
    left = ("dirtune-78-1", "dirtune-79-1", "dirtune-77-4241")
    (host.root / "proc/79/stat").mkdir(parents=True)  # cannot be read: it is ending
    for name in (*left, "dirtune-77-4242", "dirtune-notes", "foreign"):
        (host.at / name).mkdir()

    remove_left_behind(host, FOLDER)

    assert host.instances == ["dirtune-77-4242", "dirtune-notes", "foreign"]


def test_the_next_run_removes_what_the_last_left(host):
    (host.at / "dirtune-78-1").mkdir()

    with counting(host, FOLDER):
        assert host.instances == ["dirtune-77-4242"]
