"""Run the lab's demo, and print its steps, progress, audit and verdict."""

import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path

from dirtune import signals
from dirtune.bench import relative
from dirtune.bench.store import Store
from dirtune.checks import audits, discovery
from dirtune.cli import _output, _reports
from dirtune.jobs import snapshots
from dirtune.jobs.snapshots import Source
from dirtune.lab import demo, handler_order
from dirtune.lab.state import Folder
from dirtune.plan.tables import Plan
from dirtune.render import first_screen
from dirtune.snapshot import Snapshot
from dirtune.tune import turn
from dirtune.tune.decide import Trying
from dirtune.tune.director import Say


def run(scenario: str, pairs: int | None, out: Path, *, full: bool, keep: bool) -> None:
    """Run the demo; with *keep*, leave the lab up at the end."""
    began = time.monotonic()

    def say(text: str) -> None:
        _output.progress(f"{time.monotonic() - began:6.0f} s  {text}")

    say(f"$ dirtune lab up --scenario {shlex.quote(scenario)}")
    with demo.up(scenario, pairs, say, keep=keep) as (place, plan, experiment):
        description = place.spec().scenario.description.splitlines()
        _output.progress("", *description, experiment.question, "")
        snapshot = _look(place, plan, say)
        line = shlex.join(("dirtune", *sys.argv[1:]))
        trying = demo.trying(place, plan, experiment, line)
        if full:
            trying = _still(trying, out, say)
        _prove(trying, place, out, say, None if full else snapshot)
        if full:
            say("reboot arm: five boots with the kernel option and five without it, in turn")
            _close(signals.run(demo.reboots(trying, out, say)))


def _look(place: Folder, plan: Plan, say: Say) -> Snapshot:
    director = plan.director.host
    say(f"$ dirtune audit --host {shlex.quote(director)}")
    source = Source(host=director, ssh_config=place.ssh_config)
    snapshot = snapshots.snapshot_of(source)
    audited = audits.of_snapshot(director, snapshot, discovery.all_checks())
    screen = first_screen.text(audited, where=("--host", director))
    _output.result(f"\n{screen}\n", coloured=True)
    return snapshot


def _still(trying: Trying, out: Path, say: Say) -> Trying:
    """Measure the noise floor first, and return *trying* with its trials."""
    say("A/A: measuring the noise floor with the same number of pairs, all without the fix")
    kept = signals.run(demo.noise(trying, out, say))
    usual = relative.calibrated(trying.plan, kept.run.trials)
    _close(kept)
    return replace(trying, plan=usual, still=kept.run.trials)


def _prove(trying: Trying, place: Folder, out: Path, say: Say, snapshot: Snapshot | None) -> None:
    """Measure the fix; *snapshot* is that of the audit that was printed just before."""
    rate = trying.plan.pair_rates[0]
    line = shlex.join(("dirtune", "tune", str(place.plan), "--check", *trying.checks))
    load = trying.plan.load
    more = (
        ""
        if load.at_most is None
        else f", or {load.at_most} if the first {load.pairs} give no verdict,"
    )
    say(f"$ {line}  # {load.pairs} pairs{more} at {rate:g}/s")
    kept = turn.begin(trying, out)
    signals.run(turn.turn(trying, kept, say, snapshot=snapshot))
    _close(kept)


def run_control(scenario: str, pairs: int | None, out: Path, *, keep: bool) -> None:
    """Compare two orders of the handlers on the NIC's line; with *keep*, leave the lab up."""
    with demo.up(scenario, pairs, _say, keep=keep) as (place, plan, experiment):
        trying = demo.trying(place, plan, experiment, shlex.join(("dirtune", *sys.argv[1:])))
        _close(signals.run(handler_order.control(trying, out, _say)))


def _say(text: str) -> None:
    _output.progress(f"  {text}")


def _close(kept: Store) -> None:
    page = _reports.write(kept.run, kept.folder)
    _output.result(f"\n{kept.run.verdict}\nreport: {page}")
