"""kill -9, and a power cut, at every step of twenty changes: all is as before, or all as planned.

The child is forked and kills itself before and after each thing that reaches a disk or the host.
A power cut forgets of the journal what was not synced: then it is what the last fsync left.
"""

import os
import shutil
import signal
from pathlib import Path

import pytest

from dirtune.change import boot_files, journal, nic, persist
from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.run import Run
from dirtune.change.actions.set_affinity import SetAffinity
from dirtune.change.actions.set_nic import SetNic
from dirtune.change.actions.set_value import SetValue
from dirtune.change.actions.unbind import Unbind
from dirtune.change.plan import Change, Plan
from dirtune.change.transaction import Place, carry_out, confirm, take_back
from dirtune.checks import Risk
from tests.change.machine import LINE, SCSI, SCSI2, SMBUS, Machine, build, picture

SYSCTLS = {f"/proc/sys/net/ipv4/vs/s{n}": (str(n), str(n + 100)) for n in range(8)}
MASKS = {f"/sys/class/net/x/queues/rx-{n}/rps_cpus": ("00", "0f") for n in range(3)}
RINGS = "/cards/x/rings"
DROP_IN = "/etc/default/grub.d/90-dirtune.cfg"


def change(action, lasting=False):
    return Change(action, Risk.SAFE, "irq/x", "f", "t", lasting=lasting)


def plan():
    """Twenty changes at run time, of every kind, and those that keep them over a reboot."""
    runtime = (
        *(SetValue(path, *values) for path, values in (SYSCTLS | MASKS).items()),
        *(SetAffinity(irq, "0-1", "1", f"enp0s16-{irq}") for irq in ("30", "31", "32")),
        SetNic("x", "rings", {"rx": 256, "tx": 0}, {"rx": 1024, "tx": 0}),
        SetValue("/sys/class/net/x/threaded", "1", "0"),
        SetValue("/proc/sys/net/core/netdev_max_backlog", "0", "1000"),
        *(Unbind(device, LINE[device], "10", LINE[device]) for device in (SCSI2, SCSI, SMBUS)),
    )
    boot = (Run(undo_argv=("update-grub",)), PutFile(DROP_IN, "old\n", "new\n"))
    made = Plan((*map(change, runtime), *(change(each, lasting=True) for each in boot)))
    assert len(runtime) == 20
    return persist.lasting(made, {boot_files.SYSCTL: "vm.swappiness = 1\n"})


