import errno
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import zipapp
from contextlib import suppress
from pathlib import Path

import pytest

from dirtune.change import in_effect, journal, network, watchdog
from dirtune.change.action import Saved
from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.run import Run
from dirtune.change.actions.set_value import SetValue
from dirtune.change.fixes import Question
from dirtune.change.fixes.unbind_partners import FIX
from dirtune.change.in_effect import verify
from dirtune.change.plan import Change, Plan
from dirtune.change.record import Applied, Begun, Confirmed, RolledBack, State
from dirtune.change.transaction import (
    Place,
    carry_out,
    confirm,
    notices,
    renew,
    take_back,
)
from dirtune.change.watchdog import watch
from dirtune.checks import Risk
from dirtune.errors import ApplyError, NotPossible
from dirtune.host import WritableHost
from dirtune.signals import SIGNALS, Ended, interruptible
from dirtune.snapshot import take
from tests.change.machine import LINE, Machine, picture

REPOSITORY = Path(__file__).parents[2]
BOOT_ID = "proc/sys/kernel/random/boot_id"


@pytest.fixture
def host(machine):
    (machine.root / BOOT_ID).parent.mkdir(parents=True)
    (machine.root / BOOT_ID).write_text("boot-1\n")
    return machine


@pytest.fixture
def at(tmp_path):
    return Place(tmp_path / "state", tmp_path / "run")


@pytest.fixture
def unarmed(monkeypatch):
    """No watchdog process: it would look for this journal's host at /."""
    monkeypatch.setattr("dirtune.change.watchdog.arm", lambda *_: 0)


def notice(at, host):
    return next(iter(notices(at, host)), None)


def unbind(host):
    return FIX.plan(Question(take(host)))


def state(at, name=None):
    return journal.load(journal.find(at.state, name)).state


def test_applied_kept_verified_and_taken_back(host, at):
    name = carry_out(unbind(host), host, at)

    assert host.handlers() == ["enp0s16"]
    assert state(at) is State.CONFIRMED
    assert [each.holds for each in verify(at, host)] == [True, True, True]

    assert take_back(at, host).journal == name
    assert sorted(host.handlers()) == sorted(LINE.values())
    assert take_back(at, host, name).already
    assert verify(at, host) == ()


def test_what_was_changed_back_by_others_is_seen(host, at):
    carry_out(unbind(host), host, at)
    host.write("/sys/bus/pci/drivers/i801_smbus/bind", "0000:00:1f.3")

    held = {each.change.action.driver: each.holds for each in verify(at, host)}

    assert held == {"i801_smbus": False, "sym53c8xx": True}
    assert verify(at, host, ("irq/xtpic-mode",)) == ()


@pytest.mark.usefixtures("unarmed")
def test_confirmed_in_time_it_stays(host, at):
    carry_out(unbind(host), host, at, confirm_s=60)

    assert state(at) is State.APPLIED
    assert "unless you run: dirtune confirm" in notice(at, host)
    assert not confirm(at, host).already
    assert confirm(at, host).already
    watch(journal.find(at.state, None), at, host)
    assert host.handlers() == ["enp0s16"]
    assert notice(at, host) is None


@pytest.mark.usefixtures("unarmed")
def test_a_confirmation_that_was_killed_on_its_way_can_be_repeated(
    tmp_path, value, at, this_machine
):
    kept = tmp_path / "kept"
    file = PutFile(str(kept), None, "new\n")
    lasting = Change(file, Risk.SAFE, "net/x", "f", "t", lasting=True)
    plan = Plan((*setting(value, "old", "one").changes, lasting))
    name = carry_out(plan, this_machine, at, confirm_s=60)
    # All that it had done.
    journal.append(journal.path_of(at.state, name), Begun(1, Saved()))
    kept.write_text("new\n")

    assert not confirm(at, this_machine).already

    assert state(at) is State.CONFIRMED
    assert (value.read_text(), kept.read_text()) == ("one", "new\n")
    take_back(at, this_machine)
    assert (value.read_text(), kept.exists()) == ("old\n", False)


@pytest.mark.usefixtures("unarmed")
def test_it_is_not_confirmed_before_what_outlives_a_reboot_is_made(tmp_path, value, at):
    """Killed in the middle of it, it is a plan to roll back."""
    seen = []

    class Watched(WritableHost):
        def replace(self, path, contents):
            seen.append(state(at))
            super().replace(path, contents)

    file = PutFile(str(tmp_path / "kept"), None, "new\n")
    lasting = Change(file, Risk.SAFE, "net/x", "f", "t", lasting=True)
    plan = Plan((*setting(value, "old", "one").changes, lasting))
    carry_out(plan, Watched(), at, confirm_s=60)
    assert seen == []

    confirm(at, Watched())

    assert (seen, state(at)) == ([State.APPLIED], State.CONFIRMED)


@pytest.mark.usefixtures("unarmed")
def test_not_confirmed_in_time_it_goes(host, at):
    carry_out(unbind(host), host, at, confirm_s=0.2)

    watch(journal.find(at.state, None), at, host)

    assert state(at) is State.ROLLED_BACK
    assert sorted(host.handlers()) == sorted(LINE.values())
    with pytest.raises(ApplyError, match="was rolled back"):
        confirm(at, host)


@pytest.mark.usefixtures("unarmed")
def test_a_reboot_ends_the_window_and_rollback_finds_all_in_place(host, at):
    carry_out(unbind(host), host, at, confirm_s=60)
    (host.root / BOOT_ID).write_text("boot-2\n")
    for device, driver in (("0000:00:1f.3", "i801_smbus"), ("0000:00:14.0", "sym53c8xx")):
        host.write(f"/sys/bus/pci/drivers/{driver}/bind", device)

    assert "was not confirmed in time" in notice(at, host)
    with pytest.raises(ApplyError, match=r"not confirmed in time\. .*dirtune rollback"):
        confirm(at, host)
    take_back(at, host)
    assert sorted(host.handlers()) == sorted(LINE.values())


@pytest.mark.usefixtures("unarmed")
def test_one_set_of_changes_is_open_at_a_time(host, at):
    name = carry_out(unbind(host), host, at, confirm_s=60)

    with pytest.raises(NotPossible, match=f"dirtune rollback {name} first"):
        carry_out(Plan(), host, at)


class Refusing(Machine):
    def write(self, path, value):
        if path.endswith("i801_smbus/unbind"):
            raise ApplyError(f"{path}: Device or resource busy")
        super().write(path, value)


