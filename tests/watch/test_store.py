"""The folder of evidence: complete captures only, and not too many of them."""

import os
import shutil

import pytest

from dirtune.errors import NotPossible
from dirtune.signals import Ended
from dirtune.watch import store


def kept(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def fill(opened, name, size=10):
    with opened.draft(name) as (draft, final):
        (draft / "report.md").write_bytes(b"x" * size)
    return final


def interrupted(opened):
    with opened.draft("20261201T030000Z-x") as (draft, _):
        (draft / "half").touch()
        raise Ended(15)


def test_a_capture_is_complete_or_absent(tmp_path):
    with store.opened(tmp_path / "a/b") as opened:
        with pytest.raises(Ended):
            interrupted(opened)
        assert kept(tmp_path / "a/b") == []
        final = fill(opened, "20261201T030000Z-x")
        again = fill(opened, "20261201T030000Z-x")

    assert [final.name, again.name] == ["20261201T030000Z-x", "20261201T030000Z-x.2"]
    assert kept(tmp_path / "a/b") == [final.name, again.name]
    assert final.stat().st_mode & 0o777 == 0o700


def test_what_a_killed_watch_left_is_removed(tmp_path):
    (tmp_path / ".20261201T030000Z-x.new").mkdir()
    (tmp_path / ".mine.new").mkdir()

    with store.opened(tmp_path):
        assert kept(tmp_path) == [".mine.new"]


def test_the_oldest_captures_go_and_the_newest_stays(tmp_path):
    (tmp_path / "notes").mkdir()
    with store.opened(tmp_path) as opened:
        paths = [fill(opened, f"20261201T03000{n}Z-x", 400) for n in range(4)]

        assert opened.trim(1600) == ()
        assert opened.trim(900) == tuple(paths[:2])
        assert opened.trim(1) == (paths[2],)
    assert kept(tmp_path) == ["20261201T030003Z-x", "notes"]


def test_two_watches_share_no_folder(tmp_path):
    with (
        store.opened(tmp_path),
        pytest.raises(NotPossible, match="Another"),
        store.opened(tmp_path),
    ):
        pass


@pytest.mark.parametrize(("mode", "owner"), [(0o777, None), (0o770, None), (0o700, 65534)])
def test_a_folder_that_others_can_write_is_refused(tmp_path, mode, owner):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    if owner is not None:
        if os.geteuid() != 0:
            pytest.skip("only root can give a folder away")
        os.chown(folder, owner, owner)

    with pytest.raises(NotPossible, match="Other users can write"), store.opened(folder):
        pass


def test_folders_that_vanish_while_they_are_counted_do_no_harm(tmp_path, monkeypatch):
    with store.opened(tmp_path / "kept") as opened:
        paths = [fill(opened, f"20261201T03000{n}Z-x", 400) for n in range(2)]
        monkeypatch.setattr(store.Store, "_folders", lambda self: iter(paths))
        shutil.rmtree(paths[0])
        assert opened.trim(1000) == ()
        monkeypatch.undo()
        shutil.rmtree(tmp_path / "kept")
        assert opened.trim(1) == ()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "target")

    with pytest.raises(NotPossible), store.opened(tmp_path):
        pass
    assert not os.path.lexists(tmp_path / "target")
