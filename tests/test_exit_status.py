"""How a process ends: one line, status 2, streams that may be gone, signals that come twice."""

import asyncio
import gc
import json
import os
import select
import shlex
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from dirtune import signals
from dirtune.cli import main
from dirtune.lab import lifecycle
from dirtune.signals import Ended, interruptible, to_the_end, undisturbed

FAULTS = [KeyError("x"), MemoryError(), RecursionError("too deep"), OSError(5, "Input/output")]


def leaves(group, words=()):
    """Yield the words of every command, and the command."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "list_commands"):
            yield from leaves(command, (*words, name))
        else:
            yield (*words, name), command


def shell(script, **environ):
    """Run *script* in a shell where `dirtune` is a command."""
    start = f'dirtune() {{ "{sys.executable}" -m dirtune "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", start + script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environ},
    )


MAKING = f"""{sys.executable} -c '
from pathlib import Path
from dirtune import exit_status, host, writing

def make():
    Path("made").mkdir()
    writing.replace(Path("made/a"), b"")
    host.run(("touch", "by"))

exit_status.outermost(make)
'"""

# Nobody is shown the last, which another dirtune calls.
LEAVES = {**dict(leaves(main)), ("netlink",): main.get_command(None, "netlink")}


@pytest.mark.parametrize("words", [" ".join(words) for words in LEAVES])
def test_what_nobody_expected_is_one_line_and_status_2_in_every_command(words, monkeypatch):
    command = LEAVES[tuple(words.split())]

    def broken(context):
        raise RuntimeError("x\x1b[2J\ny")

    monkeypatch.setattr(command, "invoke", broken)
    monkeypatch.setattr(command, "params", [])
    done = CliRunner().invoke(main, words.split())

    assert done.exit_code == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(r"dirtune: internal error: RuntimeError: x\x1b[2J\ny (in dirtune/cli/")
    assert "DIRTUNE_DEBUG=1" in line


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_every_kind_of_fault_is_reported_and_debug_shows_its_traceback(error, monkeypatch):
    def broken(*_):
        raise error

    monkeypatch.setattr("dirtune.cli.explain.command.invoke", broken)
    monkeypatch.delenv("DIRTUNE_DEBUG", raising=False)
    done = CliRunner().invoke(main, ["explain"])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert f"internal error: {type(error).__name__}" in done.stderr

    monkeypatch.setenv("DIRTUNE_DEBUG", "1")
    done = CliRunner().invoke(main, ["explain"])
    assert done.exit_code == 2
    assert "Traceback (most recent call last)" in done.stderr
    assert "in broken" in done.stderr


@pytest.mark.parametrize("limit", range(6, 10))
def test_too_few_open_files_is_one_line_with_the_remedy(limit):
    code = (
        f"import resource as r; r.setrlimit(r.RLIMIT_NOFILE, ({limit}, {limit})); "
        "from dirtune.start import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "audit", "--interval=0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    said = "dirtune: this process has too many open files. Raise its limit: ulimit -n 1024\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.parametrize(
    ("redirection", "line"),
    [
        (">/dev/full", "No space left on device"),
        (">&-", "Bad file descriptor"),
        ("| { exec <&-; sleep 2; }", None),  # a reader that has gone, as head(1) goes
    ],
)
def test_a_result_that_is_not_taken_is_status_2(redirection, line):
    done = shell(f"dirtune bench example {redirection}; exit ${{PIPESTATUS[0]}}")

    said = f"dirtune: Cannot write to standard output: {line}. The result is incomplete.\n"
    said = said if line else ""
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2> >(exec <&-; sleep 2)"])
def test_progress_that_is_not_taken_changes_nothing(redirection, tmp_path):
    (tmp_path / "proc").mkdir()
    script = f"dirtune bench example {redirection}; dirtune explain no/such {redirection}"
    done = shell(script)

    assert (done.returncode, done.stderr) == (2, "")
    assert "[director]" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="others' files are their own matter")