def test_an_apply_that_fails_is_settled(host, at):
    with pytest.raises(ApplyError, match="busy"):
        carry_out(unbind(host), Refusing(host.root), at)

    assert state(at) is State.ROLLED_BACK
    assert journal.unfinished(at.state) == ()
    assert sorted(host.handlers()) == sorted(LINE.values())


class Unbindable(Machine):
    def write(self, path, value):
        if path.endswith("i801_smbus/bind"):
            raise ApplyError(f"{path}: No such device")
        super().write(path, value)


def test_a_rollback_that_is_stuck_can_be_tried_again(host, at):
    carry_out(unbind(host), host, at)

    with pytest.raises(ApplyError, match=r"could not undo: .*i801_smbus/bind"):
        take_back(at, Unbindable(host.root))
    assert host.handlers().count("sym53c8xx") == 2
    assert "was not finished" in notice(at, host)
    with journal.lock(at.run):
        assert "rolled back now" in notice(at, host)

    assert not take_back(at, host).already
    assert state(at) is State.ROLLED_BACK


# A kill arrives before or after each thing that reaches the disk or the host.
KILLED = """
import os, signal, sys
from pathlib import Path
from dirtune.checks import Risk
from dirtune.snapshot import take
from dirtune.change import journal
from dirtune.change.fixes import Question
from dirtune.change.fixes.unbind_partners import FIX
from dirtune.change.actions.put_file import PutFile
from dirtune.change.plan import Change, Plan
from dirtune.change.transaction import Place, carry_out
from tests.change.machine import Machine

root, state, run, fatal = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
moment = 0

def tick():
    global moment
    moment += 1
    if moment == fatal:
        os.kill(os.getpid(), signal.SIGKILL)

def ticking(function):
    def call(*args, **options):
        tick()
        result = function(*args, **options)
        tick()
        return result
    return call

journal._put = ticking(journal._put)
Machine.write = ticking(Machine.write)
Machine.replace = ticking(Machine.replace)
host = Machine(root)
plan = FIX.plan(Question(take(host)))
files = tuple(
    Change(PutFile(path, before, "new\\n", 0o755), Risk.SAFE, "irq/x", "f", "t")
    for path, before in (("/etc/grub.d/42_x", None), ("/etc/old", "old\\n"))
)
carry_out(Plan((*plan.changes, *files)), host, Place(state, run))
print(moment)
"""


def killed(host, at, moment):
    argv = (sys.executable, "-c", KILLED, host.root, at.state, at.run, str(moment))
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=REPOSITORY)


# Five changes: a plan, five beginnings, five writes, an end; each before and after.
@pytest.mark.parametrize("moment", [1, 2, 3, 4, 5, 6, 9, 13, 14, 15, 16, 19, 20, 21, 22, 23, 24])
def test_after_kill_9_anywhere_rollback_restores_every_byte(host, at, moment):
    (host.root / "etc/old").write_text("old\n")
    before = picture(host.root)

    assert killed(host, at, moment).returncode == -signal.SIGKILL

    if journal.paths(at.state):
        take_back(at, host)
        assert take_back(at, host).already
    assert journal.unfinished(at.state) == ()
    row = str(host.root / "proc/interrupts")
    after = picture(host.root)
    assert after.pop(row) is not None
    assert sorted(host.handlers()) == sorted(LINE.values())
    before.pop(row)
    assert after == before


def test_the_kill_test_reaches_every_moment(host, at):
    (host.root / "etc/old").write_text("old\n")

    assert killed(host, at, 0).stdout == "24\n"


def until(condition):
    for _ in range(100):
        if condition():
            return True
        time.sleep(0.05)
    return False


def setting(path, before, after):
    action = SetValue(str(path), before, after)
    return Plan((Change(action, Risk.SAFE, "net/x", "set", f"set {path}"),))


@pytest.fixture
def value(tmp_path):
    path = tmp_path / "value"
    path.write_text("old\n")
    return path


@pytest.fixture
def this_machine(monkeypatch):
    """What is set here are files of the test's own."""
    monkeypatch.setattr(
        WritableHost, "write", lambda self, path, text: Path(path).write_text(text)
    )
    return WritableHost()


def test_what_a_later_one_set_anew_is_taken_back_first(value, at, this_machine):
    first = carry_out(setting(value, "old", "one"), this_machine, at)
    second = carry_out(setting(value, "one", "two"), this_machine, at)

    with pytest.raises(
        NotPossible, match=f"{second} set or saved {value} after it. Run dirtune rollback"
    ):
        take_back(at, this_machine, first)

    assert value.read_text().strip() == "two"
    take_back(at, this_machine, second)
    take_back(at, this_machine, first)
    assert value.read_text().strip() == "old"


def test_others_that_stand_do_not_matter(tmp_path, value, at, this_machine):
    first = carry_out(setting(value, "old", "one"), this_machine, at)
    (tmp_path / "other").write_text("old\n")
    carry_out(setting(tmp_path / "other", "old", "one"), this_machine, at)

    take_back(at, this_machine, first)

    assert value.read_text().strip() == "old"


@pytest.fixture
def two(tmp_path, value):
    (tmp_path / "other").write_text("old\n")
    changes = (setting(path, "old", "one").changes for path in (tmp_path / "other", value))
    return Plan(tuple(change for found in changes for change in found))


def met(monkeypatch, what):
    """Have *what* happen right behind each write to this machine."""

    def write(self, path, text):
        Path(path).write_text(text)
        what()

    monkeypatch.setattr(WritableHost, "write", write)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_in_the_middle_of_a_rollback_is_obeyed_at_its_end(
    number, two, value, at, this_machine, monkeypatch
):
    carry_out(two, this_machine, at)
    met(monkeypatch, lambda: os.kill(os.getpid(), number))

    with pytest.raises(Ended), interruptible():
        take_back(at, this_machine)

    assert [path.read_text() for path in (value.with_name("other"), value)] == ["old\n", "old\n"]
    assert state(at) is State.ROLLED_BACK


@pytest.mark.parametrize("confirm_s", [0, 60])
@pytest.mark.usefixtures("unarmed")
def test_what_was_killed_in_the_middle_of_a_rollback_is_open(
    confirm_s, value, two, at, this_machine, monkeypatch
):
    carry_out(two, this_machine, at, confirm_s=confirm_s)
    with monkeypatch.context() as patched:
        met(patched, lambda: sys.exit("killed"))
        with pytest.raises(SystemExit):
            take_back(at, this_machine)

    assert "was not finished. Run: dirtune rollback" in notice(at, this_machine)
    with pytest.raises(ApplyError):
        confirm(at, this_machine)
    with pytest.raises(NotPossible, match="neither confirmed nor rolled back"):
        carry_out(setting(value, "old", "new"), this_machine, at)
    assert not take_back(at, this_machine).already
    assert value.read_text() == "old\n"
    assert notice(at, this_machine) is None


