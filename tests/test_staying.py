"""A dirtune that stays on another host: one process, one command after another."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from dirtune import __version__, remote
from dirtune.change import journal
from dirtune.change.documents import AppliedDocument, SettledDocument, VerifyDocument
from dirtune.change.record import State
from dirtune.change.transaction import Place
from dirtune.errors import NodeUnreachable, NotInstalled, NotPossible
from dirtune.remote import staying
from dirtune.remote.far_dirtune import FarDirtune
from tests.change.test_transaction import detached, until

REPOSITORY = Path(__file__).parents[1]
COMMAND = (sys.executable, "-m", "dirtune", "--require-version", __version__)
INSTALL = f"Install dirtune {__version__} there"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change a host")


@pytest.fixture
def at(tmp_path, monkeypatch):
    place = Place(tmp_path / "state", tmp_path / "run")
    monkeypatch.setenv("DIRTUNE_STATE", str(place.state))
    monkeypatch.setenv("DIRTUNE_RUN", str(place.run))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return place


def processes(at):
    """Return the processes that were handed this journal folder in their environment."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended
            if f"DIRTUNE_STATE={at.state}".encode() in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
    return found


def stayed(work, program=f"{sys.executable} -m dirtune"):
    """Return what *work* makes of a dirtune that stays on this machine."""

    async def run():
        async with await remote.connect("local") as node:
            far = await staying.start(FarDirtune(node, program))
            try:
                return await work(far)
            finally:
                await far.end()

    return asyncio.run(run())


def state(at, name):
    return journal.load(journal.path_of(at.state, name)).state


def test_one_process_makes_and_undoes_a_change_and_nothing_is_left(tmp_path, at):
    path = tmp_path / "changed"
    first = detached(path, at, 1000, "live").stdout.strip()

    async def work(far):
        async def ask(kind, *words):
            return (await far.ask(words, kind, timeout_s=20)).document

        assert far.version == __version__
        assert (await ask(SettledDocument, "rollback", first)).journal == first
        assert not path.exists()
        made = await ask(AppliedDocument, "fix", "reapply", first, "--confirm", "1000")
        assert path.read_text() == "new\n"
        held = await far.ask(("fix", "verify"), VerifyDocument, timeout_s=20, ok=(0, 1))
        assert [(each.journal, each.holds) for each in held.document.changes] == [
            (made.journal, True)
        ]
        with pytest.raises(NotPossible, match=r"local: .* holds no journal no-such"):
            await ask(SettledDocument, "rollback", "no-such")
        await ask(SettledDocument, "confirm", "--renew", made.journal)
        await ask(SettledDocument, "rollback", made.journal)
        assert far.alive
        return made.journal

    second = stayed(work)

    assert not path.exists()
    assert (state(at, first), state(at, second)) == (State.ROLLED_BACK,) * 2
    assert until(lambda: processes(at) == [])


def test_the_watchdog_outlives_the_session_and_undoes(tmp_path, at):
    path = tmp_path / "changed"
    first = detached(path, at, 1000, "live").stdout.strip()

    async def work(far):
        await far.ask(("rollback", first), SettledDocument, timeout_s=20)
        words = ("fix", "reapply", first, "--confirm", "3")
        return (await far.ask(words, AppliedDocument, timeout_s=20)).document.journal

    second = stayed(work)

    assert path.exists()
    assert until(lambda: len(processes(at)) == 1)  # the first one ends by itself
    (watchdog,) = processes(at)
    assert os.getsid(watchdog) == watchdog, "the end of the session does not reach it"
    assert until(lambda: not path.exists())
    assert until(lambda: state(at, second) is State.ROLLED_BACK)
    assert until(lambda: processes(at) == [])


