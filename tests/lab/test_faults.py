"""What this machine may lack: each is one line with its remedy, before anything is started."""

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from dirtune.cli import main
from dirtune.errors import LabError
from dirtune.lab import control, guest, state
from dirtune.lab.spec import Spec


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A machine that has everything, seen from root; nothing of it is started."""
    monkeypatch.setenv("DIRTUNE_LAB", str(tmp_path / "lab"))
    monkeypatch.setattr(control.os, "geteuid", lambda: 0)
    monkeypatch.setattr(control.shutil, "which", lambda name, path=None: f"/usr/bin/{name}")
    monkeypatch.setattr(guest, "kernel_image", lambda kind: tmp_path / "vmlinuz")
    return Spec(scenario=state.scenario("shared"))


def test_a_machine_that_has_everything_lacks_nothing(asked):
    assert [text for text in control.missing(asked) if "tun" not in text] == []


@pytest.mark.parametrize(
    ("command", "package"),
    [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("nginx", "nginx-light"),
        ("nc", "netcat-openbsd"),
    ],
)
def test_a_missing_program_names_its_package(asked, monkeypatch, command, package):
    monkeypatch.setattr(
        control.shutil, "which", lambda name, path=None: None if name == command else name
    )

    with pytest.raises(LabError, match=f"{command}: not found: apt-get install {package}"):
        control.up(asked, print)


def test_a_missing_kernel_is_said_before_anything_starts(asked, monkeypatch):
    def none(kind):
        raise LabError("no standard kernel: apt-get install linux-image-amd64")

    monkeypatch.setattr(guest, "kernel_image", none)

    with pytest.raises(LabError, match="apt-get install linux-image-amd64"):
        control.up(asked, print)
    assert not state.folder().path.exists()


def test_a_full_disk_is_said_before_anything_starts(asked, monkeypatch):
    monkeypatch.setattr(control.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))

    with pytest.raises(LabError, match="1 MiB free, 512 needed"):
        control.up(asked, print)
    assert not state.folder().path.exists()


def test_without_root_nothing_is_looked_at(asked, monkeypatch):
    monkeypatch.setattr(control.os, "geteuid", lambda: 1000)

    with pytest.raises(LabError, match="needs root"):
        control.up(asked, print)


def test_a_node_that_is_not_there_is_named_with_those_that_are(asked, tmp_path):
    place = state.folder()
    place.path.mkdir()
    place.write("spec", asked)

    with pytest.raises(LabError, match="rs9: no such node; there are lb1, rs1"):
        control._ssh_argv(place, "rs9", (), terminal=False)


def test_no_lab_is_up_says_how_to_get_one(asked):
    with pytest.raises(LabError, match="dirtune lab up"):
        control.running()


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("words", [("demo",), ("control",), ("demo", "--scenario", "none")])
def test_a_lab_that_is_up_already_is_left_alone(monkeypatch, words):
    def up(spec, say):
        raise LabError("a lab is up already")

    monkeypatch.setattr(control, "up", up)
    downs = []
    monkeypatch.setattr(control, "down", lambda: downs.append(1))

    result = CliRunner().invoke(main, ["lab", *words])

    assert (result.exit_code, downs) == (2, [])
    assert "up already" in result.stderr or "no such scenario; there are" in result.stderr


def test_one_command_at_a_time_works_on_a_lab_and_leaves_no_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "_LOCKS", tmp_path)
    here, there = (state.Folder(tmp_path / name) for name in ("here", "there"))

    with control._lock(here):
        with pytest.raises(LabError, match="at work"), control._lock(here):
            pass
        with control._lock(there):
            pass
    with control._lock(here):
        pass

    assert list(tmp_path.glob("*.lock")) == []