@pytest.mark.parametrize("confirm_s", [0, 60])
@pytest.mark.usefixtures("unarmed")
def test_what_was_killed_in_the_undo_of_an_apply_is_open_though_all_had_been_made(
    confirm_s, value, two, at, this_machine, monkeypatch
):
    """As systemd does with a service that it stops: SIGTERM, and SIGKILL if that takes long."""
    append = journal.append
    with monkeypatch.context() as patched:

        def ended(path, record):
            append(path, record)
            if isinstance(record, Applied):
                met(patched, lambda: sys.exit("killed"))
                raise Ended(signal.SIGTERM)

        patched.setattr(journal, "append", ended)
        with pytest.raises(SystemExit):
            carry_out(two, this_machine, at, confirm_s=confirm_s)

    assert "was not finished. Run: dirtune rollback" in notice(at, this_machine)
    with pytest.raises(ApplyError):
        confirm(at, this_machine)
    take_back(at, this_machine)
    assert value.read_text() == "old\n"


def test_where_the_run_folder_is_full_it_is_undone(value, at, this_machine, monkeypatch):
    carry_out(setting(value, "old", "one"), this_machine, at)
    monkeypatch.setattr("os.pwrite", lambda *_: full(*_[:2]))

    take_back(at, this_machine)

    assert value.read_text() == "old\n"


