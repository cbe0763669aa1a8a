"""Files that a fix puts in place: not through a link, and no looser than they were."""

import errno
import os
import struct
from pathlib import Path

import pytest

from dirtune.change import journal
from dirtune.change.actions.put_file import PutFile
from dirtune.change.apply import apply, roll_back
from dirtune.change.plan import Plan
from dirtune.change.transaction import Place, carry_out, confirm, renew, take_back
from dirtune.errors import ApplyError, NotPossible
from dirtune.host import FileContents, WritableHost

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


class Kept:
    def __init__(self):
        self.saved = []

    def begun(self, index, saved):
        self.saved.append(saved)

    def applied(self):
        pass

    def undone(self, stuck, left=None):
        pass


@pytest.fixture(autouse=True)
def _loose():
    """Nothing may rest on a umask."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_text("old\n")
    path.chmod(0o644)
    return path


def put(path, mode, before="old\n"):
    """Apply and return how to take it back."""
    action, kept = PutFile(str(path), before, "new\n", mode), Kept()
    apply((action,), WritableHost(), kept)
    return [(action, kept.saved[0])]


def mode(path):
    return path.stat().st_mode & 0o7777


def test_bytes_of_another_are_not_rewritten_as_escapes(path):
    path.write_bytes(b"# Gr\xfc\xdfe\nold\n")
    before = WritableHost().read(str(path))

    with pytest.raises(ApplyError, match="bytes that are not UTF-8"):
        apply((PutFile(str(path), before, f"{before}new\n"),), WritableHost(), Kept())

    assert path.read_bytes() == b"# Gr\xfc\xdfe\nold\n"
    path.write_text("# Grüße\n", encoding="utf-8")
    (done,) = put(path, 0o644, "# Grüße\n")
    assert roll_back([done], WritableHost()) == ()
    assert path.read_text(encoding="utf-8") == "# Grüße\n"


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        (0o600, 0o644, 0o600),
        (0o640, 0o644, 0o640),
        (0o644, 0o600, 0o600),
        (0o644, 0o644, 0o644),
        (0o600, 0o755, 0o700),  # a program that only root could read
        (0o640, 0o755, 0o750),
        (0o644, 0o755, 0o755),
        (0o200, 0o755, 0o200),
        (0o4755, 0o755, 0o755),
    ],
)
def test_a_file_is_never_looser_than_it_was(path, before, wanted, after):
    path.chmod(before)

    done = put(path, wanted)

    assert (path.read_text(), mode(path)) == ("new\n", after)
    assert roll_back(done, WritableHost()) == ()
    assert (path.read_text(), mode(path)) == ("old\n", before)


def test_a_new_file_has_the_mode_of_the_plan(tmp_path):
    put(tmp_path / "new", 0o640, None)

    assert mode(tmp_path / "new") == 0o640


def test_a_folder_that_is_made_for_a_file_is_closed_to_other_writers(tmp_path):
    put(tmp_path / "made/new", 0o644, None)

    assert mode(tmp_path / "made") == 0o755


@as_root
def test_a_file_keeps_its_owner(path):
    os.chown(path, NOBODY, 7)

    done = put(path, 0o644)

    assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, 7)
    roll_back(done, WritableHost())
    assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, 7)


@as_root
def test_a_file_keeps_its_access_list(path):
    """Without it the mask, which st_mode shows, would be the rights of the group."""
    # acl(5): the owner rw, nobody r, the group none, the mask rw, others none.
    entries = ((1, 6, -1), (2, 4, NOBODY), (4, 0, -1), (16, 6, -1), (32, 0, -1))
    packed = b"".join(struct.pack("<HHi", *entry) for entry in entries)
    access = struct.pack("<I", 2) + packed
    try:
        os.setxattr(path, "system.posix_acl_access", access)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip("the file system has no access lists")

    done = put(path, 0o644)

    # What the plan's mode leaves of it: the mask r.
    kept = os.getxattr(path, "system.posix_acl_access")
    rights = {struct.unpack("<HHi", kept[at : at + 8])[:2] for at in range(4, len(kept), 8)}
    assert {(2, 4), (4, 0), (32, 0)} <= rights
    roll_back(done, WritableHost())
    assert os.getxattr(path, "system.posix_acl_access") == access


def test_a_copy_is_never_readable_by_more_than_the_file(path, monkeypatch):
    seen = []
    for name in ("fchown", "fchmod", "fsync"):
        call = getattr(os, name)

        def look(descriptor, *args, name=name, call=call):
            seen.append((name, os.fstat(descriptor).st_mode & 0o777))
            return call(descriptor, *args)

        monkeypatch.setattr(os, name, look)

    WritableHost().replace(str(path), FileContents(b"secret\n", 0o400, os.geteuid(), 0))

    assert seen[:3] == [("fchown", 0o600), ("fchmod", 0o600), ("fsync", 0o400)]


@pytest.mark.parametrize("plant", ["symlink_to", "hardlink_to"])
def test_a_copy_is_not_written_through_what_lies_in_its_place(path, tmp_path, plant):
    (tmp_path / "victim").write_text("theirs\n")
    getattr(tmp_path / ".file.dirtune-new", plant)(tmp_path / "victim")

    put(path, 0o644)

    assert (tmp_path / "victim").read_text() == "theirs\n"
    assert path.read_text() == "new\n"
    assert not path.is_symlink()


@pytest.mark.parametrize("plant", ["symlink_to", "hardlink_to"])
def test_a_copy_is_not_written_through_what_is_planted_in_between(
    path, tmp_path, monkeypatch, plant
):
    (tmp_path / "victim").write_text("theirs\n")
    unlink = Path.unlink

    def planting(self, missing_ok=False):
        unlink(self, missing_ok)
        getattr(self, plant)(tmp_path / "victim")

    monkeypatch.setattr(Path, "unlink", planting)

    with pytest.raises(ApplyError, match="File exists"):
        WritableHost().replace(str(path), FileContents(b"new\n", 0o644, os.geteuid(), 0))
    assert (tmp_path / "victim").read_text() == "theirs\n"
    assert path.read_text() == "old\n"


def test_a_link_is_not_followed(path, tmp_path):
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")

    for name in ("link", "dead"):
        with pytest.raises(ApplyError, match="is a symbolic link"):
            WritableHost().contents(str(tmp_path / name))
    with pytest.raises(ApplyError, match="is a symbolic link"):
        put(tmp_path / "link", 0o644)
    assert path.read_text() == "old\n"


@pytest.mark.timeout(20)
def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(ApplyError, match="is not a regular file"):
        WritableHost().contents(str(tmp_path / "fifo"))
    assert WritableHost().contents(str(tmp_path / "none")) is None


@pytest.mark.parametrize("settle", [confirm, renew, take_back])
def test_what_settles_a_change_waits_for_the_lock(tmp_path, settle, monkeypatch):
    monkeypatch.setattr("dirtune.change.watchdog.arm", lambda *_: 0)
    at = Place(tmp_path / "state", tmp_path / "run")
    carry_out(Plan(), WritableHost(), at, confirm_s=100)
    before = journal.load(journal.find(at.state, None))

    with journal.lock(at.run), pytest.raises(NotPossible, match="is changing this host"):
        settle(at, WritableHost())

    assert journal.load(journal.find(at.state, None)) == before


@pytest.mark.parametrize("settle", [confirm, renew, take_back])
def test_what_settles_a_change_holds_the_lock(tmp_path, settle, monkeypatch):
    monkeypatch.setattr("dirtune.change.watchdog.arm", lambda *_: 0)
    at = Place(tmp_path / "state", tmp_path / "run")
    carry_out(Plan(), WritableHost(), at, confirm_s=100)
    locked, append = [], journal.append

    def look(path, record):
        locked.append(journal.locked(at.run))
        append(path, record)

    monkeypatch.setattr(journal, "append", look)
    settle(at, WritableHost())

    assert locked
    assert all(locked)


@pytest.mark.parametrize(
    ("work", "why"),
    [
        (lambda host, at: host.write(f"{at}/none/x", "1"), "none/x: No such file or directory"),
        (lambda host, at: host.make_folder(f"{at}/full"), "full: File exists"),
        (lambda host, at: host.remove_folder(f"{at}/full"), "full: Directory not empty"),
        (lambda host, at: host.remove(f"{at}/full"), "full: Is a directory"),
        (lambda host, at: host.contents(f"{at}/full/x/y"), "full/x/y: Not a directory"),
    ],
)
def test_what_the_kernel_refuses_is_an_error(tmp_path, work, why):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()

    with pytest.raises(ApplyError, match=why):
        work(WritableHost(), tmp_path)


def test_a_file_that_could_not_be_written_leaves_nothing_beside_it(tmp_path, monkeypatch):
    """Otherwise a folder of drop-ins would keep half a file."""
    (tmp_path / "x.conf").write_text("old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    host = WritableHost(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ApplyError, match="No space left on device"):
        host.replace("/x.conf", host.new_contents(b"new", 0o644))

    assert [path.name for path in tmp_path.iterdir()] == ["x.conf"]
    assert (tmp_path / "x.conf").read_text() == "old"
