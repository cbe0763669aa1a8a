"""The lab's folder: its own alone to be removed, and nobody else's to fill."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dirtune.errors import LabError
from dirtune.lab import cgroups, clearing, lifecycle, prefix, preparing, state
from dirtune.lab.spec import Spec

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

    with pytest.raises(LabError, match=rf"^{path} .*opt.* DIRTUNE_LAB"):
        end(state.folder())

    assert (path / "opt/thesis").read_text() == "years\n"


def test_a_file_is_no_folder_of_a_lab(path):
    path.rmdir()
    path.write_text("x")

    with pytest.raises(LabError, match=f"{path}: Not a directory"):
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

    with pytest.raises(LabError, match=f"^{theirs} belongs to user {NOBODY}, who could replace"):
        state.folder()


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("above", [False, True])
def test_a_folder_that_others_may_write_to_is_no_labs(path, above, there, mode):
    loose = path.parent if above else path
    loose.chmod(mode)
    if not there:
        path.rmdir()

    if (there or above) and not (above and mode & 0o1000):
        with pytest.raises(LabError, match=f"{loose}.*un: chmod"):
            state.folder()
    else:  # below one as /tmp nobody else can exchange it
        assert state.folder().path == path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_a_folder_that_root_links_to_is_that_of_a_lab_where_it_lies(path, monkeypatch):
    link = path.parents[1] / "link"
    link.symlink_to(path)
    monkeypatch.setenv("DIRTUNE_LAB", str(link))
    assert state.folder().path == link
    os.chown(path.parent, NOBODY, NOBODY)

    with pytest.raises(LabError, match=f"^{path.parent} belongs to user {NOBODY}, who could"):
        state.folder()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_a_folder_that_another_user_makes_first_is_not_filled_nor_obeyed(path, monkeypatch):
    other = subprocess.Popen(["sleep", "60"])
    monkeypatch.setattr(lifecycle, "_require", lambda spec: None)
    monkeypatch.setattr(lifecycle, "_LOCKS", path.parent / "run")
    record = state.Record(state.process(other.pid), state.process(other.pid), 0.0)

    def made_by_another(place):
        state.Folder(path).write("lab", record)
        os.chown(path, NOBODY, NOBODY)

    monkeypatch.setattr(clearing, "clear", made_by_another)
    try:
        with pytest.raises(LabError, match=f"^{path}:? belongs to user {NOBODY}"):
            lifecycle.up(Spec(scenario=state.scenario("shared")), print)
        assert other.poll() is None
        assert [each.name for each in path.iterdir()] == ["lab.json"]
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("linked", ["", "shadow", "default", "default/grub", "ssh", "sysctl.d"])
def test_what_a_lab_writes_into_its_copy_of_etc_is_not_written_into_etc(path, monkeypatch, linked):
    etc, elsewhere = path.parents[1] / "etc", path.parents[1] / "elsewhere"
    for folder in ("default/grub.d", "ssh", "sysctl.d"):
        (etc / folder).mkdir(parents=True)
    for file in ("shadow", "default/grub"):
        (etc / file).write_text("this machine's\n")
    (etc / linked).rename(elsewhere)
    (etc / linked).symlink_to(elsewhere)
    monkeypatch.setattr(preparing, "_ETC", etc)
    before = {each: each.read_bytes() if each.is_file() else None for each in _all(etc, elsewhere)}
    place = state.folder()
    place.opt.mkdir()

    spec = Spec(scenario=state.scenario("shared"), real_servers=1, clients=1)
    preparing._director(place, spec.nodes()[0], spec)

    after = {each: each.read_bytes() if each.is_file() else None for each in _all(etc, elsewhere)}
    assert after == before
    assert (place.share / "etc/shadow").read_text() == "root:*:1::::::\n"
    assert (place.share / "etc/default/grub.d/10-lab.cfg").is_file()
    assert (place.share / "etc/ssh/dirtune_lab").is_file()


def _all(*folders):
    return sorted(each for folder in folders for each in (folder, *folder.rglob("*")))


@pytest.mark.skipif(os.geteuid() != 0, reason="a copy of /etc is root's to make")
def test_what_a_lab_holds_no_other_user_may_read_or_plant(path, monkeypatch):
    """Whatever umask root has: with none, all would be everybody's to write."""
    monkeypatch.setattr(lifecycle, "_require", lambda spec: None)
    monkeypatch.setattr(lifecycle, "_LOCKS", path.parent / "run")
    monkeypatch.setattr(lifecycle, "_start", lambda place: None)
    monkeypatch.setattr(lifecycle, "_await_ready", lambda place, say: None)
    monkeypatch.setattr(prefix, "copy", lambda to: to.mkdir())
    spec = Spec(scenario=state.scenario("shared"), real_servers=1, clients=1)
    before = os.umask(0)
    try:
        lifecycle.up(spec, print)
        assert os.umask(0) == 0
    finally:
        os.umask(before)

    modes = {each: stat.S_IMODE(each.lstat().st_mode) for each in (path, *path.glob("*"))}
    closed = {each.name for each, mode in modes.items() if each.is_dir() and not mode & 0o077}
    assert closed == {"keys", "lb1", "rs1", "c1", "tmp"}
    below = [each for name in ("opt", *closed - {"lb1"}) for each in (path / name).rglob("*")]
    modes |= {each: stat.S_IMODE(each.lstat().st_mode) for each in below}
    assert [str(each) for each, mode in modes.items() if mode & 0o022] == []
    assert (path / "keys/user_key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("planted", ["link", "link in it"])
def test_the_logs_of_a_lab_that_failed_follow_no_link(path, planted):
    victim, failed = path.parents[1] / "victim", path.with_name("lab-failed")
    victim.mkdir()
    (victim / "keeper.log").write_text("theirs\n")
    (path / "keeper.log").write_text("ours\n")
    if planted == "link":
        failed.symlink_to(victim)
    else:
        failed.mkdir()
        (failed / "keeper.log").symlink_to(victim / "keeper.log")

    kept = clearing.keep_logs(state.folder())

    assert (kept / "keeper.log").read_text() == "ours\n"
    assert (victim / "keeper.log").read_text() == "theirs\n"


def test_logs_of_a_lab_that_failed_take_the_place_of_such_logs_alone(path):
    (path / "keeper.log").write_text("first\n")
    failed, third = path.with_name("lab-failed"), path.with_name("lab-failed-3")
    failed.mkdir()
    (failed / "thesis").write_text("years\n")
    path.with_name("lab-failed-2").write_text("a note\n")

    assert clearing.keep_logs(state.folder()) == third
    (path / "keeper.log").unlink()
    (path / "console.log").write_text("second\n")
    assert clearing.keep_logs(state.folder()) == third

    assert (failed / "thesis").read_text() == "years\n"
    assert path.with_name("lab-failed-2").read_text() == "a note\n"
    assert [each.name for each in third.iterdir()] == ["console.log"]


def test_no_log_of_a_lab_that_failed_is_shown_to_more_than_root(path):
    secret = path.parents[1] / "secret"
    secret.write_text("root's\n")
    for folder in ("rs1", "lb1/etc"):
        (path / folder).mkdir(parents=True)
    (path / "rs1/node.log").write_text("x" * 10 + "end\n")
    # What root of a guest can put into its folder, and what a copy of /etc may hold.
    (path / "rs1/link.log").symlink_to(secret)
    (path / "lb1/link.log").symlink_to(secret)
    (path / "lb1/etc/link.log").symlink_to(secret)
    (path / "lb1/etc/private.log").write_text("root's\n")
    os.mkfifo(path / "rs1/pipe.log")

    kept = clearing.keep_logs(state.folder())

    texts = {str(p.relative_to(kept)): p.read_text() for p in kept.rglob("*") if p.is_file()}
    assert {name for name, text in texts.items() if text} == {"rs1/node.log"}
    assert texts["rs1/node.log"] == "xxxxxxxxxxend\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700


def test_the_lab_of_another_version_is_named_and_no_fault(path):
    (path / "spec.json").write_text('{"old": 1}')

    with pytest.raises(LabError, match=f"{path}/spec.json: .*Use the version of dirtune"):
        state.folder().spec()

    assert lifecycle.describe()["up"] is False


def test_the_lock_of_the_cache_is_nobody_elses_to_hold(tmp_path, monkeypatch):
    (tmp_path / "made").mkdir()
    (tmp_path / "lock").touch(0o644)
    monkeypatch.setattr(prefix, "_made", lambda root, cache: tmp_path / "made")

    prefix.copy(tmp_path / "copy", tmp_path)

    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Stand in a folder in which another user put modules; return the file that they write."""
    folder, mark = tmp_path / "planted", tmp_path / "OWN"
    folder.mkdir()
    for name in ("dirtune", "json", "venv", "pip", "build"):
        (folder / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    monkeypatch.chdir(folder)
    return mark


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
def test_the_keeper_takes_nothing_from_the_folder_that_lab_up_is_called_in(
    path, monkeypatch, planted
):
    started, folders, popen = [], [], subprocess.Popen

    def start(*words, **options):
        folders.append(options.get("cwd"))
        started.append(popen(*words, **options))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", start)
    # Another user cannot write to where it is, but root may call `lab up` anywhere.
    monkeypatch.setenv("DIRTUNE_LAB", os.path.relpath(path))

    with pytest.raises(FileNotFoundError, match=r"spec\.json"):  # which both look for
        lifecycle._start(state.folder())

    assert started[0].wait(20) == 2
    assert folders == ["/"], "QEMU would take ./bios-256k.bin for its firmware"
    assert "spec.json" in state.folder().status().error
    assert not planted.exists()


def test_nothing_that_installs_comes_from_the_folder_that_lab_up_is_called_in(
    tmp_path, monkeypatch, planted
):
    commands = []
    monkeypatch.setattr(prefix, "run", lambda argv, **_: commands.append(argv))

    with pytest.raises(ValueError, match="unpack"):  # no wheel was built
        prefix._install(tmp_path, tmp_path / "prefix")

    assert [argv[argv.index("-m") + 1] for argv in commands] == ["venv", "build"]
    for argv in (*commands, (*prefix._OURS, "pip")):
        start = argv[: argv.index("-m") + 2]
        subprocess.run((*start, "--help"), check=True, capture_output=True)
    assert not planted.exists()


def test_an_installed_dirtune_is_copied_for_the_nodes_with_what_it_requires(tmp_path, monkeypatch):
    commands, run = [], prefix.run

    def watched(argv, **limits):
        commands.append(argv)
        return "" if "pip" in argv else run(argv, **limits)

    monkeypatch.setattr(prefix, "run", watched)
    monkeypatch.setattr(prefix, "_checkout", lambda: None)

    prefix.copy(tmp_path / "copy", tmp_path / "cache")

    (pip,) = (argv for argv in commands if "pip" in argv)
    named = {re.split(r"[<>=;\[ ]", word)[0] for word in pip}
    assert {"click", "msgspec", "psutil", "tabulate"} <= named, (
        "the base, as pyproject.toml has it"
    )
    assert not {"scipy", "virtme-ng", "pytest"} & named
    where = "import dirtune; print(dirtune.__file__)"
    python = (tmp_path / "copy/bin/python", "-P", "-c", where)
    found = subprocess.run(python, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(tmp_path / "copy/lib"))
    script = (tmp_path / "copy/bin/dirtune").read_text()
    assert script.startswith("#!/opt/dirtune/bin/python\n")
    assert os.access(tmp_path / "copy/bin/dirtune", os.X_OK)


def test_the_copy_is_made_anew_when_dirtune_or_its_requirements_change(tmp_path, monkeypatch):
    made, requirements = [], ["click"]
    monkeypatch.setattr(prefix, "_checkout", lambda: None)
    monkeypatch.setattr(prefix, "_required", lambda: tuple(requirements))
    monkeypatch.setattr(prefix, "_PACKAGE", tmp_path / "package")
    (tmp_path / "package").mkdir()

    def install(root, folder):
        made.append(root)
        folder.mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(prefix, "_install", install)
    for number, change in enumerate(
        (
            lambda: None,
            lambda: (tmp_path / "package/a.py").write_text("1"),
            lambda: requirements.append("rich"),
        ),
        1,
    ):
        change()
        for twice in ("1", "2"):
            prefix.copy(tmp_path / f"copy-{number}-{twice}", tmp_path / "cache")
        assert len(made) == number


CLOCK = """
import sys
from pathlib import Path
import msgspec
from dirtune.lab import state

kept = Path(sys.argv[2])
if sys.argv[1] == "record":
    kept.write_bytes(msgspec.json.encode(state.process(int(sys.argv[3]))))
else:
    print(msgspec.json.decode(kept.read_bytes(), type=state.Process).alive())
"""
SET_CLOCK = """
set -e
sleep 100 & pid=$!
look() { "$PYTHON" -c "$CODE" "$1" "$FOLDER/process" $pid; }
look record
# As after the clock was set forward by a day: the kernel computes the time of the boot from it.
awk '/^btime/ {$2 -= 86400} {print}' /proc/stat > "$FOLDER/stat"
mount --bind "$FOLDER/stat" /proc/stat
look again; kill $pid; wait $pid || look again
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_process_is_the_same_after_the_clock_was_set(tmp_path):
    environ = {"PYTHON": sys.executable, "CODE": CLOCK, "FOLDER": str(tmp_path)}

    done = subprocess.run(
        ("unshare", "--mount", "bash", "-c", SET_CLOCK),
        env={**os.environ, **environ},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.splitlines() == ["True", "False"], done.stderr


def started(monkeypatch, tmp_path, name, append=""):
    """Try to start a lab in a folder called *name*; return the error, and the files it made."""
    folder = tmp_path / name
    monkeypatch.setenv("DIRTUNE_LAB", str(folder))
    monkeypatch.setattr(lifecycle, "_require", lambda _: None)
    monkeypatch.setattr(lifecycle, "_LOCKS", tmp_path / "locks")
    monkeypatch.setattr(cgroups, "find", lambda path: ())
    monkeypatch.setattr(cgroups, "remove_when_empty", lambda groups: True)

    def prepare(*_):
        raise LabError("prepared")

    monkeypatch.setattr(preparing, "prepare", prepare)
    spec = Spec(scenario=state.scenario("shared"), append=append)
    with pytest.raises(LabError) as caught:
        lifecycle.up(spec, lambda _: None)
    return str(caught.value), [path for path in tmp_path.iterdir() if path.name != "locks"]


@pytest.mark.parametrize(
    "name",
    ["my lab", "$(id)", "a;id", "a'b", 'a"b', "a,b", "a%h", "a#b", "a\nProxyCommand id", "\xe9"],
)
def test_a_folder_that_scripts_and_ssh_configs_cannot_hold_is_refused(monkeypatch, tmp_path, name):
    error, made = started(monkeypatch, tmp_path, name)

    assert error.startswith(f"The folder of the lab, {tmp_path / name}, contains a character")
    assert "DIRTUNE_LAB" in error
    assert made == []


@pytest.mark.parametrize(
    "append", ['dyndbg="file x +p"', "x='a b'", "x=$(id)", "x=`id`", "x\\", "a\nb", "\xe9"]
)
def test_kernel_options_that_a_grub_file_cannot_hold_are_refused(monkeypatch, tmp_path, append):
    error, made = started(monkeypatch, tmp_path, "lab", append)

    assert error.startswith("--append: a grub file of the lab cannot hold ")
    assert made == []


def test_plain_options_and_folders_are_taken(monkeypatch, tmp_path):
    options = "isolcpus=1-3,nohz mitigations=off memmap=1G!2G x=(a);b|c&d*e"
    error, _ = started(monkeypatch, tmp_path, "lab-2.x_", options)

    assert error.startswith("prepared")
