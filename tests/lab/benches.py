"""Plans run in a lab by the command line, for tests."""

import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w

from dirtune import plan as plans
from dirtune.bench import rig
from dirtune.bench.outcome import Order
from dirtune.bench.trial import conduct
from tests.plans import lab_plan

DIRTUNE = (sys.executable, "-m", "dirtune")
EXACT = ("crowded",)
CROWDED_2 = ("crowded", "--cpus", "2")
SHARED = ("shared", "--cpus", "2")
# These tests ask nothing of the director's CPU time, and the host's clock lets it work faster.
CROWDED = ("crowded", "--clock", "host")
SEPARATE = ("separate", "--clock", "host")
RT = ("noapic", "--clock", "host", "--kernel", "rt", "--real-servers", "1", "--clients", "1")
NO_LAB = ()


def in_lab(words):
    """Mark tests, which use the fixture `booted`, for the lab of `lab up --scenario WORDS`.

    pytest puts the tests of one lab next to each other, so it boots once for all files that name
    it. Each test leaves the lab as the next one expects it.
    """
    name = "-".join(word for word in words if not word.startswith("--")) or "no-lab"
    return pytest.mark.parametrize("booted", [words], ids=[name], indirect=True)


@contextlib.contextmanager
def lab_of(words, place):
    """Boot a lab in a folder below *place* and take it down again; boot nothing for `NO_LAB`."""
    if words == NO_LAB:
        yield
        return
    os.environ["DIRTUNE_LAB"] = str(place / "lab")
    os.environ["DIRTUNE_SSH_CONFIG"] = str(place / "lab/ssh_config")
    try:
        dirtune("lab", "up", "--scenario", *words)
        yield
    finally:
        for connection in connections().glob("*.ssh"):
            hang_up(connection.stem)
        dirtune("lab", "down")
        del os.environ["DIRTUNE_LAB"], os.environ["DIRTUNE_SSH_CONFIG"]


def dirtune(*words, ok=(0,)):
    return ran([*DIRTUNE, *words], ok)


def on(node, command, ok=(0,)):
    """Run a command on a node; a connection is kept for those that follow, as a login is slow."""
    return ran([*ssh("ControlMaster=auto"), node, "--", command], ok)


def hang_up(node):
    """End the kept connection to a node, as before it boots."""
    subprocess.run([*ssh(), "-O", "exit", node], capture_output=True, check=False)


def ssh(*options):
    """Return the start of an ssh command that uses the kept connection of its node."""
    options = (f"ControlPath={connections()}/%n.ssh", "ControlPersist=yes", *options)
    config = os.environ["DIRTUNE_SSH_CONFIG"]
    return ["ssh", "-F", config, *(word for option in options for word in ("-o", option))]


def connections():
    return Path(os.environ["DIRTUNE_LAB"]).parent


def ran(argv, ok):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode in ok, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def plan(tmp_path, clients=4, more="", retries=0, **load):
    """The lab's plan with its first *clients* and other values under [load]."""
    tables = lab_plan(**{"warmup": 2, "window": 5, "repeats": 1, "rates": [100], **load})
    tables["clients"] = tables["clients"][:clients]
    # What the director costs is not asked here, and a busy machine may keep it from rest.
    tables["settle"] |= {"seconds": 1, "max": "4s"}
    # What a fault does to one trial is asked, not what comes of trying again.
    tables["validity"]["retries"] = retries
    path = tmp_path / "plan.toml"
    path.write_text(tomli_w.dumps(tables) + more)
    return str(path)


def trial(tmp_path, *, meanwhile=None, tries=1, **plan_values):
    """One trial of a plan, on the lab's nodes and from this process, with its raw texts.

    *meanwhile* is done when all clients have begun. A machine that others use makes noisy trials;
    a trial is had again up to *tries* times while it is not valid.
    """
    path = plan(tmp_path, **{"warmup": 1, "window": 4, **plan_values})
    asked = plans.read(Path(path))
    for _ in range(tries):
        result = asyncio.run(_conducted(asked, meanwhile))
        gc.collect()  # what is left open is this test's error, and not a later one's
        if result.trial.validity == "valid":
            break
        print(f"{result.trial.validity}: {result.trial.reason}")
    return result.trial, result.raw


async def _conducted(asked, meanwhile):
    nodes = Interrupted(asked, alone=True)
    nodes.meanwhile = meanwhile
    try:
        rate = asked.load.rates[0]
        return await conduct(nodes, asked, Order("trial", "A", "judged", rate))
    finally:
        await nodes.close()
        if nodes.happening is not None:
            await nodes.happening


class Interrupted(rig.LiveRig):
    """Real nodes, to which something happens while the load runs."""

    meanwhile = happening = None

    async def load(self, ticks):
        loading = await super().load(ticks)
        if self.meanwhile is not None:
            self.happening = asyncio.ensure_future(asyncio.to_thread(self.meanwhile))
        return loading


def sweep(run):
    """Return the trials of a run.json, without the look at all nodes that follows them."""
    trials = json.loads(run.read_text())["trials"]
    return [trial for trial in trials if trial["kind"] != "observed"]
