"""Journals of the dirtunes before are read and undone: `journals` holds what those wrote."""

import json
from pathlib import Path

import msgspec
import pytest

from dirtune.change import journal, nic
from dirtune.change.actions.unbind import Unbind
from dirtune.change.apply import roll_back
from dirtune.change.record import State
from tests.change.machine import DRIVER, LINE, SCSI, SCSI2
from tests.change.test_ip import Linux

(OLD,) = (Path(__file__).parent / "journals").glob("*.journal")
"""Of 2026-11: one change of every kind, as the engine wrote it when kinds had no modules."""
BACKLOG = "proc/sys/net/core/netdev_max_backlog"
IRQ = "proc/irq/30"


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(0o700)
    (folder / OLD.name).write_bytes(OLD.read_bytes())
    (folder / OLD.name).chmod(0o600)
    return folder / OLD.name


def test_every_record_is_read_and_would_be_written_the_same(path):
    entry = journal.load(path)
    lines = [json.loads(line) for line in OLD.read_bytes().splitlines()]

    assert entry.state is State.APPLIED
    assert len(entry.begun) == len(entry.planned.changes) == 14
    now = [json.loads(msgspec.json.encode(record)) for record in (entry.planned, *entry.rest)]
    assert now == [{k: v for k, v in line.items() if k != "sum"} for line in lines]


class Director(Linux):
    """The machine of the other tests, with ip(8), and all that the journal changed."""

    def run(self, argv, *, timeout_s=300):
        self.ran.append(tuple(argv))
        return super().run(argv, timeout_s=timeout_s) if argv[0] == "ip" else ""


def test_every_kind_is_undone(path, machine, monkeypatch):
    root = machine.root
    host = Director(root, "via 10.0.0.9 dev d0")
    files = {
        BACKLOG: "2000\n",
        f"{IRQ}/smp_affinity_list": "1\n",
        f"{IRQ}/enp0s16-30/spurious": "",
        "etc/dirtune/boot.sh": "echo 1\n",
        "etc/default/irqbalance": 'A="x"\n',
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "etc/default/irqbalance").chmod(0o600)
    Unbind(SCSI, DRIVER[SCSI], "10", LINE[SCSI]).make(host)
    host.on["lo"].append("198.18.0.100/32")
    host.up.add("d0")
    rings = {"rx": 512}
    monkeypatch.setattr(nic, "read", lambda host, interface, group: dict(rings))
    monkeypatch.setattr(nic, "write", lambda host, name, group, new: rings.update(new))

    for _ in range(2):  # and again, as after a crash in the middle
        assert roll_back(journal.load(path).done, host) == ()

    assert (root / BACKLOG).read_text() == "1000\n"
    assert (root / IRQ / "smp_affinity_list").read_text() == "0-1\n"
    assert rings == {"rx": 256}
    drivers = root / "sys/bus/pci/devices"
    assert (drivers / SCSI / "driver").is_symlink()
    assert not (drivers / SCSI2 / "driver").is_symlink()
    assert not (root / "etc/dirtune").exists()
    kept = root / "etc/default/irqbalance"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ('A=""\n', 0o644)
    assert host.on["lo"] == ["127.0.0.1/8"]
    assert host.up == {"lo"}
    assert host.routes == ["via 10.0.0.7 dev d0"]
    assert [argv for argv in host.ran if argv[0] != "ip"] == [
        *(("update-grub",), ("rmmod", "ipip")) * 2
    ]
