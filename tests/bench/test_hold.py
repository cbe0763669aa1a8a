"""What a cell holds of a node is put back whatever happens. Run in this machine's own shell."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from dirtune import plan
from dirtune.bench import hold, matrix
from dirtune.bench.hold import held
from dirtune.bench.matrix import Hold
from dirtune.errors import TrialError
from tests.plans import BALANCED, plan_of

PLAN = plan_of("[controls]\nnull_server = true\n", clients=["local"])


@pytest.fixture
def setting(tmp_path):
    """A file that stands for a setting: its value is `old`."""
    path = tmp_path / "setting"
    path.write_text("old\n")
    return path


def turned(path, value="new"):
    return Hold("local", f"echo {value} >{path}", f"echo old >{path}")


def use(holds, inside):
    async def whole():
        async with held(PLAN, holds):
            inside()

    asyncio.run(whole())


def test_it_is_so_inside_and_as_before_afterwards(setting):
    seen = []
    use([turned(setting)], lambda: seen.append(setting.read_text()))

    assert seen == ["new\n"]
    assert setting.read_text() == "old\n"


def test_it_is_put_back_when_what_is_inside_fails(setting):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use([turned(setting)], fail)
    assert setting.read_text() == "old\n"


def test_what_fails_half_way_is_put_back_and_says_why(setting):
    broken = Hold("local", f"echo new >{setting}\nls /no/such/place", f"echo old >{setting}")

    with pytest.raises(TrialError, match=r"local: ls: .*/no/such/place"):
        use([broken], lambda: None)
    assert setting.read_text() == "old\n"


def test_what_was_held_before_a_failure_is_put_back_too(setting):
    with pytest.raises(TrialError):
        use([turned(setting), Hold("local", "false", ":")], lambda: None)
    assert setting.read_text() == "old\n"


def test_an_undo_that_takes_its_time_is_not_cut_off(setting):
    slow = Hold("local", f"echo new >{setting}; sleep 60", f"sleep 3; echo old >{setting}")

    async def ended_meanwhile():
        async def enter():
            async with held(PLAN, [slow]):
                pytest.fail("it is never held")

        task = asyncio.create_task(enter())
        while setting.read_text() != "new\n":
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ended_meanwhile())

    assert setting.read_text() == "old\n"


def test_it_is_put_back_when_dirtune_dies(setting):
    script = f"""
import asyncio, sys
sys.path[:0] = {sys.path!r}
from dirtune import plan
from dirtune.bench.hold import held
from dirtune.bench.matrix import Hold
plan = plan.parse({plan.EXAMPLE!r})
async def main():
    async with held(plan, [Hold("local", "echo new >{setting}", "echo old >{setting}")]):
        print("held", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        assert setting.read_text() == "new\n"
        os.kill(process.pid, signal.SIGKILL)
    for _ in range(100):
        if setting.read_text() == "old\n":
            return
        time.sleep(0.05)
    pytest.fail("the shell outlived dirtune and did not put it back")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_it_is_put_back_when_the_shell_is_told_to_end(setting, number, shell):
    """Also where the end is asked for twice, as by a session that is closed."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    undo = f"echo undoing; sleep 0.5; echo old >{setting}"
    script = hold._SCRIPT.format(do=f"echo new >{setting}", undo=undo)
    argv = (shell, "-c", script)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        assert setting.read_text() == "new\n"
        process.send_signal(number)
        assert process.stdout.readline() == b"undoing\n"
        process.send_signal(number)
        assert process.wait(timeout=20) == 143
    assert setting.read_text() == "old\n"


@pytest.mark.skipif(shutil.which("nginx") is None, reason="the null server is nginx")
def test_the_null_server_answers_with_a_page_and_is_gone_afterwards():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (cell, _) = matrix.cells(PLAN)
    (hold,) = cell.holds
    do = hold.do.replace(str(matrix.NULL_PORT), str(port))
    pages = []

    def read():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as reply:
            pages.append(reply.read())

    use([Hold("local", do, hold.undo)], read)

    assert [len(page) for page in pages] == [628]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 1).close()


def test_an_undo_takes_nothing_from_the_environment_of_a_login(tmp_path):
    """The client has no nginx, so nothing was made; its user has a variable of the same name."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/rm").symlink_to(shutil.which("rm"))
    mine = tmp_path / "mine"
    mine.mkdir()
    (the_hold,) = matrix.cells(PLAN)[0].holds
    script = hold._SCRIPT.format(do=the_hold.do, undo=the_hold.undo)
    done = subprocess.run(
        (shutil.which("sh"), "-c", script),
        env={"PATH": str(tmp_path / "bin"), "dir": str(mine)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=20,
    )

    assert (done.returncode, done.stdout[:5]) == (4, b"nginx")
    assert mine.is_dir()


def test_no_variable_of_a_hold_is_set_before_the_hold_sets_it():
    controls = '[controls]\nnull_server = true\nrouted = true\nrouter = "198.18.0.1"'
    cells = matrix.cells(plan_of(controls, **BALANCED, clients=["c1"]))
    undone = {each.undo for cell in cells for each in cell.holds}
    names = {name for text in undone for name in re.findall(r"\$([a-z]+)", text)}
    assert names == {"dir", "null", "old"}
    do = "\n".join(f'echo "{name}=${name}"' for name in sorted(names))
    argv = ("sh", "-c", hold._SCRIPT.format(do=do, undo=":"))

    done = subprocess.run(
        argv,
        env=dict.fromkeys(names, "set"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=20,
    )

    assert done.stdout == b"dir=\nnull=\nold=\nheld\n"


@pytest.mark.parametrize("before", ["", "echo restoring; ", "echo 1 >/no/such/file; "])
@pytest.mark.parametrize("slow", ["", "; sleep 0.3"])
def test_what_nobody_reads_any_more_is_put_back(tmp_path, before, slow):
    """The shell is ended by no pipe whose other end has gone."""
    setting = tmp_path / "setting"
    setting.write_text("old\n")
    script = hold._SCRIPT.format(
        do=f"echo new >{setting}{slow}", undo=f"{before}echo old >{setting}"
    )
    with subprocess.Popen(
        ("sh", "-c", script), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        while setting.read_text() != "new\n":
            time.sleep(0.01)
        process.stdout.close()

    assert setting.read_text() == "old\n"


def test_a_second_signal_as_the_shell_begins_to_undo_changes_nothing(tmp_path):
    setting = tmp_path / "setting"
    script = hold._SCRIPT.format(do=":", undo=f"echo old >{setting}")
    between = script.replace("trap - EXIT;", "kill -TERM $$; trap - EXIT;")

    subprocess.run(("sh", "-c", between), stdin=subprocess.DEVNULL, check=False)

    assert between != script
    assert setting.read_text() == "old\n"
