"""Commands that change something, cut off: the change is undone first, and said afterwards."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from dirtune.change import journal
from dirtune.change.journal import State
from dirtune.jobs import tuning
from tests.change.machine import LINE
from tests.cli.test_fix import host  # noqa: F401  (a fixture)
from tests.cli.test_lvs import BEFORE, PLAN, ipvs  # noqa: F401  (a fixture)
from tests.forked import Forked, wait_for
from tests.tune import test_session as loop
from tests.tune.test_session import RING, make  # noqa: F401  (a fixture)

ENDS = [
    (signal.SIGINT,),
    (signal.SIGINT, signal.SIGINT),
    (signal.SIGINT, signal.SIGINT, signal.SIGINT),
    (signal.SIGTERM,),
    (signal.SIGHUP,),
    (signal.SIGHUP, signal.SIGTERM),  # of a connection that is lost, then of its service
]
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}


def called(numbers):
    return "+".join(number.name for number in numbers)


def cut_off(words, marker, numbers, said, between_s=0.15):
    """Start a command, send it signals from the moment it has made *marker*; return its status."""
    command = Forked(words, said, said)
    try:
        wait_for(marker.exists)
        for number in numbers:
            command.kill(number)
            time.sleep(between_s)
    finally:
        status = command.status()
    return status


def without_reader():
    """Return the writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def slow(machine, marker, monkeypatch):
    """Have *machine* take its time over each write, so that there is a middle."""
    plain = type(machine).write

    def write(self, path, value):
        plain(self, path, value)
        marker.touch()
        time.sleep(0.2)

    monkeypatch.setattr(type(machine), "write", write)


@pytest.mark.parametrize("numbers", ENDS, ids=called)
def test_fix_that_is_cut_off_is_undone_before_it_says_so(host, numbers, tmp_path, monkeypatch):  # noqa: F811
    said, marker = tmp_path / "said", tmp_path / "marker"
    slow(host, marker, monkeypatch)

    status = cut_off(
        ("fix", "apply", "irq/shared-with-nic", "--confirm", "0"), marker, numbers, said
    )

    assert status == 2
    assert sorted(host.handlers()) == sorted(LINE.values())
    (path,) = (tmp_path / "state").glob("*.journal")
    assert journal.load(path).state is State.ROLLED_BACK
    text = said.read_text()
    assert "Traceback" not in text
    assert WORDS[numbers[0]] in text.splitlines()[-1]


@pytest.mark.parametrize("output", ["nobody reads", "/dev/full", "closed"])
def test_fix_is_undone_where_nothing_can_be_printed(host, output, tmp_path, monkeypatch):  # noqa: F811
    marker = tmp_path / "marker"
    slow(host, marker, monkeypatch)
    target = {
        "nobody reads": without_reader,
        "/dev/full": lambda: os.open("/dev/full", os.O_WRONLY),
        "closed": lambda: os.open("/dev/null", os.O_RDONLY),  # no write succeeds
    }[output]()

    status = cut_off(
        ("fix", "apply", "irq/shared-with-nic", "--confirm", "0"), marker, ENDS[1], target
    )

    os.close(target)
    assert status == 2
    assert sorted(host.handlers()) == sorted(LINE.values())


@pytest.mark.parametrize("numbers", ENDS[:4], ids=called)
def test_lvs_that_is_cut_off_is_undone(ipvs, numbers, tmp_path, monkeypatch):  # noqa: F811
    said, marker, after = (tmp_path / name for name in ("said", "marker", "after"))
    (tmp_path / "plan.toml").write_text(PLAN)
    begun = journal.append

    def append(path, record):
        begun(path, record)
        kind = type(record).__name__
        if kind == "Applied":
            marker.touch()
            time.sleep(3)
        if kind == "RolledBack":
            after.write_text(repr(ipvs.read()))

    monkeypatch.setattr(journal, "append", append)

    status = cut_off(("lvs", "apply", str(tmp_path / "plan.toml")), marker, numbers, said)

    assert status == 2
    assert after.read_text() == repr(BEFORE)
    assert "Traceback" not in said.read_text()


@pytest.fixture
def trial(make, tmp_path, monkeypatch):  # noqa: F811
    """A session whose first trial with the fix lasts; the director's journals are on disk."""
    director = make({RING: 0.8})
    answers, loads = director.answers, director.load
    monkeypatch.setattr(tuning, "plan", lambda *_: loop.PLAN)

    def answered(*words):
        answer = answers(*words)
        state = {"journals": director.journals, "asked": director.asked}
        (tmp_path / "director.json").write_text(json.dumps(state))
        if words[0] == "rollback":
            time.sleep(0.3)
        return answer

    async def load(ticks):
        if RING in director.forces():
            (tmp_path / "marker").touch()
            await asyncio.gather(asyncio.sleep(60), asyncio.sleep(60))
        return await loads(ticks)

    director.answers, director.load = answered, load
    return director


@pytest.mark.parametrize("numbers", ENDS, ids=called)
@pytest.mark.usefixtures("trial")
def test_tune_that_is_cut_off_takes_the_change_back_and_says_how_to_go_on(numbers, tmp_path):
    said = tmp_path / "said"
    words = ("tune", str(tmp_path), "--check", RING, "--out", str(tmp_path / "out"))

    status = cut_off(words, tmp_path / "marker", numbers, said)

    assert status == 2
    found = json.loads((tmp_path / "director.json").read_text())
    assert found["journals"] == {}
    text = said.read_text()
    assert "Traceback" not in text
    assert "_GatheringFuture" not in text
    last = text.splitlines()[-1]
    assert last.startswith("dirtune: ")
    assert WORDS[numbers[0]] in last
    assert f"{RING} is not in force on lb1; the same command with --resume continues" in last


@pytest.mark.parametrize("end", [(signal.SIGINT, signal.SIGINT), (signal.SIGHUP,)], ids=called)
@pytest.mark.usefixtures("trial")
def test_tune_takes_the_change_back_when_nobody_reads_any_more(end, tmp_path):
    target = without_reader()
    words = ("tune", str(tmp_path), "--check", RING, "--out", str(tmp_path / "out"))

    status = cut_off(words, tmp_path / "marker", end, target)

    os.close(target)
    assert status == 2
    assert json.loads((tmp_path / "director.json").read_text())["journals"] == {}


@pytest.mark.parametrize("numbers", ENDS[:4], ids=called)
def test_profile_that_is_cut_off_ends_at_once_and_without_a_traceback(numbers, tmp_path):
    said = tmp_path / "said"
    command = Forked(("profile", "--duration", "60", "--probes", "none"), said, said)
    wait_for(lambda: said.exists() and "measuring" in said.read_text())
    time.sleep(0.3)
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            command.kill(number)

    assert command.status(10) == 2
    assert "Traceback" not in said.read_text()
    assert WORDS[numbers[0]] in said.read_text().splitlines()[-1]