def full(descriptor, data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_on_a_full_disk_what_was_done_is_undone_and_said_so(value, at, this_machine, monkeypatch):
    carry_out(setting(value, "old", "one"), this_machine, at)
    with monkeypatch.context() as patched:
        patched.setattr("os.write", full)
        with pytest.raises(
            NotPossible, match=r"No space left on device. The changes were undone, but"
        ):
            take_back(at, this_machine)
    assert value.read_text().strip() == "old"

    assert not take_back(at, this_machine).already
    assert state(at) is State.ROLLED_BACK


def test_an_apply_whose_disk_fills_leaves_nothing_behind(value, at, this_machine, monkeypatch):
    """The second record is refused, and the one that says it was undone as well."""
    written, write = [], os.write

    def once(descriptor, data):
        if written:
            full(descriptor, data)
        written.append(data)
        return write(descriptor, data)

    with monkeypatch.context() as patched:
        patched.setattr("os.write", once)
        with pytest.raises(NotPossible, match="No space left on device"):
            carry_out(setting(value, "old", "one"), this_machine, at)

    assert value.read_text().strip() == "old"
    assert "was not finished. Run: dirtune rollback" in notice(at, this_machine)
    take_back(at, this_machine)
    assert notice(at, this_machine) is None


def failing(times, count):
    """A change whose undoing fails so many times; each try is a line in *count*."""
    undo = f"echo >>{count}; test $(wc -l <{count}) -gt {times}"
    action = Run(("true",), ("sh", "-c", undo))
    return Plan((Change(action, Risk.SAFE, "net/x", "run", "run"),))


@pytest.mark.usefixtures("unarmed")
def test_an_undo_that_fails_is_tried_again(tmp_path, at, this_machine, monkeypatch):
    monkeypatch.setattr("dirtune.change.watchdog._PAUSES_S", (0.0,) * 3)
    carry_out(failing(2, tmp_path / "tries"), this_machine, at, confirm_s=0.1)

    watch(journal.find(at.state, None), at, this_machine)

    assert state(at) is State.ROLLED_BACK
    # That it was begun; the two that failed in the same way are one record.
    records = journal.load(journal.find(at.state, None)).rest
    assert [type(record).__name__ for record in records] == [
        *("Begun", "Applied", "Stuck", "Stuck", "RolledBack")
    ]


@pytest.mark.usefixtures("unarmed")
@pytest.mark.parametrize("by", ["watchdog", "rollback"])
def test_an_undo_that_is_tried_again_undoes_only_what_it_could_not(
    value, tmp_path, at, this_machine, monkeypatch, by
):
    """Somebody sets the host up anew after the first try: the second one leaves that alone."""
    monkeypatch.setattr("dirtune.change.watchdog._PAUSES_S", (0.0,) * 3)
    count = tmp_path / "tries"
    undo = f"echo >>{count}; echo anew >{value}; test $(wc -l <{count}) -gt 2"
    stuck = Change(Run(("true",), ("sh", "-c", undo)), Risk.SAFE, "net/x", "run", "run")
    plan = Plan((stuck, *setting(value, "old", "one").changes))
    carry_out(plan, this_machine, at, confirm_s=0.1)
    path = journal.find(at.state, None)

    if by == "watchdog":
        watch(path, at, this_machine)
    else:
        for _ in range(2):
            with pytest.raises(ApplyError, match="could not undo"):
                take_back(at, this_machine)
            (left,) = journal.load(path).made
            assert left.reason == "net/x", "the other one is undone already"
        take_back(at, this_machine)

    assert (state(at), len(count.read_text())) == (State.ROLLED_BACK, 3)
    assert value.read_text() == "anew\n"


@pytest.fixture
def unwritable(monkeypatch):
    """A state folder that can record nothing until the list is empty; each try removes one."""
    tries, append = ["full"] * 4, journal.append

    def appending(path, record):
        if tries:
            tries.pop()
            raise NotPossible(f"{path}: No space left on device")
        append(path, record)

    def fill():
        monkeypatch.setattr(journal, "append", appending)

    monkeypatch.setattr("dirtune.change.watchdog._PAUSES_S", (0.0,) * 2)
    return fill


@pytest.mark.usefixtures("unarmed")
def test_an_undo_that_cannot_be_recorded_is_made_once_and_recorded_later(
    value, at, this_machine, unwritable, monkeypatch
):
    name, logged = carry_out(setting(value, "old", "one"), this_machine, at, confirm_s=0.1), []
    unwritable()
    monkeypatch.setattr("syslog.syslog", lambda _level, text: logged.append(text))

    def by_hand(_pause):
        if value.read_text().strip() == "old":
            value.write_text("by hand")

    monkeypatch.setattr("dirtune.change.watchdog.time.sleep", by_hand)
    watch(journal.path_of(at.state, name), at, this_machine)

    assert value.read_text() == "by hand"
    assert state(at) is State.ROLLED_BACK
    (line,) = logged
    assert "The changes were undone, but the journal cannot record that." in line


@pytest.mark.usefixtures("unarmed")
@pytest.mark.parametrize("moment", ["while it records", "while it waits"])
def test_a_signal_to_a_watchdog_that_cannot_record_undoes_nothing_again(
    value, at, this_machine, unwritable, monkeypatch, moment
):
    late = moment == "while it records"
    seconds = 0.1 if late else 60
    name = carry_out(setting(value, "old", "one"), this_machine, at, confirm_s=seconds)
    unwritable()
    writes, write = [], WritableHost.write

    def writing(self, path, text):
        writes.append(text)
        write(self, path, text)

    monkeypatch.setattr(WritableHost, "write", writing)

    def end(_pause):
        if not late or writes:
            raise Ended(signal.SIGTERM)

    monkeypatch.setattr("dirtune.change.watchdog.time.sleep", end)
    monkeypatch.setattr("dirtune.change.watchdog.prepare", lambda: None)

    watchdog.main(str(journal.path_of(at.state, name)), str(at.state), str(at.run))

    assert len(writes) == 1


@pytest.mark.usefixtures("unarmed")
def test_a_journal_is_read_again_only_after_it_changed(value, at, this_machine, monkeypatch):
    """On an emulated director, a reading takes a tenth of a second of the measured CPU."""
    name = carry_out(setting(value, "old", "one"), this_machine, at, confirm_s=600)
    path, load, readings, passed = journal.path_of(at.state, name), journal.load, [], [0.0]
    began_s = journal.boot_clock_s()

    def loading(asked):
        readings.append(passed[0])
        return load(asked)

    def sleep(seconds):
        passed[0] += seconds
        if passed[0] == 400:
            journal.append(path, Confirmed())

    monkeypatch.setattr(journal, "load", loading)
    monkeypatch.setattr(journal, "boot_clock_s", lambda: began_s + passed[0])
    monkeypatch.setattr("dirtune.change.watchdog.time.sleep", sleep)
    watch(path, at, this_machine)

    assert readings == [0, 400], "once at the beginning, and once after the confirmation"
    assert value.read_text().strip() == "one"


def test_a_watchdog_is_not_started_anew_for_a_journal_that_nobody_can_read(at):
    path = journal.path_of(at.state, "20260101T000000.000000Z")
    path.parent.mkdir(parents=True)
    path.write_text("no record\n")

    watchdog.main(str(path), str(at.state), str(at.run))  # ends as one that is done


@pytest.mark.usefixtures("unarmed")
@pytest.mark.parametrize(
    "error",
    [
        NotPossible("Too many open files in system"),
        OSError(errno.ENOLCK, "No locks available"),
        MemoryError(),
        KeyError("x"),
    ],
    ids=repr,
)
def test_a_watchdog_that_cannot_look_for_a_moment_looks_again(
    value, at, this_machine, monkeypatch, error
):
    monkeypatch.setattr("dirtune.change.watchdog._PAUSES_S", (0.0,) * 3)
    name = carry_out(setting(value, "old", "one"), this_machine, at, confirm_s=0.1)
    real, looks = journal.lock, []

    def lock(folder, **options):
        looks.append(folder)
        if len(looks) == 1:
            raise error
        return real(folder, **options)

    monkeypatch.setattr(journal, "lock", lock)
    watch(journal.path_of(at.state, name), at, this_machine)

    assert state(at) is State.ROLLED_BACK


def test_a_folder_that_was_removed_keeps_no_watchdog_from_being_started(monkeypatch):
    def gone():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(os, "getcwd", gone)
    monkeypatch.setattr(sys, "path", ["", "/usr/lib/python3"])

    assert watchdog.importable() == ["/usr/lib/python3"]


@pytest.mark.usefixtures("unarmed")
def test_a_watchdog_that_could_not_undo_ends_as_one_that_failed(
    tmp_path, at, this_machine, monkeypatch
):
    monkeypatch.setattr("dirtune.change.watchdog._PAUSES_S", (0.0,) * 3)
    name = carry_out(failing(9, tmp_path / "tries"), this_machine, at, confirm_s=0.1)

    with pytest.raises(SystemExit) as ended:
        watchdog.main(str(journal.path_of(at.state, name)), str(at.state), str(at.run))

    assert ended.value.code == 1
    assert state(at) is State.PLANNED
    assert (tmp_path / "tries").read_text() == "\n" * 4


# The real watchdog works on this machine, so these change files of the test's own.
APPLY = """
import os, signal, sys
from pathlib import Path
from dirtune.checks import Risk
from dirtune.host import WritableHost
from dirtune.change.actions.put_file import PutFile
from dirtune.change.plan import Change, Plan
from dirtune.change import watchdog
from dirtune.change.transaction import Place, carry_out
from dirtune.signals import prepare

if len(sys.argv) > 6:
    watchdog._SYSTEMD = Path(sys.argv[6])
watchdog._READY_S = float(os.environ.get("READY_S", watchdog._READY_S))
watchdog._PROGRAM = os.environ.get("PROGRAM", watchdog._PROGRAM)
if os.environ.get("FORK"):
    watchdog.start_by_fork()

class Dying(WritableHost):
    def replace(self, path, contents):
        super().replace(path, contents)
        if sys.argv[5] != "live":
            os.killpg(0, getattr(signal, sys.argv[5]))

# A shell starts what is to run in the background with the interrupt ignored; a user's is not.
signal.signal(signal.SIGINT, signal.default_int_handler)
plan = Plan((Change(PutFile(sys.argv[1], None, "new\\n"), Risk.SAFE, "irq/x", "f", "t"),))
at = Place(Path(sys.argv[2]), Path(sys.argv[3]))
prepare()
print(carry_out(plan, Dying(), at, confirm_s=float(sys.argv[4])))
"""


BOTH_WAYS = pytest.mark.parametrize("fork", ["", "1"], ids=["started", "forked"])


def detached(
    path,
    at,
    confirm_s,
    end,
    *systemd,
    pass_fds=(),
    cwd=REPOSITORY,
    options=(),
    way=(),
    script=APPLY,
    **environ,
):
    argv = (
        *way,
        sys.executable,
        *options,
        "-c",
        script,
        path,
        at.state,
        at.run,
        str(confirm_s),
        end,
        *systemd,
    )
    return subprocess.run(
        argv,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=20,
        start_new_session=True,
        pass_fds=pass_fds,
    )


@BOTH_WAYS
def test_the_watchdog_outlives_its_starter_and_holds_none_of_its_files(tmp_path, at, fork):
    path = tmp_path / "changed"

    # Returns at the starter's end only if the watchdog has not kept the pipes.
    done = detached(path, at, 2, "live", FORK=fork)

    assert path.read_text() == "new\n"
    assert state(at, done.stdout.strip()) is State.APPLIED
    (watchdog_,) = processes(at)
    assert Path(f"/proc/{watchdog_}/cwd").readlink() == Path("/")  # nobody's mount is in use
    assert until(lambda: not path.exists())
    assert until(lambda: state(at) is State.ROLLED_BACK)


def test_the_watchdog_imports_nothing_from_the_folder_that_it_is_started_in(tmp_path, at):
    """Another user's: root may stand anywhere."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/json.py").write_text("open('imported', 'w')\nloads = None\n")
    path = tmp_path / "changed"

    done = detached(
        path,
        at,
        0.1,
        "live",
        cwd=tmp_path / "theirs",
        options=("-P",),
        PYTHONPATH=str(REPOSITORY),
    )

    assert done.returncode == 0, done.stderr
    assert until(lambda: state(at) is State.ROLLED_BACK)
    assert not (tmp_path / "theirs/imported").exists()


@BOTH_WAYS
def test_the_watchdog_holds_nothing_that_its_starter_inherited(tmp_path, at, fork):
    reading, writing = os.pipe()  # as `flock FILE dirtune fix apply` hands on its lock

    detached(tmp_path / "changed", at, 60, "live", pass_fds=(writing,), FORK=fork)

    os.close(writing)
    ready, _, _ = select.select([reading], [], [], 1)
    assert ready
    assert os.read(reading, 1) == b""
    os.close(reading)
    assert state(at) is State.APPLIED
    take_back(at, WritableHost())


SYSTEMD_RUN = """#!/bin/sh
echo "$@" >> "$0.said"
while [ "$1" != -- ]; do shift; done; shift
setsid "$@" < /dev/null > /dev/null 2>&1 &
"""


def test_where_systemd_runs_the_watchdog_is_its_service(tmp_path, at):
    tool = tmp_path / "bin/systemd-run"
    tool.parent.mkdir()
    tool.write_text(SYSTEMD_RUN)
    tool.chmod(0o755)
    path, paths = tmp_path / "changed", f"{tool.parent}:{os.environ['PATH']}"

    name = detached(path, at, 1, "live", tmp_path, PATH=paths).stdout.strip()

    said = (tmp_path / "bin/systemd-run.said").read_text()
    assert " --collect --property=Restart=on-failure --property=RestartSec=3 " in said
    # Stopped, it undoes to the end, however long that takes.
    kill = "--property=KillMode=mixed --property=TimeoutStopSec=infinity"
    assert f" {kill} --unit=dirtune-{name} -- " in said
    assert until(lambda: not path.exists())
    assert until(lambda: state(at) is State.ROLLED_BACK)


def planted(tmp_path, name, text):
    """Put a command of this *name* before all others, and return PATH."""
    tool = tmp_path / "bin" / name
    tool.parent.mkdir(exist_ok=True)
    tool.write_text(f"#!/bin/sh\n{text}\n")
    tool.chmod(0o755)
    return f"{tool.parent}:{os.environ['PATH']}"


def require_nothing_done(done, path, at):
    """No change, no journal, no pipe, no process, and one line that says so."""
    assert done.returncode != 0
    assert not path.exists()
    assert list(at.state.glob("*")) == []
    assert [file.name for file in at.run.iterdir()] == ["lock"]
    assert processes(at) == []
    return done.stderr.splitlines()[-1]


def processes(at):
    """Return the numbers of those that were handed this journal folder."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            if str(at.state).encode() in line.read_bytes():
                found.append(int(line.parent.name))
    return found


def test_without_a_watchdog_nothing_is_changed(tmp_path, at):
    paths = planted(tmp_path, "systemd-run", "echo 'Failed to connect to bus' >&2; exit 1")
    path = tmp_path / "changed"

    done = detached(path, at, 1, "live", tmp_path, PATH=paths)

    assert "Failed to connect to bus" in require_nothing_done(done, path, at)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("pass", "it exited without a message"),
        ("import os; os.kill(os.getpid(), 9)", "it exited without a message"),
        ("import time; time.sleep(60)", "it did not report within 1 s"),
        ("import sys; print('watching another', file=sys.stderr)", "watching another"),
    ],
)
def test_a_watchdog_that_does_not_say_that_it_watches_changes_nothing(
    tmp_path, at, program, reason
):
    path = tmp_path / "changed"

    done = detached(path, at, 5, "live", PROGRAM=program, READY_S="1")

    assert f"The watchdog did not start ({reason}), so nothing" in (
        require_nothing_done(done, path, at)
    )


