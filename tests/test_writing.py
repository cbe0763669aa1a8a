"""Output files are whole or not there, and nobody else's where they hold what is root's."""

import errno
import os
import signal
import stat
import subprocess
import sys

import pytest

from dirtune import archive, writing
from dirtune.errors import NotPossible
from dirtune.host import RecordedHost
from dirtune.signals import Ended, interruptible

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")

OLD = b"what was there"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


class Full:
    """A disk that is full after some bytes."""

    def __init__(self, monkeypatch):
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("error", [None, KeyError("x"), KeyboardInterrupt()])
def test_what_fails_leaves_the_old_file_and_nothing_beside(tmp_path, monkeypatch, error):
    path = tmp_path / "report.md"
    path.write_bytes(OLD)
    if error is None:
        Full(monkeypatch)
        error = NotPossible("")

    def write():
        with writing.beside(path) as file:
            file.write(b"half")
            if not isinstance(error, NotPossible):
                raise error

    with pytest.raises(type(error)):
        write()

    assert (path.read_bytes(), names(tmp_path)) == (OLD, ["report.md"])


def test_a_signal_in_a_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "report.md"
    path.write_bytes(OLD)

    def write():
        with writing.beside(path) as file:
            file.write(b"half")
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Ended), interruptible():
        write()

    assert (path.read_bytes(), names(tmp_path)) == (OLD, ["report.md"])


