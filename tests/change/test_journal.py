import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dirtune.change import journal
from dirtune.change.action import Saved
from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.unbind import Unbind
from dirtune.change.journal import lock
from dirtune.change.plan import Change
from dirtune.change.record import (
    Applied,
    Begun,
    Confirmed,
    Planned,
    RolledBack,
    State,
    Stuck,
)
from dirtune.checks import Risk
from dirtune.errors import NotPossible, ParseError
from dirtune.host import FileContents

CHANGES = (
    Change(Unbind("0000:00:14.0", "ahci", "10", "ahci"), Risk.DISRUPTIVE, "irq/x", "f", "t"),
    Change(PutFile("/etc/x", None, "é\n", 0o755), Risk.REBOOT, "irq/x", "g", "t"),
)
PLANNED = Planned("20260101T000000Z-1", "2026-01-01T00:00:00Z", "boot-1", CHANGES, 120)
FILE = FileContents(b"\xff\x00\n", 0o640, 7, 8)


@pytest.fixture
def path(tmp_path):
    found = journal.path_of(tmp_path / "state", PLANNED.journal)
    journal.create(found, PLANNED)
    return found


def test_what_was_there_comes_back_to_the_byte(path):
    journal.append(path, Begun(0, Saved(handlers=2)))
    journal.append(path, Begun(1, Saved(file=FILE)))

    entry = journal.load(path)

    assert entry.planned == PLANNED
    assert entry.done == (
        (CHANGES[0].action, Saved(handlers=2)),
        (CHANGES[1].action, Saved(file=FILE)),
    )


@pytest.mark.parametrize(
    ("records", "state"),
    [
        ([], State.PLANNED),
        ([Begun(0, Saved())], State.PLANNED),
        ([Begun(0, Saved()), Applied(5)], State.APPLIED),
        ([Applied(5), Confirmed()], State.CONFIRMED),
        ([Applied(5), Stuck(("x",))], State.PLANNED),
        ([Applied(5), Confirmed(), Stuck(("x",))], State.PLANNED),
        ([Applied(5), Confirmed(), RolledBack("asked")], State.ROLLED_BACK),
        ([Stuck(("x",)), RolledBack("asked")], State.ROLLED_BACK),
    ],
)
def test_the_state_is_where_the_records_end(path, records, state):
    for record in records:
        journal.append(path, record)

    assert journal.load(path).state is state


def test_what_needs_no_confirmation_is_kept_once_applied(tmp_path):
    path = journal.path_of(tmp_path, "a")
    journal.create(path, Planned("a", "", "b", CHANGES, 0))
    assert journal.load(path).state is State.PLANNED

    journal.append(path, Applied(5))

    assert journal.load(path).state is State.CONFIRMED


def test_a_torn_record_announces_nothing_and_swallows_nothing(path):
    with path.open("ab") as file:
        file.write(b'{"record":"begun","index":0,"saved":{"text":"half a valu')

    assert journal.load(path).rest == ()
    journal.append(path, Applied(5))
    assert journal.load(path).rest == (Applied(5),)
    assert path.read_bytes().endswith(b"}\n")


def test_a_damaged_line_in_the_middle_is_named(path):
    with path.open("ab") as file:
        file.write(b"rubbish\n")

    with pytest.raises(ParseError, match="line 2"):
        journal.load(path)


def test_a_journal_whose_plan_is_torn_is_none(tmp_path):
    (tmp_path / "20260101T000000Z-1.journal").write_bytes(b'{"record":"pl')

    assert journal.paths(tmp_path) == ()
    assert journal.unfinished(tmp_path) == ()


def test_the_window_closes_by_time_and_by_reboot(path):
    journal.append(path, Applied(1000))
    entry = journal.load(path)

    assert entry.seconds_left("boot-1", 1030) == 90
    assert entry.seconds_left("boot-1", 1120) == 0
    assert entry.seconds_left("boot-2", 3) == 0
    journal.append(path, Confirmed())
    assert journal.load(path).seconds_left("boot-1", 1030) is None


