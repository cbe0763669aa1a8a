"""The watchdog of a dirtune that was sent keeps its folder, and removes it."""

import os
import subprocess
from pathlib import Path

import pytest

from dirtune.change import borrowed


@pytest.fixture
def sent(tmp_path, monkeypatch):
    folder = tmp_path / "dirtune-push.Ab12Cd34"
    python = folder / "cache/dirtune/0.1.0-0123/bin/python3"
    python.parent.mkdir(parents=True)
    (folder / "boot").write_text("a boot\n")
    monkeypatch.setattr("sys.executable", str(python))
    return folder


def test_the_folder_goes_with_the_watchdog_that_ends_last(sent):
    with borrowed.held("J1"), borrowed.held("J2"):
        pass

    borrowed.let_go("J1")
    assert [path.name for path in sent.glob("watch.*")] == ["watch.J2"]
    borrowed.let_go("J2")
    assert not sent.exists()


def test_it_stays_for_a_living_holder_or_if_it_is_kept(sent):
    (sent / f"use.{os.getpid()}").touch()
    borrowed.let_go("J1")
    assert sent.is_dir()

    with subprocess.Popen(("true",)) as dead:
        pass
    (sent / f"use.{os.getpid()}").rename(sent / f"use.{dead.pid}")
    (sent / "kept").touch()
    borrowed.let_go("J1")
    assert sent.is_dir()

    (sent / "kept").unlink()
    borrowed.let_go("J1")
    assert not sent.exists()


def test_a_later_process_with_the_id_of_a_dead_holder_does_not_keep_it(sent):
    use = sent / f"use.{os.getpid()}"
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    use.write_text(f"{fields[19]}\n")
    borrowed.let_go("J1")
    assert sent.is_dir()

    use.write_text(f"{int(fields[19]) - 1}\n")
    borrowed.let_go("J1")
    assert not sent.exists()


def test_a_watchdog_that_did_not_start_holds_nothing(sent):
    (sent / f"use.{os.getpid()}").touch()

    with pytest.raises(ValueError, match="no"), borrowed.held("J1"):
        raise ValueError("no")

    assert list(sent.glob("watch.*")) == []


@pytest.mark.parametrize("name", ["usr", "dirtune-push.", "dirtune-push.x y", "xdirtune-push.ab"])
def test_an_installed_dirtune_has_no_such_folder(tmp_path, monkeypatch, name):
    folder = tmp_path / name
    (folder / "bin").mkdir(parents=True)
    (folder / "boot").touch()
    monkeypatch.setattr("sys.executable", str(folder / "bin/python3"))

    with borrowed.held("J1"):
        assert list(folder.iterdir()) != []
    borrowed.let_go("J1")

    assert sorted(path.name for path in folder.iterdir()) == ["bin", "boot"]