def test_a_reader_never_finds_half_a_file(tmp_path):
    path = tmp_path / "metrics.prom"
    path.write_bytes(OLD)

    with writing.beside(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == OLD

    assert (path.read_bytes(), names(tmp_path)) == (b"new", ["metrics.prom"])


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_modes(tmp_path, umask):
    path, secret, kept = (tmp_path / name for name in ("new", "secret", "kept"))
    secret.write_bytes(OLD)
    secret.chmod(0o644)
    kept.write_bytes(OLD)
    kept.chmod(0o640)
    before = os.umask(umask)
    try:
        writing.replace(path, b"x")
        writing.replace(secret, b"x", private=True)
        writing.replace(kept, b"x")
    finally:
        os.umask(before)

    assert [mode(p) for p in (path, secret, kept)] == [0o666 & ~umask, 0o600, 0o640]


def test_a_snapshot_is_its_owners_alone_and_replaces_at_once(tmp_path):
    path = tmp_path / "host.tgz"
    path.write_bytes(OLD)
    path.chmod(0o644)
    sample = RecordedHost({"/proc/stat": "cpu 1\n"}, {}, taken_s=1.0)

    archive.save([sample], path)

    assert mode(path) == 0o600
    assert archive.load(path)[0].read("/proc/stat") == "cpu 1\n"
    assert names(tmp_path) == ["host.tgz"]


@as_root
@pytest.mark.parametrize(("before", "after"), [(0o4777, 0o755), (0o666, 0o644), (0o600, 0o600)])
def test_a_file_of_another_user_says_nothing_of_who_may_write(tmp_path, before, after):
    path = tmp_path / "planted"
    path.write_bytes(OLD)
    os.chown(path, NOBODY, NOBODY)
    path.chmod(before)

    writing.replace(path, b"x")

    assert (mode(path), path.stat().st_uid) == (after, 0)


def test_a_new_file_is_at_no_time_looser_than_the_old_one(tmp_path, monkeypatch):
    """Who opened it before it was closed would read what is written then."""
    path, created, modes = tmp_path / "secret", os.open, []
    path.touch(0o600)

    def looked_at(name, flags, *args, **options):
        descriptor = created(name, flags, *args, **options)
        if flags & os.O_CREAT:
            modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", looked_at)
    writing.replace(path, b"x")

    assert [*modes, mode(path)] == [0o600, 0o600]


@as_root
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_another_user_put_where_all_may_write_is_not_written_to(tmp_path, kind):
    tmp_path.chmod(0o1777)
    path = tmp_path / "host.tgz"
    if kind == "pipe":
        os.mkfifo(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    else:
        path.symlink_to("/dev/null")
        descriptor = os.open("/dev/null", os.O_RDONLY)
    os.lchown(path, NOBODY, NOBODY)

    with pytest.raises(NotPossible, match=f"^{path} belongs to user {NOBODY} "):
        writing.replace(path, b"x", private=True)

    assert os.read(descriptor, 10) == b""
    os.close(descriptor)


def test_a_link_is_replaced_and_not_followed(tmp_path):
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_bytes(OLD)
    link.symlink_to(victim)

    writing.replace(link, b"new")

    assert (victim.read_bytes(), link.is_symlink()) == (OLD, False)
    assert link.read_bytes() == b"new"


def test_a_file_that_waits_beside_is_not_written_through(tmp_path):
    path, victim = tmp_path / "report.md", tmp_path / "victim"
    victim.write_bytes(OLD)
    (tmp_path / f".report.md.{os.getpid()}.new").symlink_to(victim)

    writing.replace(path, b"new")

    assert (victim.read_bytes(), path.read_bytes()) == (OLD, b"new")


def test_devices_and_pipes_are_written_as_they_are(tmp_path):
    writing.replace(tmp_path / "null", b"x")
    (tmp_path / "null").unlink()
    (tmp_path / "null").symlink_to("/dev/null")
    writing.replace(tmp_path / "null", b"x")
    assert (tmp_path / "null").is_symlink()

    with pytest.raises(NotPossible, match=r"^/dev/full: No space left on device$"):
        writing.replace(writing.Path("/dev/full"), b"x")
    code = (
        "from pathlib import Path; from dirtune import writing; "
        "writing.replace(Path('/dev/stdout'), b'to the pipe')"
    )
    into = tmp_path / "out"
    with into.open("wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert into.read_bytes() == b"to the pipe"
    assert writing.Path("/dev/stdout").is_symlink()


def test_a_tree_is_whole_or_not_there(tmp_path, monkeypatch):
    files = {"apply.sh": ("#!/bin/sh\n", 0o755), "etc/x.conf": ("x\n", 0o644)}
    folder = tmp_path / "new/plan"

    paths = writing.tree(folder, files)
    assert {path: mode(path) for path in paths} == {
        folder / "apply.sh": 0o755,
        folder / "etc/x.conf": 0o644,
    }

    real, calls = os.fsync, []

    def second(handle):
        calls.append(handle)
        if len(calls) == 3:  # a file, its folder, the next file
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", second)
    with pytest.raises(NotPossible, match="No space left on device"):
        writing.tree(tmp_path / "other", files)
    assert names(tmp_path) == ["new"]


def planted_folder(path):
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)


def planted_link(path):
    beside = path.with_name("beside")
    beside.mkdir()
    path.symlink_to(beside)
    os.lchown(path, NOBODY, NOBODY)


def planted_in_between(path):
    """By who sees the first look."""
    planted_folder(path)
    path.rmdir()
    make = writing.Path.mkdir

    def mkdir(self, *args, **options):
        make(path, exist_ok=True)
        os.chown(path, NOBODY, NOBODY)
        return make(self, *args, **options)

    return mkdir


@as_root
@pytest.mark.parametrize("shared", [0o1777, 0o777])
@pytest.mark.parametrize("below", ["", "new"])
@pytest.mark.parametrize("plant", [planted_folder, planted_link, planted_in_between])
def test_a_tree_is_not_written_where_another_user_could_exchange_it(
    tmp_path, monkeypatch, plant, below, shared
):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(shared)
    path = tmp_path / "tmp/plan"
    if mkdir := plant(path):
        monkeypatch.setattr(writing.Path, "mkdir", mkdir)

    with pytest.raises(NotPossible, match=f"^{path} belongs to user {NOBODY} "):
        writing.tree(path / below, {"apply.sh": ("#!/bin/sh\n", 0o755)})

    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []
    assert not (path / "new").exists()


@as_root
def test_a_tree_is_written_below_a_folder_that_all_write_to(tmp_path):
    tmp_path.chmod(0o1777)

    writing.tree(tmp_path / "plan", {"apply.sh": ("#!/bin/sh\n", 0o755)})

    assert (tmp_path / "plan/apply.sh").read_text() == "#!/bin/sh\n"


def test_a_link_that_is_put_there_in_between_is_not_followed(tmp_path, monkeypatch):
    path, victim = tmp_path / "report.md", tmp_path / "victim"
    victim.write_bytes(OLD)
    (tmp_path / f".report.md.{os.getpid()}.new").symlink_to(victim)
    monkeypatch.setattr(writing.Path, "unlink", lambda *_, **__: None)

    with pytest.raises(NotPossible, match="File exists"):
        writing.replace(path, b"new")

    assert victim.read_bytes() == OLD


def test_the_mode_of_a_file_is_not_set_by_its_name(tmp_path, monkeypatch):
    """Who owns the folder may have put a link there by then."""
    victim, rename = tmp_path / "victim", writing.Path.replace
    victim.touch(0o600)

    def exchanged(self, target):
        rename(self, target)
        target.unlink()
        target.symlink_to(victim)

    monkeypatch.setattr(writing.Path, "replace", exchanged)
    writing.tree(tmp_path / "plan", {"apply.sh": ("#!/bin/sh\n", 0o755)})

    assert mode(victim) == 0o600
