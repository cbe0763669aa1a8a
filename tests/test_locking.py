"""One place takes locks and one has a folder on the disk; flock(1) is who holds them here."""

import math
import subprocess
import time
from pathlib import Path

import pytest

import dirtune
from dirtune import locking

PACKAGE = Path(dirtune.__file__).parent


@pytest.fixture
def held(tmp_path):
    """A file whose lock another process has."""
    path = tmp_path / "lock"
    path.touch()
    argv = ("flock", str(path), "-c", "echo; read line")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"\n"
        yield path, process
        process.stdin.close()


def test_a_lock_that_another_has_is_not_taken_and_is_waited_for(held):
    path, process = held
    with path.open() as file:
        assert locking.is_taken(file)
        assert not locking.take(file)
        began = time.monotonic()
        assert not locking.take(file, wait_s=0.2)
        assert time.monotonic() - began >= 0.2
        process.stdin.close()
        assert locking.take(file, wait_s=math.inf)


def test_a_lock_is_this_files_until_it_is_closed(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    with path.open() as other:
        with path.open() as file:
            assert locking.take(file.fileno())
            assert locking.is_taken(other)
            assert not locking.take(other)
        assert not locking.is_taken(other)


@pytest.mark.parametrize(
    ("call", "places"),
    [
        ("flock(", {"locking.py"}),
        # Of a folder in the first alone; the others have what they write on the disk.
        ("fsync(", {"writing.py", "host/writable.py", "change/journal.py"}),
    ],
)
def test_there_is_one_place_for_it(call, places):
    calling = {p for p in PACKAGE.rglob("*.py") if f".{call}" in p.read_text()}

    assert {path.relative_to(PACKAGE).as_posix() for path in calling} == places
