"""Folders and files of root's alone: whatever umask says, and whatever others planted."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dirtune.change import journal, private
from dirtune.change.plan import Plan
from dirtune.change.record import Confirmed, Planned
from dirtune.change.transaction import Place, carry_out, notices, take_back
from dirtune.errors import NotPossible
from dirtune.host import WritableHost

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


@pytest.fixture
def at(tmp_path):
    return Place(tmp_path / "new/state", tmp_path / "run")


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(at):
    return {
        path.name if path.suffix != ".journal" else "journal": path.stat().st_mode & 0o7777
        for folder in (at.state, at.run)
        for path in (folder, *folder.iterdir())
    }


@as_root
@pytest.mark.usefixtures("umask")
def test_only_root_can_look_whatever_umask_says(at):
    carry_out(Plan(), WritableHost(), at)

    assert modes(at) == {"state": 0o700, "journal": 0o600, "run": 0o700, "lock": 0o600}
    assert at.state.parent.stat().st_mode & 0o022 == 0


def test_what_an_older_version_made_is_closed_to_others(at):
    carry_out(Plan(), WritableHost(), at)
    for path in (at.state, at.run):
        path.chmod(0o755)
    for path in (*at.state.iterdir(), *at.run.iterdir()):
        path.chmod(0o644)

    take_back(at, WritableHost())

    assert modes(at) == {"state": 0o700, "journal": 0o600, "run": 0o700, "lock": 0o600}


# All that reads or changes what is kept there.
USES = {
    "apply": lambda at: carry_out(Plan(), WritableHost(), at),
    "rollback": lambda at: take_back(at, WritableHost()),
    "notices": lambda at: notices(at, WritableHost()),
    "find": lambda at: journal.find(at.state, None),
}


@pytest.fixture
def used(at):
    carry_out(Plan(), WritableHost(), at)
    return at


def refusal(use, at):
    with pytest.raises(NotPossible) as refused:
        USES[use](at)
    (line,) = str(refused.value).splitlines()
    return line


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("mode", [0o775, 0o707, 0o777])
def test_a_folder_that_others_can_write_to_is_refused(used, use, mode):
    used.state.chmod(mode)

    assert f"run: chmod go= {used.state}" in refusal(use, used)
    assert used.state.stat().st_mode & 0o7777 == mode


@pytest.mark.parametrize("use", USES)
def test_a_folder_that_is_not_dirtunes_alone_is_not_closed_to_others(used, use):
    """With DIRTUNE_STATE=/run nobody else could use the machine any more."""
    used.state.chmod(0o755)
    (used.state / "utmp").touch()

    line = refusal(use, used)

    assert "contains utmp, which is not dirtune's. Set DIRTUNE_STATE" in line
    assert used.state.stat().st_mode & 0o777 == 0o755
    (used.state / "utmp").rename(used.state / "x.journal.damaged")
    assert journal.find(used.state, None)
    assert used.state.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("use", USES)
def test_what_is_no_folder_is_refused(at, use):
    at.state.parent.mkdir()
    at.state.write_text("")

    assert f"{at.state}: Not a directory" in refusal(use, at)


@pytest.mark.parametrize("use", USES)
def test_tmp_is_refused_and_left_as_it_is(used, use):
    used.state.chmod(0o1777)

    assert "is writable by all users (mode 1777). Set DIRTUNE_STATE" in refusal(use, used)
    assert used.state.stat().st_mode & 0o7777 == 0o1777


@as_root
@pytest.mark.parametrize("use", USES)
def test_a_folder_of_another_user_is_refused(used, use):
    os.chown(used.state, NOBODY, NOBODY)

    assert "state belongs to user 65534" in refusal(use, used)


@pytest.mark.parametrize("use", USES)
def test_a_link_to_a_folder_is_not_followed(used, use, tmp_path):
    used.state.rename(tmp_path / "theirs")
    used.state.symlink_to(tmp_path / "theirs")

    assert "state is a symbolic link, which dirtune does not follow" in refusal(use, used)


@pytest.mark.parametrize("use", USES)
def test_a_folder_that_others_could_exchange_is_refused(used, use):
    used.state.parent.chmod(0o777)

    assert f"could replace {used.state}. Run: chmod go-w" in refusal(use, used)


@as_root
@pytest.mark.parametrize("use", USES)
def test_a_folder_within_another_users_is_refused(used, use):
    os.chown(used.state.parent, NOBODY, NOBODY)

    assert f"new belongs to user 65534, who could replace {used.state}" in refusal(use, used)


def through(at, *links):
    """Return the place by way of *links*, of which each leads to the next and the last to it."""
    for link, to in zip(links, (*links[1:], at.state.parent), strict=True):
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(to)
    return Place(links[0] / at.state.name, at.run)


@as_root
@pytest.mark.parametrize("use", USES)
def test_a_folder_that_links_lead_to_through_another_users_is_refused(used, use, tmp_path):
    linked = through(used, tmp_path / "way", tmp_path / "theirs/link")
    os.chown(tmp_path / "theirs", NOBODY, NOBODY)

    assert "theirs belongs to user 65534, who could replace" in refusal(use, linked)


@as_root
@pytest.mark.parametrize("use", USES)
def test_a_folder_that_another_users_link_leads_to_is_refused(used, use, tmp_path):
    linked = through(used, tmp_path / "way")
    os.lchown(tmp_path / "way", NOBODY, NOBODY)

    assert "way belongs to user 65534, who could replace" in refusal(use, linked)


@as_root
@pytest.mark.parametrize("use", USES)
def test_a_link_to_what_lies_in_another_users_folder_is_refused(used, use, tmp_path):
    linked = through(used, tmp_path / "way")
    os.chown(used.state.parent, NOBODY, NOBODY)

    assert "new belongs to user 65534, who could replace" in refusal(use, linked)


def test_a_folder_that_own_links_lead_to_is_used(used, tmp_path):
    linked = through(used, tmp_path / "way", tmp_path / "on/link")

    assert journal.find(linked.state, None)


def test_a_link_that_is_planted_between_look_and_use_is_not_followed(used, tmp_path, monkeypatch):
    (path,) = at_journals(used)
    path.rename(tmp_path / "beside")
    path.symlink_to(tmp_path / "beside")
    monkeypatch.setattr(private, "_linked", lambda within, name: False)

    with pytest.raises(NotPossible, match="symbolic links"):
        journal.load(path)

    used.state.rename(tmp_path / "theirs")
    used.state.symlink_to(tmp_path / "theirs")
    monkeypatch.setattr(Path, "is_symlink", lambda self: False)
    with pytest.raises(NotPossible, match="state: Not a directory"):
        journal.find(used.state, None)


def test_a_folder_below_one_that_all_write_to_as_tmp_is_used(used):
    used.state.parent.chmod(0o1777)

    assert journal.find(used.state, None)


@pytest.mark.parametrize("use", ["apply", "rollback"])
def test_the_run_folder_is_checked_as_well(used, use):
    used.run.chmod(0o777)

    assert f"run: chmod go= {used.run}" in refusal(use, used)


def linked(path, beside):
    path.rename(beside)
    path.symlink_to(beside)


def hard_linked(path, beside):
    os.link(path, beside)


def writable(path, beside):
    path.chmod(0o666)


def given_away(path, beside):
    os.chown(path, NOBODY, NOBODY)


def fifo(path, beside):
    path.unlink()
    os.mkfifo(path)


def folder(path, beside):
    path.unlink()
    path.mkdir()


PLANTED = {
    linked: "is a symbolic link",
    hard_linked: "has 2 hard links",
    writable: "is writable by other users (mode 0666)",
    given_away: "belongs to user 65534",
    fifo: "is not a regular file",
    folder: "",
}


@as_root
@pytest.mark.timeout(20)
@pytest.mark.parametrize("plant", PLANTED)
def test_a_journal_that_is_not_roots_alone_is_never_executed(used, plant, tmp_path):
    (path,) = at_journals(used)
    plant(path, tmp_path / "beside")

    with pytest.raises(NotPossible) as refused:
        take_back(used, WritableHost(), path.stem)

    assert f"{path} {PLANTED[plant]}" in str(refused.value)
    (line,) = notices(used, WritableHost())
    assert f"{path} {PLANTED[plant]}" in line


def at_journals(at):
    return tuple(at.state.glob("*.journal"))


@as_root
@pytest.mark.parametrize("plant", [linked, hard_linked, writable, given_away, fifo])
def test_nothing_is_added_to_a_journal_that_is_not_roots_alone(used, plant, tmp_path):
    (path,) = at_journals(used)
    before = path.read_bytes()
    plant(path, tmp_path / "beside")

    with pytest.raises(NotPossible):
        journal.append(path, Confirmed())

    if plant is not fifo:
        assert path.read_bytes() == before


def test_a_new_journal_is_never_written_through_a_link(tmp_path):
    (tmp_path / "state").mkdir(0o700)
    path = journal.path_of(tmp_path / "state", "a")
    path.symlink_to(tmp_path / "victim")

    with pytest.raises(NotPossible, match="is a symbolic link"):
        journal.create(path, Planned("a", "", "b", (), 0))

    assert not (tmp_path / "victim").exists()


@as_root
def test_the_lock_is_no_link(at, tmp_path):
    at.run.mkdir(0o700)
    (tmp_path / "shadow").write_text("root:x\n")
    (at.run / "lock").symlink_to(tmp_path / "shadow")

    with pytest.raises(NotPossible, match="lock is a symbolic link"):
        carry_out(Plan(), WritableHost(), at)

    assert (tmp_path / "shadow").read_text() == "root:x\n"


HOLD = """
import fcntl, os, sys
os.setuid(65534)
with open(sys.argv[1]) as file:
    fcntl.flock(file, fcntl.LOCK_SH)
