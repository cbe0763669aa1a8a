"""The lab leaves nothing behind, however it ends. No director is booted to the end here."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from benches import NO_LAB, in_lab

from dirtune.lab import cgroups, state

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("booted"), in_lab(NO_LAB)]

DIRTUNE = (sys.executable, "-m", "dirtune")


STARTED = []


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DIRTUNE_LAB", str(tmp_path / "lab"))
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.communicate()
    subprocess.run([*DIRTUNE, "lab", "down"], check=True, capture_output=True)


def machine():
    """What a lab must leave as it was: mounts, links, namespaces, control groups."""
    groups = [path for root in cgroups.find(Path("/")).roots for path in root.glob("dirtune-*")]
    return {
        "mounts": Path("/proc/mounts").read_text(),
        "links": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "namespaces": sorted(set(namespaces())),
        "groups": sorted(map(str, groups)),
    }


def namespaces():
    # Only of processes that live on: the test's own helpers come and go.
    for process in psutil.process_iter():
        for kind in ("net", "mnt", "pid", "uts", "ipc"):
            with contextlib.suppress(OSError):
                yield str(Path(f"/proc/{process.pid}/ns/{kind}").readlink())


def start_up():
    """Start `lab up` and wait until its nodes are being made."""
    process = subprocess.Popen(
        # A runner in the background hands down an interrupt that is ignored; a user's is not.
        [
            "env",
            "--default-signal=INT",
            *DIRTUNE,
            "lab",
            "up",
            "--clock=host",
            "--real-servers=1",
            "--clients=1",
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    wait_for((state.folder().path / "console.log").exists, 60)
    return process


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.2)
    return pytest.fail(f"not so within {seconds} s")


def is_as(before):
    """The machine is as it was; the kernel frees namespaces in its own time."""
    end = time.monotonic() + 20
    while left_of(before) and time.monotonic() < end:
        time.sleep(0.2)
    assert left_of(before) == {}


def left_of(before):
    """What is there and was not before; what others have ended meanwhile is nothing of ours."""
    now = machine()
    gone = set(before["namespaces"]) - set(now["namespaces"])
    expected = {**before, "namespaces": sorted(set(before["namespaces"]) - gone)}
    return {what: now[what] for what in now if now[what] != expected[what]}


def qemu():
    """The director's QEMU; virtme-ng starts others, which only say what they can, before it."""
    keeper = psutil.Process(state.folder().record().keeper.pid)
    for process in keeper.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name().startswith("qemu-system") and "-append" in process.cmdline():
                return process
    return None


def members():
    holder = psutil.Process(state.folder().record().holder.pid)
    return [holder, *holder.children(recursive=True)]


def alive(process):
    # Who reaps an orphan, and when, is for this machine's init to say.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_ctrl_c_while_it_comes_up_leaves_nothing():
    before = machine()
    process = start_up()
    assert machine() != before, "the lab can be seen while it is there"

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 2
    assert "interrupted" in said
    assert "Traceback" not in said
    is_as(before)
    assert not state.folder().path.exists()


@pytest.mark.parametrize("times", [pytest.param(1, marks=pytest.mark.long), 3])
def test_ctrl_c_into_a_pipeline_whose_reader_dies_leaves_nothing(times, tmp_path):
    before = machine()
    log = tmp_path / "log"
    pipeline = subprocess.Popen(
        [
            *("env", "--default-signal=INT,PIPE", "bash", "-c"),
            f'"{sys.executable}" -m dirtune lab demo 2>&1 | tee {log}; exit ${{PIPESTATUS[0]}}',
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    STARTED.append(pipeline)
    wait_for((state.folder().path / "console.log").exists, 60)
    started = members()
    (demo,) = [p for p in psutil.Process(pipeline.pid).children() if "tee" not in p.name()]

    for _ in range(times):
        os.killpg(pipeline.pid, signal.SIGINT)
        time.sleep(0.3)
    psutil.wait_procs([demo], timeout=60)

    assert not alive(demo)
    assert [p for p in started if alive(p)] == []
    assert "Traceback" not in log.read_text()
    is_as(before)
    assert not state.folder().path.exists()


def test_a_second_up_is_refused_with_the_reason_and_down_ends_every_process():
    before = machine()
    first = start_up()
    started = members()

    second = subprocess.run([*DIRTUNE, "lab", "up"], capture_output=True, text=True, check=False)

    assert second.returncode == 2
    assert "is running" in second.stderr, "the first `up` is still running"
    first.kill()
    first.wait()
    third = subprocess.run([*DIRTUNE, "lab", "up"], capture_output=True, text=True, check=False)
    assert third.returncode == 2
    assert "A lab is already up" in third.stderr
    subprocess.run([*DIRTUNE, "lab", "down"], check=True)
    assert [p for p in started if alive(p)] == []
    is_as(before)


def test_a_killed_holder_takes_the_whole_lab_with_it():
    before = machine()
    up = start_up()
    started = members()

    os.kill(state.folder().record().holder.pid, signal.SIGKILL)
    _, said = up.communicate(timeout=60)

    assert up.returncode == 2
    assert "ended before it was ready" in said
    assert [p for p in started if alive(p)] == []
    is_as(before)


def test_a_killed_qemu_is_said_in_one_line_and_cleared_away():
    before = machine()
    up = start_up()
    director = wait_for(qemu, 60)

    director.kill()
    _, said = up.communicate(timeout=60)

    assert up.returncode == 2
    last = said.strip().splitlines()[-1]
    assert last.startswith("dirtune: ")
    assert "QEMU exited" in last or "lb1 exited" in last
    is_as(before)


def test_without_root_it_says_so():
    done = subprocess.run(
        ["setpriv", "--reuid", "65534", "--clear-groups", *DIRTUNE, "lab", "up"],
        capture_output=True,
        text=True,
        check=False,
    )

    if "Permission denied" in done.stderr:
        pytest.skip("this checkout cannot be read by another user")
    assert done.returncode == 2
    assert "Only root" in done.stderr