def test_a_forked_watchdog_says_why_it_cannot_watch(tmp_path, at):
    path = tmp_path / "changed"
    script = APPLY.replace("plan = Plan", "watchdog._say = None\nplan = Plan")

    done = detached(path, at, 5, "live", FORK="1", script=script)

    assert "TypeError" in require_nothing_done(done, path, at)


def test_a_watchdog_says_why_it_cannot_watch(tmp_path, at):
    program = "from dirtune.change.watchdog import main; main('/x/y.journal', '/x', '/proc/self')"
    path = tmp_path / "changed"

    done = detached(path, at, 5, "live", PROGRAM=f"import os; os.umask(0); {program}")

    assert "The watchdog did not start (" in require_nothing_done(done, path, at)


def test_the_pipe_of_one_that_was_killed_is_removed(tmp_path, at):
    at.run.mkdir(0o700)
    os.mkfifo(at.run / "000001-then.ready")

    assert detached(tmp_path / "changed", at, 1, "live").returncode == 0

    assert [file.name for file in at.run.iterdir()] == ["lock"]
    assert until(lambda: not (tmp_path / "changed").exists())


@pytest.mark.parametrize("text", ["exit 0", SYSTEMD_RUN.replace('"$@"', "false")])
def test_a_service_that_does_not_say_that_it_watches_is_stopped(tmp_path, at, text):
    planted(tmp_path, "systemctl", 'echo "$@" > "$0.said"')
    paths, path = planted(tmp_path, "systemd-run", text), tmp_path / "changed"

    done = detached(path, at, 5, "live", tmp_path, PATH=paths, READY_S="0.5")

    said = require_nothing_done(done, path, at)
    stopped = (tmp_path / "bin/systemctl.said").read_text()
    assert stopped.startswith("stop dirtune-")
    assert f"see: journalctl -u {stopped.split()[1]}), so nothing was changed" in said


@pytest.mark.parametrize("space", ["--net", "--mount"])
def test_a_watchdog_in_another_namespace_is_none(tmp_path, at, space):
    """There it would put back the settings of another network, or other files."""
    text = SYSTEMD_RUN.replace('setsid "$@"', f'setsid unshare {space} "$@"')
    planted(tmp_path, "systemctl", 'kill $(cat "$0.pid")')
    text = text.replace("&\n", '&\necho $! > "${0%-run}ctl.pid"\n')
    paths, path = planted(tmp_path, "systemd-run", text), tmp_path / "changed"

    done = detached(path, at, 5, "live", tmp_path, PATH=paths, READY_S="3")

    assert until(lambda: processes(at) == [])
    assert "The watchdog did not start (watching" in require_nothing_done(done, path, at)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the root folder")
