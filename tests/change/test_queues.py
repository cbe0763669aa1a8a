"""A change of a NIC comes back whole: with the masks, affinities and RSS table that it lost."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from dirtune.change import nic
from dirtune.change.action import Saved
from dirtune.change.actions.set_affinity import SetAffinity
from dirtune.change.actions.set_nic import SetNic
from dirtune.change.actions.set_value import SetValue
from dirtune.change.in_effect import verify
from dirtune.change.plan import Change, Plan
from dirtune.change.transaction import Place, carry_out, take_back
from dirtune.errors import ApplyError, NotPossible
from dirtune.host import WritableHost
from dirtune.settings import Risk

REPOSITORY = Path(__file__).parents[2]
PCI = "/sys/devices/pci0000:00/0000:00:10.0"
SHRINK = SetNic("d0", "channels", {"combined_count": 4}, {"combined_count": 2})
GROW = SetNic("d0", "channels", {"combined_count": 4}, {"combined_count": 6})
RINGS = SetNic("d0", "rings", {"rx": 256}, {"rx": 512})
LRO = SetNic("d0", "features", {"rx-lro": 1}, {"rx-lro": 0})
COALESCE = SetNic("d0", "coalesce", {"rx_coalesce_usecs": 3}, {"rx_coalesce_usecs": 20})
DEFAULTS = {"rx": {"rps_cpus": "0", "rps_flow_cnt": "0"}, "tx": {"xps_cpus": "0", "xps_rxqs": "0"}}


class Nic(WritableHost):
    """A NIC whose driver makes queues and interrupts again, all with their defaults."""

    def __init__(self, root, device=PCI):
        super().__init__(root)
        self.root, self.name, self.device = root, "d0", device
        self.values = {"combined_count": 4, "rx": 256, "rx-lro": 1, "rx_coalesce_usecs": 3}
        self.rss, self.written, self.first = (), [], 30
        self.chosen = False
        """Whether somebody set the RSS table."""
        self.put("/proc/sys/kernel/random/boot_id", "first")
        self.put("/proc/self/stat", "")
        self.put("/sys/class/net/d0/ifindex", "2")
        (self.root / self.device[1:] / "net/d0").mkdir(parents=True)
        (self.root / "sys/class/net/d0/device").symlink_to(f"../../../..{self.device}")
        self.put("/proc/irq/9/smp_affinity_list", "0-3")
        self.make()

    def put(self, path, text):
        at = self.root / path[1:]
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(f"{text}\n")

    def drop(self, *folders):
        for folder in folders:
            for path in sorted(folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            folder.rmdir()

    def make(self):
        count, net = self.values["combined_count"], f"/sys/class/net/{self.name}"
        self.drop(*self.root.glob(f"{net[1:]}/queues/*"), *self.root.glob("proc/irq/[3-9]?"))
        self.drop(*self.root.glob(f"{PCI[1:]}/msi_irqs"))
        rows = ["            CPU0", "  9:          7  IO-APIC   9-fasteoi   acpi"]
        for queue in range(count):
            irq = self.first + queue
            for way, files in DEFAULTS.items():
                for name, text in files.items():
                    self.put(f"{net}/queues/{way}-{queue}/{name}", text)
            self.put(f"{PCI}/msi_irqs/{irq}", "msix")
            self.put(f"/proc/irq/{irq}/smp_affinity_list", "0-3")
            self.put(f"/proc/irq/{irq}/smp_affinity", "f")
            (self.root / f"proc/irq/{irq}/{self.name}-TxRx-{queue}").mkdir()
            rows.append(f" {irq}:          1  PCI-MSI {irq}-edge   {self.name}-TxRx-{queue}")
        self.put("/proc/interrupts", "\n".join(rows))
        self.rss, self.chosen = self.default(), False

    def default(self):
        return tuple(hash_ % self.values["combined_count"] for hash_ in range(8))

    def set(self, values):
        if self.chosen and max(self.rss) >= values.get("combined_count", 99):
            raise ApplyError(f"{self.name}: channels could not be read or set: Invalid argument")
        self.values.update(values)
        if not values.keys() & {"rx_coalesce_usecs"}:
            self.first += 10  # other interrupts get the numbers of those that are freed
            self.make()

    def set_rss(self, table):
        self.written.append(tuple(table))
        self.rss, self.chosen = tuple(table) or self.default(), bool(table)

    def rename(self, name):
        (self.root / f"sys/class/net/{self.name}").rename(self.root / f"sys/class/net/{name}")
        self.name = name

    def masks(self):
        folder = self.root / f"sys/class/net/{self.name}/queues"
        return {
            f"{path.parent.name}/{path.name}": path.read_text().strip()
            for path in folder.glob("*/*")
        }

    def state(self):
        """Everything of the NIC, an interrupt by its queue."""
        return self.masks(), self.affinities(), self.rss, dict(self.values)

    def affinities(self):
        return {
            path.name.rpartition("-")[2]: (path.parent / "smp_affinity_list").read_text().strip()
            for path in self.root.glob("proc/irq/*/*-TxRx-*")
        }

    def tune(self):
        """Set everything as somebody did who tuned the NIC."""
        net = f"/sys/class/net/{self.name}/queues"
        for queue in range(4):
            self.put(f"{net}/rx-{queue}/rps_cpus", f"{queue + 1:x}")
            self.put(f"{net}/rx-{queue}/rps_flow_cnt", "4096")
            self.put(f"{net}/tx-{queue}/xps_cpus", f"{1 << queue:x}")
            self.put(f"{net}/tx-{queue}/xps_rxqs", "3")
            self.put(self.affinity(queue), f"{queue}")
        self.rss, self.chosen = (0, 1, 0, 1, 0, 1, 0, 1), True

    def affinity(self, queue):
        return f"/proc/irq/{self.first + queue}/smp_affinity_list"


def driven(host, monkeypatch):
    def read(host, interface, group):
        assert interface == host.name
        return dict(host.values)

    monkeypatch.setattr(nic, "read", read)
    monkeypatch.setattr(nic, "write", lambda host, interface, group, values: host.set(values))
    monkeypatch.setattr(nic, "rss_table", lambda host, interface: host.rss)
    monkeypatch.setattr(nic, "write_rss_table", lambda host, name, table: host.set_rss(table))
    host.tune()
    return host


@pytest.fixture
def host(tmp_path, monkeypatch):
    return driven(Nic(tmp_path / "host"), monkeypatch)


@pytest.fixture
def at(tmp_path):
    return Place(tmp_path / "state", tmp_path / "run")


def plan(*actions):
    return Plan(tuple(Change(action, Risk.SAFE, "nic/x", "set", "set it") for action in actions))


def kept(saved):
    """Return what a journal would hold."""
    return msgspec.json.decode(msgspec.json.encode(saved), type=Saved)


@pytest.mark.parametrize("action", [SHRINK, GROW, RINGS, LRO], ids=lambda action: action.group)
def test_what_a_change_loses_comes_back_with_it(host, at, action):
    before = host.state()
    carry_out(plan(action), host, at)
    assert host.state()[1] != before[1]

    take_back(at, host)

    assert host.state() == before


def test_a_renamed_nic_gets_back_what_it_lost(host, at):
    before = host.state()
    carry_out(plan(SHRINK), host, at)
    host.rename("lan")

    take_back(at, host)

    assert host.state() == before


def test_an_interrupt_that_keeps_its_number_keeps_its_old_name_too(host, at):
    """A driver that requests nothing again has named its handlers after the old interface."""
    before = host.affinities()
    carry_out(plan(COALESCE), host, at)
    saved = kept(RINGS.save(host))
    host.rename("lan")
    for queue in range(4):
        host.put(host.affinity(queue), "0-3")

    RINGS.undo(saved, host)

    assert host.affinities() == before


def test_a_virtio_nic_has_the_interrupts_of_its_pci_function(tmp_path, monkeypatch, at):
    host = driven(Nic(tmp_path / "host", f"{PCI}/virtio3"), monkeypatch)
    before = host.state()
    carry_out(plan(SHRINK), host, at)

    take_back(at, host)

    assert host.state() == before


def test_the_interrupts_of_the_bridge_above_are_not_those_of_the_nic(host):
    host.drop(host.root / f"{PCI[1:]}/msi_irqs")
    host.put("/sys/devices/pci0000:00/msi_irqs/9", "msi")

    assert SHRINK.save(host).queues.interrupts == ()


def test_an_interrupt_that_the_kernel_manages_is_left_to_it(host, monkeypatch):
    path = host.affinity(1)
    monkeypatch.setattr(host, "mode", lambda name: 0o444 if name == path else 0o644)

    assert [each.action[-1] for each in SHRINK.save(host).queues.interrupts] == ["0", "2", "3"]


def test_coalescing_loses_nothing_and_its_undo_leaves_the_queues_alone(host, at):
    carry_out(plan(COALESCE), host, at)
    host.put("/sys/class/net/d0/queues/rx-0/rps_cpus", "f")

    take_back(at, host)

    assert (host.values["rx_coalesce_usecs"], host.masks()["rx-0/rps_cpus"]) == (3, "f")


def test_a_table_that_is_as_it_was_is_not_set(host, at):
    """A table that somebody set makes the kernel refuse fewer channels, so none is set."""
    host.rss, host.chosen = host.default(), False
    carry_out(plan(SHRINK), host, at)

    take_back(at, host)

    assert (host.rss, host.written) == (host.default(), [])


def test_a_table_that_somebody_spread_over_the_new_queues_does_not_hold_them(host, at):
    """ethnl_set_channels() refuses to remove a queue that such a table uses."""
    before = host.state()
    carry_out(plan(GROW), host, at)
    host.set_rss((0, 1, 2, 3, 4, 5, 0, 1))

    take_back(at, host)

    assert host.state() == before


def test_a_driver_that_sets_no_table_gets_its_channels_back(host, at, monkeypatch):
    def refusing(host, interface, table):
        raise ApplyError(f"{interface}: the RSS table could not be set: Operation not supported")

    host.rss, host.chosen = host.default(), False
    carry_out(plan(GROW), host, at)
    monkeypatch.setattr(nic, "write_rss_table", refusing)

    take_back(at, host)

    assert (host.values["combined_count"], host.rss) == (4, host.default())


def test_a_table_that_the_driver_chose_is_chosen_by_it_again(host, at):
    host.rss, host.chosen = host.default(), False
    carry_out(plan(SHRINK), host, at)
    make = host.make
    host.make = lambda: (make(), setattr(host, "rss", (0,) * 8))

    take_back(at, host)

    assert (host.rss, host.written) == (host.default(), [()])


@pytest.mark.parametrize("change", ["boot", "index"])
def test_new_queues_of_a_boot_or_of_a_loaded_module_are_left_alone(host, at, change):
    carry_out(plan(SHRINK), host, at)
    if change == "boot":
        host.put("/proc/sys/kernel/random/boot_id", "second")
    else:
        host.put("/sys/class/net/d0/ifindex", "7")

    take_back(at, host)

    assert set(host.masks().values()) == {"0"}
    assert host.values["combined_count"] == 4


def test_a_journal_of_before_gets_back_its_count_alone(host):
    host.set({"combined_count": 2})

    SHRINK.undo(Saved(values={"combined_count": 4}), host)

    assert host.values["combined_count"] == 4
    assert set(host.masks().values()) == {"0"}


def test_what_cannot_be_restored_is_named_and_the_rest_is_restored(host, at, monkeypatch):
    before = host.state()
    carry_out(plan(SHRINK), host, at)
    write = host.write

    def refusing(path, value):
        if path.endswith("rx-3/rps_cpus"):
            raise ApplyError(f"{path}: Invalid argument")
        write(path, value)

    monkeypatch.setattr(host, "write", refusing)
    with pytest.raises(
        ApplyError, match=r"could not undo: [^;]*rx-3/rps_cpus: Invalid argument\. R"
    ):
        take_back(at, host)
    expected = {**before[0], "rx-3/rps_cpus": "0"}
    assert host.state() == (expected, *before[1:])

    monkeypatch.setattr(host, "write", write)
    take_back(at, host)
    assert host.state() == before


AFFINITY = "/proc/irq/40/smp_affinity_list"


@pytest.mark.parametrize(
    "later",
    [
        SetAffinity("40", "0-3", "2", "d0-TxRx-0"),
        SetValue("/sys/class/net/d0/queues/tx-1/xps_cpus", "0", "8"),
    ],
    ids=["affinity", "xps"],
)
def test_what_a_later_journal_set_on_the_queues_is_undone_first(host, at, later):
    before = host.state()
    earlier = carry_out(plan(SHRINK), host, at)
    name = carry_out(plan(later), host, at)

    assert [(held.journal, held.holds) for held in verify(at, host)] == [
        (earlier, True),
        (name, True),
    ]
    with pytest.raises(NotPossible, match=f"^{earlier} cannot be rolled back yet, .* {name} "):
        take_back(at, host, earlier)

    take_back(at, host, name)
    take_back(at, host, earlier)
    assert host.state() == before


@pytest.mark.parametrize(
    "earlier",
    [
        SetAffinity("33", "3", "1", "d0-TxRx-3"),
        SetValue("/sys/class/net/d0/queues/rx-3/rps_cpus", "4", "8"),
    ],
    ids=["affinity", "rps"],
)
def test_what_an_earlier_journal_set_on_a_queue_that_is_gone_waits_for_it(host, at, earlier):
    before = host.state()
    name = carry_out(plan(earlier), host, at)
    later = carry_out(plan(SHRINK), host, at)

    with pytest.raises(NotPossible, match=f"^{name} cannot be rolled back yet, .* {later} "):
        take_back(at, host, name)

    take_back(at, host, later)
    take_back(at, host, name)
    assert host.state() == before


def test_another_nic_does_not_hold_up(host, at):
    earlier = carry_out(plan(SHRINK), host, at)
    host.put("/sys/class/net/d1/queues/rx-0/rps_cpus", "0")
    carry_out(plan(SetValue("/sys/class/net/d1/queues/rx-0/rps_cpus", "0", "1")), host, at)

    take_back(at, host, earlier)

    assert host.values["combined_count"] == 4


LIVE = """
mount -t sysfs none /sys
ip link add v0 numtxqueues 4 numrxqueues 4 type veth peer name v1 numtxqueues 4 numrxqueues 4
cd /sys/class/net/v0/queues
for q in 0 1 2 3; do
    echo $((q % 3 + 1)) >rx-$q/rps_cpus && echo 256 >rx-$q/rps_flow_cnt
    echo $((q % 2 + 1)) >tx-$q/xps_cpus && echo 3 >tx-$q/xps_rxqs
done
look() { grep . ?x-*/rps_cpus ?x-*/rps_flow_cnt ?x-*/xps_cpus ?x-*/xps_rxqs; }
look >"$1/before"
(cd "$2" && "$3" -c "$4")
look >"$1/after"
"""
SHRUNK = """
from pathlib import Path
from dirtune.change.actions.set_nic import SetNic
from dirtune.host import WritableHost
counts = {"rx_count": 4, "tx_count": 4}
action, host = SetNic("v0", "channels", counts, dict.fromkeys(counts, 2)), WritableHost()
saved = action.save(host)
action.make(host)
action.require_made(saved, host)
assert not Path("/sys/class/net/v0/queues/rx-2").exists()
action.undo(saved, host)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network namespace")
def test_masks_that_the_kernel_drops_with_the_queues_of_a_veth_come_back(tmp_path):
    argv = ("unshare", "-n", "-m", "sh", "-ec", LIVE, "sh", tmp_path, REPOSITORY, sys.executable)

    done = subprocess.run((*argv, SHRUNK), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    before = (tmp_path / "before").read_text().splitlines()
    assert len(before) == 16
    assert (tmp_path / "after").read_text().splitlines() == before
