"""Nodes that name a process oddly, or whose clock jumps, cost no trial and no evening."""

import asyncio
import subprocess
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

from dirtune import remote
from dirtune.bench import client, live_probe, rig
from dirtune.errors import NotPossible, ParseError, TrialError
from dirtune.plan.generators import h2load, httperf, wrk
from dirtune.remote.far_dirtune import FarDirtune


class Here:
    """A node whose scripts run on this machine."""

    async def run(self, command, **_):
        return subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, check=True
        ).stdout


def test_a_process_of_any_name_costs_no_other(tmp_path):
    odd = tmp_path / "a\n5 (b"
    odd.symlink_to("/bin/sleep")
    nodes = rig.LiveRig(
        SimpleNamespace(director=SimpleNamespace(host="d"), real_servers=(), clients=())
    )
    nodes._nodes = {"d": Here()}
    with subprocess.Popen([odd, "9"]) as process:
        time.sleep(0.1)
        found = asyncio.run(nodes.programs())
        process.kill()

    assert {each.pid: each.name for each in found}[process.pid] == "a\n5 (b"
    assert len(found) > 1


@pytest.mark.parametrize("said", ["99999999999999999999", "1000000000"])
def test_a_clock_that_jumps_is_not_waited_for(said):
    class Process:
        async def send(self, text):
            pass

        async def line(self, *, timeout_s):
            return said

    load = client.LiveLoad.__new__(client.LiveLoad)
    load._processes, load._offsets, load._started = {"c": Process()}, {"c": (0.0, 0.001)}, {}
    load._now = lambda: 5000.0

    with pytest.raises(TrialError, match="c: the clock"):
        asyncio.run(load._go("c", 5000.0))


def test_what_a_director_answers_is_bounded_before_it_is_decoded():
    asked = {}

    class Process:
        async def finish(self, **bounds):
            asked.update(bounds)
            return SimpleNamespace(stdout="{}")

    far = FarDirtune(SimpleNamespace(name="lb1"), "dirtune")
    with pytest.raises(NotPossible, match="lb1: `dirtune profile` did not print"):
        asyncio.run(live_probe.LiveProbe(far, Process(), 5).finish())

    assert asked["most_bytes"] == remote.DOCUMENT_BYTES


DIGITS, LETTERS = "1" * 40_000, "a" * 40_000
GOOD = (
    "requests: 1 total, 1 started, 1 done, 1 succeeded, 0 failed, 0 errored\nstatus codes: 1 2xx\n"
)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (wrk.parse_summary, DIGITS),
        (wrk.parse_summary, f"1 requests in 1s,Socket errors: {LETTERS}"),
        (h2load.parse_summary, f"requests: {DIGITS}\nstatus codes: {DIGITS}\n"),
        (h2load.parse_summary, f"{GOOD}time for request: {DIGITS}\n"),
        (httperf._errors, f"Errors: {LETTERS}"),
    ],
)
def test_what_a_client_printed_is_read_in_linear_time(parse, text):
    began = time.process_time()
    with suppress(ParseError):
        parse(text)

    assert time.process_time() - began < 2