def test_a_watchdog_with_another_root_folder_is_none(tmp_path, at):
    """A chroot may share /run, and so systemd; outside of it, paths name other files."""
    root = tmp_path / "root"
    root.mkdir()
    # The same folder, mounted a second time: other file systems may be mounted below it.
    way = ("unshare", "-m", "sh", "-c", f'mount --rbind / {root} && exec "$@"', "sh")
    planted(tmp_path, "systemctl", 'kill $(cat "$0.pid")')
    text = SYSTEMD_RUN.replace('setsid "$@"', f'setsid chroot {root} "$@"')
    text = text.replace("&\n", '&\necho $! > "${0%-run}ctl.pid"\n')
    paths, path = planted(tmp_path, "systemd-run", text), tmp_path / "changed"

    done = detached(path, at, 5, "live", tmp_path, way=way, PATH=paths, READY_S="3")

    assert until(lambda: processes(at) == [])
    assert "The watchdog did not start (watching" in require_nothing_done(done, path, at)


@pytest.fixture
def elsewhere():
    """Another network namespace, by the process that is in it."""
    process = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; cat"], stdin=-1, stdout=-1)
    process.stdout.readline()
    yield str(Path(f"/proc/{process.pid}/ns/net").readlink())
    process.communicate()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network namespace")
def test_what_was_changed_in_another_network_is_not_undone_in_this_one(
    value, at, this_machine, monkeypatch, elsewhere
):
    with monkeypatch.context() as then:
        then.setattr("dirtune.change.network.here", lambda: elsewhere)
        name = carry_out(setting(value, "old", "one"), this_machine, at)

    with pytest.raises(NotPossible, match=f"^{name} was made in another network namespace, net:"):
        take_back(at, this_machine)
    with pytest.raises(NotPossible, match="another network namespace"):
        confirm(at, this_machine)

    assert value.read_text() == "one"
    assert state(at) is State.CONFIRMED


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network namespace")
def test_what_another_network_tells_is_not_read_in_this_one(
    value, at, this_machine, monkeypatch, elsewhere
):
    first = carry_out(setting(value, "old", "one"), this_machine, at)
    with monkeypatch.context() as then:
        then.setattr("dirtune.change.network.here", lambda: elsewhere)
        there = carry_out(setting(value, "one", "two"), this_machine, at)
    value.write_text("one")

    (held,) = verify(at, this_machine)

    assert (held.journal, held.holds) == (first, True)
    (said,) = in_effect.elsewhere(at, this_machine)
    assert said.startswith(f"{there} was made in another network namespace, {elsewhere}. Run")
    assert in_effect.elsewhere(at, this_machine, ("net/y",)) == ()


NAMED = """
touch "$1/file" && unshare -n sh -c '
    readlink /proc/self/ns/net >"$1/name" && mount --bind /proc/self/ns/net "$1/file"
' sh "$1" || exit
look() { "$2" -c 'import sys; from dirtune.change import network
print(network.is_elsewhere(sys.argv[1]))' "$(cat "$1/name")"; }
look "$@" && umount "$1/file" && look "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network namespace")
def test_a_network_without_a_process_is_there_while_a_file_anywhere_holds_it(tmp_path):
    argv = ("unshare", "-m", "sh", "-c", NAMED, "sh", tmp_path, sys.executable)

    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["True", "False"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("name", ["form\fx\ffeed", "a\rb\rc", "x\x1cy\x1cz", "\xff"])
def test_no_name_of_a_mount_keeps_a_change_from_being_undone(tmp_path, name):
    """Another user mounts with fusermount(1), where that user likes."""
    (tmp_path / name).mkdir()
    script = 'mount -t tmpfs none "$1" && exec "$2" -c "$3"'
    code = "from dirtune.change import network; print(network.is_elsewhere('net:[1]'))"
    argv = ("unshare", "-m", "sh", "-c", script, "sh", tmp_path / name, sys.executable, code)

    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("False\n", "")


def in_a_network(*options):
    """Return what a process in another network namespace calls its own, and that process."""
    code = "from dirtune.change import network; print(network.here(), flush=True); input()"
    argv = ("unshare", "--net", *options, sys.executable, "-c", code)
    process = subprocess.Popen(argv, cwd=REPOSITORY, stdin=-1, stdout=-1, text=True)
    return process.stdout.readline().strip(), process


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network namespace")
def test_a_network_that_another_user_made_is_not_the_one_whose_number_it_got():
    made, first = in_a_network()
    theirs, second = in_a_network("--user", "--map-root-user")
    number = theirs.split()[0]
    try:
        assert number.startswith("net:[")
        assert network.is_elsewhere(made)
        assert network.is_elsewhere(number)  # as an older version wrote it
        assert not network.is_elsewhere(made.replace(made.split()[0], number))
    finally:
        first.communicate("\n")
        second.communicate("\n")
    assert not network.is_elsewhere(made)
    assert not network.is_elsewhere(network.here())


def test_what_was_changed_in_a_network_that_is_gone_is_undone(
    value, at, this_machine, monkeypatch
):
    with monkeypatch.context() as then:
        then.setattr("dirtune.change.network.here", lambda: "net:[1]")
        carry_out(setting(value, "old", "one"), this_machine, at)

    take_back(at, this_machine)

    assert value.read_text().strip() == "old"


LINK = """
ip link add v0 type veth && ip addr add 10.9.9.9/32 dev v0 && ip link set v0 $1
echo $2 > /proc/sys/net/ipv4/ip_forward
"""
IN_A_NETWORK = """
import sys
from pathlib import Path
from dirtune.change.actions.add_address import AddAddress
from dirtune.change.actions.set_value import SetValue
from dirtune.change.actions.switch_on import SwitchOn
from dirtune.change.plan import Change, Plan
from dirtune.change.in_effect import verify
from dirtune.change.transaction import Place, carry_out, take_back
from dirtune.checks import Risk
from dirtune.host import WritableHost

at, host, file = Place(Path(sys.argv[1]), Path(sys.argv[2])), WritableHost(), sys.argv[3]
actions = (
    SwitchOn("v0"),
    AddAddress("v0", "10.9.9.8/32"),
    SetValue("/proc/sys/net/ipv4/ip_forward", "0", "1"),
    SetValue(file, "old", "new"),
)
if sys.argv[4] == "apply":
    changes = tuple(Change(action, Risk.SAFE, "net/x", "f", "t") for action in actions)
    carry_out(Plan(changes), host, at)