@pytest.mark.parametrize(("umask", "folder", "file"), [("0", 0o755, 0o644), ("077", 0o700, 0o600)])
def test_what_root_makes_nobody_else_can_write_to(tmp_path, umask, folder, file):
    done = shell(f"umask {umask}; cd {tmp_path}; {MAKING}")

    assert (done.stdout, done.stderr) == ("", "")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("made", "made/a", "by")]
    assert modes == [folder, file, file]


def test_a_closed_descriptor_is_no_files_number():
    code = (
        "from dirtune.exit_status import guard_streams; guard_streams(); import os, sys; "
        "fd = os.open('/dev/null', os.O_RDONLY); os.write(3, b''); sys.exit(fd)"
    )
    done = shell(f'"{sys.executable}" -c "{code}" <&- >&- 2>&- 3>/dev/null')

    assert done.returncode == 4


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_signal_is_one_exception_and_a_second_does_not_cut_the_clean_up_short(number):
    done = []

    def work():
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), signal.SIGINT)
            done.append("cleaned up")

    with pytest.raises(Ended) as ended, interruptible():
        work()

    assert ended.value.number == number
    assert done == ["cleaned up"]
    assert str(ended.value) == (
        "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    )


OTHER_SIGNALS = ("USR1", "USR2", "ALRM", "VTALRM", "PROF", "XCPU", "IO", "PWR")
UNDOING = """
import os, signal, sys
from dirtune.exit_status import outermost

def work():
    try:
        os.kill(os.getpid(), getattr(signal, "SIG" + sys.argv[1]))
    finally:
        os.kill(os.getpid(), getattr(signal, "SIG" + sys.argv[1]))
        print("undone", flush=True)

outermost(work)
"""


@pytest.mark.parametrize("name", OTHER_SIGNALS)
def test_other_signals_that_end_a_process_are_as_sigterm(name):
    """As the starter's alarm(2) or its limit of CPU time, which a program inherits."""
    argv = (sys.executable, "-c", UNDOING, name)

    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "undone\n")
    assert done.stderr == f"dirtune: ended by SIG{name}\n"


def test_a_command_that_failed_has_failed_though_the_starter_ignores_its_children():
    code = (
        "from dirtune.exit_status import outermost; from dirtune.host import run; "
        "outermost(lambda: run(('false',)) and None)"
    )
    start = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
        "os.execv(sys.executable, (sys.executable, '-c', sys.argv[1]))"
    )

    done = subprocess.run(
        (sys.executable, "-c", start, code), capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (
        2,
        "dirtune: false: the command failed with exit status 1\n",
    )


def test_a_reader_that_hangs_does_not_hold_up_the_clean_up():
    """The line that asks for patience is written in the middle of an undo."""
    code = (
        "import os, signal; from dirtune.signals import undisturbed\n"
        "os.set_blocking(2, False)\n"
        "try:\n    while os.write(2, b'x' * 4096): pass\n"
        "except BlockingIOError: os.set_blocking(2, True)\n"
        "with undisturbed():\n"
        "    for _ in range(2): signal.raise_signal(signal.SIGINT)\n"
        "    print('undone', flush=True)\n"
    )
    process = subprocess.Popen(
        ("env", "--default-signal=INT", sys.executable, "-c", code),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert select.select([process.stdout], [], [], 10)[0]
        assert process.stdout.readline() == b"undone\n"
    finally:
        process.kill()
        process.communicate()


def test_a_signal_in_the_middle_of_an_undo_waits_for_its_end():
    done = []

    def work():
        with undisturbed():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("undone")
        done.append("not reached")

    with pytest.raises(Ended), interruptible():
        work()

    assert done == ["undone"]


@pytest.mark.parametrize("when", ["within", "after"])
def test_an_undo_that_is_part_of_another_ends_no_sooner(when):
    done = []

    def undo(moment):
        if moment == when:
            os.kill(os.getpid(), signal.SIGTERM)
        done.append(moment)

    def whole():
        with undisturbed():
            with undisturbed():
                undo("within")
            undo("after")

    with pytest.raises(Ended, match=r"^ended by SIGTERM$"), interruptible():
        whole()

    assert done == ["within", "after"]


def test_the_error_that_led_to_the_undo_is_the_one_that_is_raised():
    def work():
        try:
            int("first")
        except ValueError:
            with undisturbed():
                os.kill(os.getpid(), signal.SIGTERM)
            raise

    with pytest.raises(ValueError, match="first"), interruptible():
        work()


def test_an_ignored_signal_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_cancels_a_coroutine_once_and_its_clean_up_is_awaited():
    done = []

    async def undo():
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.05)
        done.append("undone")

    async def work():
        try:
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.gather(asyncio.sleep(9), asyncio.sleep(9))
        finally:
            await undo()

    with pytest.raises(Ended) as ended:
        signals.run(work())

    assert (done, str(ended.value)) == (["undone"], "ended by SIGHUP")


def test_a_signal_that_the_work_lets_pass_ends_the_process_all_the_same():
    async def work():
        os.kill(os.getpid(), signal.SIGTERM)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(9)
        return "done"

    with pytest.raises(Ended, match=r"^ended by SIGTERM$"):
        signals.run(work())


def test_what_is_awaited_to_the_end_is_no_victim_of_the_first_signal():
    done = []

    async def leave():
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.05)
        done.append("left")

    async def work():
        await to_the_end(leave())
        done.append("not reached")

    with pytest.raises(Ended):
        signals.run(work())

    assert done == ["left"]