"""


@as_root
def test_another_user_cannot_hold_up_a_rollback(used, tmp_path):
    for above in (tmp_path, *tmp_path.parents):
        if above.stat().st_mode & 0o1001 == 0:
            above.chmod(0o711)

    argv = (os.path.realpath(sys.executable), "-I", "-c", HOLD, used.run / "lock")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert "PermissionError" in done.stderr


def test_a_lock_is_seen_by_who_may_look(used):
    assert not journal.locked(used.run)
    with journal.lock(used.run):
        assert journal.locked(used.run)
    assert not journal.locked(used.run / "none")


def test_looking_whether_it_is_locked_makes_nothing(tmp_path):
    (tmp_path / "run").mkdir(0o700)

    assert not journal.locked(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_socket_is_no_journal(used):
    (path,) = at_journals(used)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)
        server.bind(path.name)
        os.chdir(here)
        (line,) = notices(used, WritableHost())

    assert str(path) in line


def test_no_descriptor_is_left_open(used, tmp_path):
    before = sorted(Path("/proc/self/fd").iterdir())
    used.state.chmod(0o777)
    refusal("find", used)
    used.state.chmod(0o700)
    (path,) = at_journals(used)
    path.chmod(0o666)
    notices(used, WritableHost())
    with private.folder(used.state) as within, pytest.raises(NotPossible):
        private.opened(within, path, os.O_RDONLY)

    assert sorted(Path("/proc/self/fd").iterdir()) == before