else:
    print([held.holds for held in verify(at, host)])
    print(take_back(at, host).note)
"""
REMOVED_NETWORK = f"""
set -e; mount -t sysfs none /sys; mount -t tmpfs none /run
run() {{ "$PYTHON" -c "$CODE" "$STATE" "$RUN" "$FILE" $1; }}
link() {{ {LINK}
}}
link up 1; ip addr add 10.9.9.8/32 dev v0
ip netns add lb
export -f run link
ip netns exec lb bash -c 'set -e; link down 0; run apply'
ip netns del lb
# The kernel removes the namespace a moment later.
sleep 0.3
if [ "$1" = reboot ]; then
    echo another > "$RUN/../boot_id"
    mount --bind "$RUN/../boot_id" /proc/sys/kernel/random/boot_id
    ip netns add lb
fi
run back
ip -o link show v0; ip -o addr show v0; cat /proc/sys/net/ipv4/ip_forward "$FILE"
"""


FORWARD = SetValue("/proc/sys/net/ipv4/ip_forward", "0", "1")


def test_a_kept_change_of_a_network_that_a_reboot_removed_cannot_be_confirmed(
    value, at, this_machine, monkeypatch
):
    change = Change(FORWARD, Risk.SAFE, "net/x", "set", "t")
    with monkeypatch.context() as then:
        then.setattr("dirtune.change.network.is_main", lambda: False)
        then.setattr(SetValue, "save", lambda *_: Saved("0"))
        then.setattr(SetValue, "make", lambda *_: None)
        then.setattr(SetValue, "require_made", lambda *_: None)
        name = carry_out(Plan((change,)), this_machine, at)
    monkeypatch.setattr("dirtune.change.transaction.boot_id", lambda _host: "another")

    with pytest.raises(ApplyError, match=f"^{name} was made in a network namespace that is gone"):
        confirm(at, this_machine)

    (held,) = verify(at, this_machine)
    assert (held.holds, held.by) == (False, ())
    assert take_back(at, this_machine).note.startswith(f"{name} was made in a network")


@pytest.mark.parametrize("main", [True, False])
def test_after_a_reboot_the_changes_of_the_main_network_are_undone_there_alone(
    value, at, this_machine, monkeypatch, main
):
    with monkeypatch.context() as then:
        then.setattr("dirtune.change.network.is_main", lambda: True)
        name = carry_out(setting(value, "old", "one"), this_machine, at)
    monkeypatch.setattr("dirtune.change.transaction.boot_id", lambda _host: "another")
    monkeypatch.setattr("dirtune.change.network.is_main", lambda: main)

    if main:
        assert take_back(at, this_machine).note == ""
    else:
        with pytest.raises(NotPossible, match=f"^{name} was made in the network .* nsenter"):
            take_back(at, this_machine)

    assert value.read_text().strip() == ("old" if main else "one")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network namespace")
@pytest.mark.parametrize("by", ["removal", "reboot"])
def test_the_settings_of_a_network_that_is_gone_are_not_set_in_another(value, at, by):
    """The names are the same, but they are another interface and another sysctl."""
    environ = {"STATE": at.state, "RUN": at.run, "FILE": value, "CODE": IN_A_NETWORK}
    argv = ("unshare", "-mnpf", "--mount-proc", "bash", "-c", REMOVED_NETWORK, "bash", by)

    done = subprocess.run(
        argv,
        env={**os.environ, **environ, "PYTHON": sys.executable},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    held, note, link, *addresses, forward, text = done.stdout.splitlines()
    assert held == "[False, False, False, True]"
    assert note.endswith(
        " was made in a network namespace that is gone, and its changes there are gone with it."
    )
    assert ",UP" in link
    assert [row.split()[3] for row in addresses if "inet " in row] == [
        "10.9.9.9/32",
        "10.9.9.8/32",
    ]
    assert (forward, text) == ("1", "old")
    assert state(at) is State.ROLLED_BACK


def test_a_folder_with_a_variable_in_its_name_is_that_folder_to_systemd(tmp_path):
    at = Place(tmp_path / "$HOME/${x}", tmp_path / "run")
    paths = planted(tmp_path, "systemd-run", 'echo "$@" > "$0.said"')

    detached(tmp_path / "changed", at, 5, "live", tmp_path, PATH=paths, READY_S="0.2")

    assert f"{tmp_path}/$$HOME/$${{x}}/" in (tmp_path / "bin/systemd-run.said").read_text()


def test_a_zipapp_has_a_watchdog(tmp_path, at):
    """What shiv and PEX make as well: an interpreter that cannot import dirtune by itself."""
    app, source = tmp_path / "app.pyz", tmp_path / "source"
    shutil.copytree(REPOSITORY / "dirtune", source / "dirtune")
    others = f"import sys; sys.path += {[entry for entry in sys.path if 'packages' in entry]}\n"
    (source / "__main__.py").write_text(others + APPLY)
    zipapp.create_archive(source, app)
    path = tmp_path / "changed"
    bare = os.path.realpath(sys.executable)
    alone = subprocess.run((bare, "-I", "-c", "import dirtune"), capture_output=True, check=False)
    assert b"No module named 'dirtune'" in alone.stderr

    argv = (bare, "-I", app, path, at.state, at.run, "2", "live")
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/", timeout=60)

    assert path.read_text() == "new\n", done.stderr
    assert until(lambda: not path.exists())
    assert until(lambda: state(at) is State.ROLLED_BACK)


def test_the_last_is_the_last_within_a_second(host, at):
    names = [carry_out(Plan(), host, at) for _ in range(20)]

    assert sorted(names) == names
    assert journal.find(at.state, None).stem == names[-1]


@BOTH_WAYS
def test_what_a_killed_session_left_is_taken_back_at_once(tmp_path, at, fork):
    path = tmp_path / "changed"

    assert detached(path, at, 1000, "SIGKILL", FORK=fork).returncode == -signal.SIGKILL

    assert until(lambda: not path.exists())
    assert until(lambda: state(at) is State.ROLLED_BACK)


@pytest.mark.parametrize("end", ["SIGTERM", "SIGHUP", "SIGINT", "SIGALRM"])
def test_a_polite_end_undoes_before_it_goes(tmp_path, at, end):
    path = tmp_path / "changed"

    # Without confirmation there is no watchdog to do it.
    assert detached(path, at, 0, end).returncode != 0

    assert not path.exists()
    assert state(at) is State.ROLLED_BACK


def test_a_watchdog_that_is_started_again_waits_for_no_reader(tmp_path, at):
    """The pipe of a killed starter is left, and another process changes this host now."""
    path = tmp_path / "changed"
    name = detached(path, at, 2, "live").stdout.strip()
    (watchdog_,) = processes(at)
    os.kill(watchdog_, signal.SIGKILL)
    os.mkfifo(at.run / f"{name}.ready", 0o600)
    argv = (sys.executable, "-P", "-c", watchdog._PROGRAM, json.dumps(watchdog.importable()))

    with journal.lock(at.run):
        again = subprocess.Popen((*argv, journal.path_of(at.state, name), at.state, at.run))
        assert until(lambda: (1 << signal.SIGTERM - 1) & caught(again.pid))
        time.sleep(0.5)

    try:
        assert again.wait(timeout=10) == 0
    finally:
        again.kill()
    assert not path.exists()


def caught(process):
    """Return the mask of the signals that a process catches."""
    row = next(row for row in status(process).splitlines() if row.startswith("SigCgt:"))
    return int(row.split()[1], 16)


@pytest.mark.parametrize("number", SIGNALS)
@BOTH_WAYS
def test_a_watchdog_that_is_told_to_end_takes_the_change_back_first(tmp_path, at, fork, number):
    path = tmp_path / "changed"
    detached(path, at, 1000, "live", FORK=fork)
    (watchdog_,) = processes(at)

    with journal.lock(at.run):  # as a confirmation on its way
        os.kill(watchdog_, number)
        os.kill(watchdog_, number)
        time.sleep(0.3)
        assert path.exists()

    assert until(lambda: processes(at) == [])
    assert not path.exists()
    last = journal.load(journal.find(at.state, None)).rest[-1]
    words = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert last == RolledBack(f"its watchdog was {words}")


def test_a_watchdog_that_is_told_to_end_leaves_what_is_confirmed(tmp_path, at):
    path = tmp_path / "changed"
    detached(path, at, 1000, "live")
    (watchdog_,) = processes(at)

    with journal.lock(at.run):
        os.kill(watchdog_, signal.SIGTERM)
        journal.append(journal.find(at.state, None), Confirmed())

    assert until(lambda: processes(at) == [])
    assert path.read_text() == "new\n"
    assert state(at) is State.CONFIRMED


def test_a_watchdog_without_a_journal_ends_at_once(tmp_path, at):
    """Who did not hear it in time holds the lock until it has ended."""
    path = journal.path_of(at.state, "000001-x")
    argv = (sys.executable, "-P", "-c", watchdog._PROGRAM, json.dumps(watchdog.importable()))
    with journal.lock(at.run):
        process = subprocess.Popen((*argv, path, at.state, at.run), stderr=subprocess.PIPE)
        assert until(lambda: "SigCgt:\t0000000036886a03" in status(process.pid))

        process.terminate()

        _, complaint = process.communicate(timeout=10)
    assert (process.returncode, complaint) == (0, b"")


def status(process):
    """Return what proc(5) says of a process.

    Once it watches, it catches signals 1, 2 and 15, and 10, 12, 14, 24, 26, 27, 29 and 30, which
    are handled like 15; while it waits for the lock also 20, Ctrl-Z.
    """
    return Path(f"/proc/{process}/status").read_text()


UNDO_EVERY_KIND = """
import sys
from dirtune.change import watchdog
from dirtune.change.action import Saved
from dirtune.change.actions.add_address import AddAddress
from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.run import Run
from dirtune.change.actions.set_default_route import SetDefaultRoute
from dirtune.change.actions.set_nic import SetNic
from dirtune.change.actions.set_value import SetValue
from dirtune.change.actions.switch_on import SwitchOn
from dirtune.change.apply import roll_back
from dirtune.host import WritableHost