def begun(at):
    """Start a dirtune that stays, and return it after its first line."""
    environ = {**os.environ, "DIRTUNE_STATE": str(at.state), "DIRTUNE_RUN": str(at.run)}
    process = subprocess.Popen(
        (*COMMAND, "stay"),
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert json.loads(process.stdout.readline())["version"] == __version__
    return process


@pytest.mark.parametrize("end", ["input", "SIGTERM"])
def test_a_command_ends_with_the_session_and_not_before_it_has_ended(tmp_path, at, end):
    path = tmp_path / "changed"
    name = detached(path, at, 1000, "live").stdout.strip()
    process = begun(at)

    with journal.lock(at.run):  # so that the command waits
        process.stdin.write(json.dumps(["rollback", name]).encode() + b"\n")
        process.stdin.flush()
        assert until(lambda: len(processes(at)) == 3)  # it, its command and the watchdog
        time.sleep(0.5)
        if end == "SIGTERM":
            os.killpg(process.pid, signal.SIGTERM)
            time.sleep(0.2)
        process.stdin.close()
        process.wait(timeout=10)
        assert len(processes(at)) == 1

    assert path.exists(), "the watchdog still waits for the confirmation"
    assert state(at, name) is State.APPLIED
    process.stdout.close()
    process.stderr.close()
    detached_end(at)


def detached_end(at):
    for number in processes(at):
        os.kill(number, signal.SIGTERM)  # the watchdog undoes
    assert until(lambda: processes(at) == [])


def test_an_idle_one_uses_no_cpu_time_and_ends_with_its_input(at):
    process = begun(at)
    times = Path(f"/proc/{process.pid}/stat")

    before = times.read_text().rsplit(")", 1)[1].split()[11:13]
    time.sleep(1)
    assert times.read_text().rsplit(")", 1)[1].split()[11:13] == before
    assert not select.select([process.stdout], [], [], 0)[0]

    _, complaint = process.communicate(timeout=10)
    assert (process.returncode, complaint) == (0, b"")


LATE = """
import importlib, sys
from dirtune.cli import main, stay
from dirtune.change import watchdog
from dirtune.jobs import staying
for name in stay._NEEDED:
    importlib.import_module(name)
watchdog.start_by_fork()
before = {*sys.modules}
try:
    main.main(sys.argv[1:], "dirtune")
except SystemExit as end:
    assert not end.code, end
finally:
    late = sorted(name for name in {*sys.modules} - before if name.startswith("dirtune"))
    sys.stderr.write(f"late: {late}\\n")
"""


def test_a_command_of_a_trial_imports_nothing_more(tmp_path, at):
    """An emulated director needs 40 ms and more for each module."""
    path = tmp_path / "changed"
    first = detached(path, at, 1000, "live").stdout.strip()
    commands = (
        ("rollback", first),
        ("fix", "reapply", first, "--confirm", "60"),
        ("confirm", "--renew"),
        ("confirm",),
        ("rollback",),
    )

    for words in commands:
        argv = (sys.executable, "-c", LATE, *words, "--format", "json")
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.stderr.splitlines()[-1] == "late: []", (words, done.stderr)


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next(tmp_path, at):
    path = tmp_path / "changed"
    name = detached(path, at, 1000, "live").stdout.strip()

    async def work(far):
        with journal.lock(at.run):
            with pytest.raises(NodeUnreachable, match="did not answer in time"):
                await far.ask(("rollback", name), SettledDocument, timeout_s=0.5)
            return far.alive

    assert stayed(work) is False
    detached_end(at)


@pytest.mark.parametrize(
    ("script", "error", "text"),
    [
        ("exit 127", NotInstalled, f"is not installed there. {INSTALL}"),
        (
            "echo \"Error: No such option '--require-version'.\" >&2; exit 2",
            NotPossible,
            f"the dirtune there has another version. {INSTALL}",
        ),
        ("echo 'dirtune: no memory' >&2; exit 2", NotPossible, "local: no memory"),
        ("echo hello", NotPossible, "did not print its JSON document (JSON is malformed"),
    ],
)
def test_one_that_cannot_stay_says_why(tmp_path, script, error, text):
    program = tmp_path / "far"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)

    async def never(_):
        raise AssertionError

    with pytest.raises(error) as refusal:
        stayed(never, str(program))

    assert text in str(refusal.value)


LARGE = """#!{python}
import json, sys
print(json.dumps({{"schema": "dirtune/stay/1", "version": "{version}"}}), flush=True)
for line in sys.stdin:
    text = json.dumps({{"text": '"' * {size}}})
    result = {{"schema": "dirtune/stay-result/1", "status": 0, "stdout": text, "stderr": ""}}
    print(json.dumps(result), flush=True)
"""


class Text(msgspec.Struct):
    text: str


def answering(folder, size):
    """Return a program that stays, and answers with a document that has *size* quotes."""
    program = folder / "far"
    program.write_text(LARGE.format(python=sys.executable, version=__version__, size=size))
    program.chmod(0o755)
    return str(program)


def test_an_answer_may_be_as_large_as_without_a_session(tmp_path):
    quotes = remote.DOCUMENT_BYTES // 2 - 100  # JSON writes a quote in two bytes

    async def work(far):
        return (await far.ask(("x",), Text, timeout_s=20)).document

    assert stayed(work, answering(tmp_path, quotes)).text == '"' * quotes


def test_a_larger_answer_is_refused(tmp_path):
    async def work(far):
        with pytest.raises(NodeUnreachable, match=r"longer than \d+ MiB"):
            await far.ask(("x",), Text, timeout_s=20)
        return far.alive

    assert stayed(work, answering(tmp_path, 3 * remote.DOCUMENT_BYTES)) is False


def test_a_command_that_prints_without_end_takes_little_memory(at):
    """The command fails; the next one is run."""
    script = (
        "import os, resource, sys\n"
        "from dirtune.jobs import staying\n"
        "def run(words):\n"
        "    for _ in range(int(words[0])):\n"
        "        os.write(1, b'x' * 2**20)\n"
        "    sys.exit(0)\n"
        "def most():\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = []\n"
        "def say(text):\n"
        "    before.append(most())\n"
        "    print(text[:200], flush=True)\n"
        "staying.serve(run, say)\n"
        "print(most() - before[0])\n"
    )
    with subprocess.Popen(
        (sys.executable, "-c", script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        results = []
        for count in (64, 0):
            process.stdin.write(f'["{count}"]\n')
            process.stdin.flush()
            results.append(json.loads(process.stdout.readline()))
        mib, _ = process.communicate(timeout=10)

    assert [result["status"] for result in results] == [2, 0]
    assert results[0]["stderr"] == "dirtune: The command printed more than 8 MiB."
    assert int(mib) < 32