def test_nothing_else_starts_an_event_loop():
    package = Path(signals.__file__).parent
    found = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "asyncio.run(" in path.read_text() or "asyncio.Runner" in path.read_text()
    ]
    assert found == ["signals.py"]


def test_an_event_loop_within_an_undo_is_not_disturbed_either():
    done = []

    async def roll_back():
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.05)
        done.append("rolled back")

    def work():
        with undisturbed():
            signals.run(roll_back())
        done.append("not reached")

    with pytest.raises(Ended), interruptible():
        work()

    assert done == ["rolled back"]


def test_a_section_that_blocks_the_loop_is_interrupted_at_once_and_nothing_is_reported(capfd):
    done = []

    async def work():
        try:
            with interruptible():
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(9)
        finally:
            await asyncio.sleep(0)
            done.append("cleaned up")

    with pytest.raises(Ended):
        signals.run(work())

    gc.collect()
    assert (done, capfd.readouterr().err) == (["cleaned up"], "")


def test_what_is_still_in_a_buffer_counts_before_the_status_is_decided():
    code = (
        "import sys; from dirtune.exit_status import outermost; "
        "outermost(lambda: 0 * sys.stdout.write('x'))"
    )
    done = shell(f'"{sys.executable}" -c "{code}" >/dev/full')

    assert done.returncode == 2
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize(
    "entry",
    [("-m", "dirtune.schemas"), ("-P", "-c", lifecycle._KEEP, json.dumps(sys.path))],
    ids=["schemas", "keeper"],
)
def test_other_entry_points_end_alike(entry):
    done = shell(shlex.join((sys.executable, *entry)))  # without the argument that it needs

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("dirtune: internal error: IndexError: ")


def test_any_number_of_ctrl_c_shows_no_traceback(tmp_path):
    code = (
        "import sys; from dirtune.cli import main; print('on', flush=True); "
        "sys.argv[1:] = ['profile', '--duration', '30', '--probes', 'none']; main()"
    )
    shows = tmp_path / "said"
    with shows.open("wb") as file:
        process = subprocess.Popen(
            ["env", "--default-signal=INT", sys.executable, "-c", code],
            stdout=subprocess.DEVNULL,
            stderr=file,
        )
    while "measuring" not in shows.read_text():
        assert process.poll() is None
        time.sleep(0.05)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.002)

    assert process.returncode == 2
    lines = set(shows.read_text().splitlines())
    assert "dirtune: interrupted" in lines
    assert lines <= {
        "  measuring",
        "dirtune: interrupted",
        "dirtune: still cleaning up; Ctrl-\\ aborts the clean-up",
    }