feature = "tx-generic-segmentation"
done = (
    (SetNic("v0", "features", {feature: 0}, {feature: 1}), Saved(values={feature: 0})),
    (AddAddress("v0", "10.9.9.9/32"), Saved()),
    (SetValue("/proc/sys/net/ipv4/ip_forward", "0", "1"), Saved(text="0\\n")),
    (SwitchOn("v0"), Saved()),
    (SetDefaultRoute((), "dev v1"), Saved()),
    (PutFile("/etc/none-such", None, "text"), Saved()),
    (Run(undo_argv=("true",)), Saved()),
)
watchdog.main(*sys.argv[1:], *(name for action, _ in done for name in action.late_imports))
before = {*sys.modules}
print(roll_back(done, WritableHost()), sorted({*sys.modules} - before))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network namespace")
def test_a_watchdog_that_watches_imports_nothing_more(tmp_path, at):
    """Then its package or its zipapp may be replaced, or be beyond the interface that changed."""
    script = f'mount -t sysfs none /sys; link() {{ {LINK} }}; link up 1 && exec "$@"'
    argv = ("unshare", "-mn", "sh", "-c", script, "sh", sys.executable, "-c", UNDO_EVERY_KIND)

    done = subprocess.run(
        (*argv, at.state / "000001-x.journal", at.state, at.run),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("() []\n", "")


def test_renewed_it_stays_and_not_renewed_it_goes(tmp_path, at):
    """The loop's lease: only what the director itself keeps alive stays."""
    path = tmp_path / "changed"
    assert detached(path, at, 3, "live").returncode == 0
    here = WritableHost()

    begun_s = time.monotonic()
    while time.monotonic() - begun_s < 5:
        assert renew(at, here).state is State.APPLIED
        time.sleep(0.5)
    assert path.exists(), "longer than its time, for it was renewed"

    assert until(lambda: not path.exists())
    assert until(lambda: state(at) is State.ROLLED_BACK)
    with pytest.raises(ApplyError, match="was rolled back"):
        renew(at, here)


@pytest.mark.usefixtures("unarmed")
def test_what_is_kept_needs_no_renewal(host, at):
    carry_out(unbind(host), host, at, confirm_s=100)
    confirm(at, host)

    assert renew(at, host).already
    assert state(at) is State.CONFIRMED


@pytest.mark.parametrize("confirm_s", [float("inf"), float("nan")])
@pytest.mark.usefixtures("unarmed")
def test_what_its_journal_cannot_hold_is_not_changed(value, at, this_machine, confirm_s):
    """JSON has no such number: the journal of the change would be one that nobody can read."""
    with pytest.raises(NotPossible, match="could not be read back"):
        carry_out(setting(value, "old", "one"), this_machine, at, confirm_s=confirm_s)

    assert value.read_text() == "old\n"
    assert notices(at, this_machine) == ()
