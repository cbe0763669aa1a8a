"""The lab's folder: its own alone to be removed, and nobody else's to fill."""

import os

import pytest

from dirtune.errors import LabError
from dirtune.lab import cgroups, clearing, state

NOBODY = 65534


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("DIRTUNE_LAB", str(tmp_path / "in/lab"))
    monkeypatch.setattr(cgroups, "find", lambda path: ())
    monkeypatch.setattr(cgroups, "remove_when_empty", lambda groups: True)
    (tmp_path / "in/lab").mkdir(parents=True)
    return tmp_path / "in/lab"


@pytest.mark.parametrize("end", [clearing.clear, clearing.end])
def test_a_folder_that_holds_something_and_no_lab_is_not_removed(path, end):
    (path / "opt").mkdir()
    (path / "opt/thesis").write_text("years\n")

    with pytest.raises(LabError, match=f"^{path}: holds opt, and no lab. Name a folder of its"):
        end(state.folder())

    assert (path / "opt/thesis").read_text() == "years\n"


def test_a_file_is_no_folder_of_a_lab(path):
    path.rmdir()
    path.write_text("x")

    with pytest.raises(LabError, match=f"^{path}: Not a directory$"):
        clearing.clear(state.folder())

    assert path.read_text() == "x"


@pytest.mark.parametrize("names", [(), (".spec.new",), ("spec.json", "opt", "node")])
def test_a_lab_that_was_killed_at_any_time_is_removed(path, names):
    for name in names:
        (path / name).touch()

    clearing.clear(state.folder())

    assert not path.exists()
    clearing.clear(state.folder())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("link", [False, True])
def test_a_folder_that_another_user_could_exchange_is_no_labs(path, above, link):
    theirs = path.parent if above else path
    if link:
        theirs.rename(path.parents[1] / "beside")
        theirs.symlink_to(path.parents[1] / "beside")
    os.lchown(theirs, NOBODY, NOBODY)

    with pytest.raises(LabError, match=f"^{theirs}: belongs to user {NOBODY}, who could exchange"):
        state.folder()