@pytest.fixture
def lab(tmp_path):
    """Return a function that makes the machine anew, and where its journals are."""

    def make():
        for path in tmp_path.iterdir():
            shutil.rmtree(path)
        host = build(tmp_path / "host")
        files = {path: before for path, (before, _) in (SYSCTLS | MASKS).items()}
        files |= {f"/proc/irq/{irq}/smp_affinity_list": "0-1" for irq in (30, 31, 32)}
        files |= {
            RINGS: "256 0",
            DROP_IN: "old",
            boot_files.SYSCTL: "vm.swappiness = 1",
            "/sys/class/net/x/threaded": "1",
            "/proc/sys/net/core/netdev_max_backlog": "0",
            "/proc/sys/kernel/random/boot_id": "boot-1",
        }
        for path, text in files.items():
            at = host.root / path[1:]
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_text(f"{text}\n")
        for irq in (30, 31, 32):
            (host.root / f"proc/irq/{irq}/enp0s16-{irq}").mkdir()
        for path in boot_files.FILES:
            if path == boot_files.SCRIPT:
                continue  # its folder is made for it
            (host.root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run").mkdir(0o700)  # made once a boot
        return host, Place(tmp_path / "state", tmp_path / "run")

    return make


@pytest.fixture(autouse=True)
def _cards(monkeypatch):
    """A card is a file with its two rings."""

    def read(host, interface, group):
        rx, tx = host.read(f"/cards/{interface}/{group}").split()
        return {"rx": int(rx), "tx": int(tx), "rx_max": 4096}

    def write(host, interface, group, values):
        now = read(host, interface, group) | values
        host.write(f"/cards/{interface}/{group}", f"{now['rx']} {now['tx']}\n")

    monkeypatch.setattr(nic, "read", read)
    monkeypatch.setattr(nic, "write", write)
    monkeypatch.setattr(nic, "rss_table", lambda host, interface: None)
    monkeypatch.setattr("dirtune.change.watchdog.arm", lambda *_: 0)
    # A killed process's writes are safe without it, and a power cut is played.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def settings(host):
    """Every byte of the machine; the kernel appends a handler that comes back to its line."""
    found = picture(host.root)
    found["line"] = sorted(host.handlers())
    del found[str(host.root / "proc/interrupts")]
    return {
        path: what[0].rstrip(b"\n") if isinstance(what, tuple) and "/proc/" in path else what
        for path, what in found.items()
    }


def forked(work, at, fatal, power_cut):
    """Run *work* in a child that dies at its moment *fatal*; return how many it reached."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            count = _ticking(at, fatal)
            work()
            os.write(writing, str(count[0]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    said = os.read(reading, 16)
    os.close(reading)
    assert os.WIFSIGNALED(status) is (not said)
    if power_cut and not said:
        for path in at.state.glob("*.journal"):
            synced = at.state / f"{path.name}.synced"
            shutil.copy(synced, path) if synced.exists() else path.unlink()
    return int(said) if said else None


def _ticking(at, fatal):
    count = [0]

    def tick():
        count[0] += 1
        if count[0] == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def ticking(function):
        def call(*args, **options):
            tick()
            result = function(*args, **options)
            tick()
            return result

        return call

    def syncing(descriptor):
        tick()
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.suffix == ".journal":
            shutil.copy(path, at.state / f"{path.name}.synced")
        tick()

    # Forked, so nothing of this outlives the child.
    journal.os.fsync = syncing
    for name in ("write", "replace", "remove", "run"):
        setattr(Machine, name, ticking(getattr(Machine, name)))
    return count


def recover(host, at):
    """Do what the next dirtune does."""
    for path in journal.unfinished(at.state):
        take_back(at, host, path.stem)
    assert journal.unfinished(at.state) == ()


def apply_at_once(host, at):
    carry_out(plan(), host, at)


def apply_and_confirm(host, at):
    carry_out(plan(), host, at, confirm_s=1000)
    confirm(at, host)


def killed_at(moments, lab, work, power_cut):
    """Yield each of *moments* and whether all was as planned after dying there and recovery."""
    host, at = lab()
    before = settings(host)
    work(host, at)
    planned = settings(host)
    assert planned != before
    host, at = lab()
    for fatal in moments:
        assert forked(lambda h=host, a=at: work(h, a), at, fatal, power_cut) is None
        recover(host, at)
        now = settings(host)
        assert now in (before, planned), fatal
        yield now == planned
        if now == planned:
            host, at = lab()
        else:
            # All else is as it was; at the first moments it is not there yet.
            shutil.rmtree(at.state, ignore_errors=True)


def reached(lab, work):
    host, at = lab()
    moments = forked(lambda: work(host, at), at, 0, power_cut=False)
    # More than two for each change: its record and its write.
    assert moments > 3 * len(plan().changes)
    return moments


@pytest.mark.parametrize(
    ("work", "power_cut", "step"),
    [
        (apply_and_confirm, False, 1),
        (apply_and_confirm, True, 3),
        pytest.param(apply_and_confirm, True, 1, marks=pytest.mark.long),
        pytest.param(apply_at_once, False, 1, marks=pytest.mark.long),
        pytest.param(apply_at_once, True, 1, marks=pytest.mark.long),
    ],
)
def test_killed_anywhere_all_is_as_before_or_all_as_planned(lab, work, power_cut, step):
    last = reached(lab, work)

    # Backwards in steps, so that the last few moments are among them.
    moments = sorted(range(last, 0, -step))
    ends = list(killed_at(moments, lab, work, power_cut))

    # Only the last record makes it hold.
    assert ends == sorted(ends)
    assert 1 <= ends.count(True) <= 3


def test_a_rollback_that_is_killed_is_finished_by_the_next(lab):
    host, at = lab()
    before = settings(host)
    carry_out(plan(), host, at)
    moments = forked(lambda: take_back(at, host), at, 0, power_cut=False)
    assert settings(host) == before
    shutil.rmtree(at.state)

    for fatal in sorted(range(moments, 0, -4)):
        carry_out(plan(), host, at)
        forked(lambda h=host, a=at: take_back(a, h), at, fatal, power_cut=False)
        take_back(at, host)
        assert settings(host) == before, fatal
        shutil.rmtree(at.state)


def test_nothing_outlives_a_reboot_before_it_is_confirmed(lab):
    host, at = lab()
    etc = picture(host.root / "etc")

    carry_out(plan(), host, at, confirm_s=1000)
    assert picture(host.root / "etc") == etc
    assert host.ran == []

    confirm(at, host)
    assert (host.root / boot_files.SYSCTL[1:]).read_text().splitlines() == [
        "vm.swappiness = 1",
        *(f"net.ipv4.vs.s{n} = {n + 100}" for n in range(8)),
        "net.core.netdev_max_backlog = 1000",
    ]
    assert (host.root / boot_files.MODULES[1:]).read_text() == "ip_vs\n"
    take_back(at, host)
    assert picture(host.root / "etc") == etc