def test_journals_are_found_by_name_and_the_last_by_none(path):
    later = journal.path_of(path.parent, "20260102T000000Z-1")
    journal.create(later, Planned("20260102T000000Z-1", "", "b", (), 0))

    assert journal.find(path.parent, None) == later
    assert journal.find(path.parent, path.stem) == path
    with pytest.raises(NotPossible, match="20260102T000000Z-1"):
        journal.find(path.parent, "nope")
    with pytest.raises(NotPossible, match="dirtune has changed nothing"):
        journal.find(path.parent / "none", None)


def test_a_name_is_used_once(path):
    with pytest.raises(NotPossible, match="Without a journal, dirtune changes nothing"):
        journal.create(path, PLANNED)


def test_what_is_neither_kept_nor_taken_back_is_unfinished(path):
    assert journal.unfinished(path.parent) == (path,)
    journal.append(path, Confirmed())
    assert journal.unfinished(path.parent) == ()


HOLD = """
import pathlib, sys, time
from dirtune.change.journal import lock
with lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_exclude_each_other_and_the_owner_is_named(tmp_path):
    argv = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b"held\n"
        said = f"Process {owner.pid} is changing"
        with pytest.raises(NotPossible, match=said), lock(tmp_path, wait_s=0.1):
            pass
        owner.kill()
        owner.wait()
    with lock(tmp_path):  # a killed owner leaves nothing to clear
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


@pytest.fixture
def room(monkeypatch):
    """Has the disk take so many bytes more; as a kernel does, it takes a part of what is given."""
    left, write = [0], os.write

    def limited(descriptor, data):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = write(descriptor, data[: left[0]])
        left[0] -= taken
        return taken

    def leave(count):
        left[0] = count
        monkeypatch.setattr("os.write", limited)

    return leave


def test_a_disk_that_is_full_leaves_a_journal_as_it_was(path, room):
    journal.append(path, Begun(0, Saved(handlers=2)))
    before = path.read_bytes()
    room(20)

    with pytest.raises(NotPossible, match="No space left on device"):
        journal.append(path, Begun(1, Saved(file=FILE)))

    assert path.read_bytes() == before


def test_no_journal_is_left_that_a_full_disk_tore(tmp_path, room):
    path = journal.path_of(tmp_path, "a")
    room(20)

    with pytest.raises(NotPossible, match="Without a journal, dirtune changes nothing"):
        journal.create(path, PLANNED)

    assert not path.exists()


def test_no_journal_is_made_that_would_be_too_large_to_read(path, tmp_path, monkeypatch):
    monkeypatch.setattr("dirtune.change.journal._LARGEST_BYTES", path.stat().st_size)
    journal.load(path)

    with pytest.raises(NotPossible, match="Apply the plan in parts"):
        journal.create(journal.path_of(tmp_path, "b"), PLANNED)

    assert not journal.path_of(tmp_path, "b").exists()


def test_nothing_is_added_to_what_does_not_begin_with_a_plan(path):
    path.write_bytes(path.read_bytes()[:50])

    with pytest.raises(NotPossible, match="does not begin with a plan"):
        journal.append(path, Applied(5))


STOPPED = """
import os, signal, sys
from pathlib import Path
from dirtune.change import journal

with journal.lock(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGTSTP)
    print("still changing", flush=True)
print("went on", flush=True)
"""


def test_ctrl_z_stops_no_process_that_keeps_all_others_from_changing(tmp_path):
    """The watchdog would wait for the lock until somebody continues the stopped process."""
    argv = (sys.executable, "-c", STOPPED, tmp_path / "run")
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, process_group=0)
    try:
        assert process.stdout.readline() == b"still changing\n"
        for _ in range(200):
            if "State:\tT" in Path(f"/proc/{process.pid}/status").read_text():
                break
            time.sleep(0.05)
        else:
            raise AssertionError("it was not stopped afterwards")
        with lock(tmp_path / "run"):
            pass
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == b"went on\n"
    finally:
        process.kill()
        process.communicate()


def test_the_lock_names_its_holder_alone(tmp_path):
    """The number of an earlier holder may be longer."""
    with lock(tmp_path / "run"):
        (tmp_path / "run/lock").write_text("4194304000\n")
    with lock(tmp_path / "run"):
        assert (tmp_path / "run/lock").read_text() == f"{os.getpid()}\n"
