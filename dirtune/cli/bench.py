"""Run a plan's traffic: check it, sweep its rates, write an example."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from dirtune import plan as plans
from dirtune import signals
from dirtune.analyse.run import Run
from dirtune.bench import budget
from dirtune.cli import _output
from dirtune.cli._group import Group
from dirtune.errors import PlanError
from dirtune.jobs import booting, plan_files
from dirtune.render import cells

if TYPE_CHECKING:  # it brings the search, which `bench example` does not need
    from dirtune.bench.tour import Itinerary

_FORMAT = click.option(
    "--format", type=click.Choice(["table", "json", "markdown"]), default="table"
)


@click.group(cls=Group)
def command() -> None:
    """Run a plan's traffic against a director.

    Without PLAN: dirtune.toml here, else the plan of a running lab.
    """


@command.command()
def example() -> None:
    """Print a plan to start from."""
    _output.result(plans.EXAMPLE, end="")


@command.command()
@click.argument("plan", required=False)
@_FORMAT
def check(plan: str | None, format: str) -> None:
    """Say whether every node is ready and how long it will take; starts no load."""
    from dirtune.bench.check import check as look
    from dirtune.render import readiness

    asked = plan_files.find(plan)
    found = signals.run(look(asked, boots=booting.possible(asked)))
    if format == "json":
        _output.result(msgspec.json.format(msgspec.json.encode(found)), format)
    else:
        _output.result(cells.block(readiness.text(found), format))
    if not found.ready:
        _output.warning("the plan cannot be carried out yet; see above")
        sys.exit(2)


@command.command()
@click.argument("plan", required=False)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="dirtune-runs")
@click.option("--force", metavar="VIP", help="Bench VIP although others use it.")
@click.option("--aa", is_flag=True, help="Pairs of two equal arms: measures the noise floor.")
@click.option("--dry-run", is_flag=True, help="Print the trials and the time; reaches no node.")
@click.option("--resume", metavar="RUN", type=click.Path(path_type=Path), help="Go on with RUN.")
@_FORMAT
def run(
    plan: str | None,
    out: Path,
    force: str | None,
    aa: bool,
    dry_run: bool,
    resume: Path | None,
    format: str,
) -> None:
    """Sweep the plan's rates, controls and matrix, search its knee, and keep every trial."""
    from dirtune.jobs import benches

    if dry_run:
        _output.result(_printed(benches.dry_run(plan_files.find(plan)), format), format)
        return
    if resume is not None:
        found, kept = benches.interrupted(resume, plan, force)
        aa = aa or any(trial.pair for trial in kept.run.trials)
    else:
        found = plans.forced(plan_files.find(plan), force)
        kept = benches.new(found, out, aa=aa)
    for warning in budget.warnings(found):
        _output.progress(f"warning: {warning}")
    try:
        benches.carry_out(found, kept, aa=aa)
    finally:
        kept.drop_if_empty()
    _output.result(_printed(kept.run, format), format)
    _output.progress(f"kept in {kept.folder}")


@command.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--arm", help="One arm or cell of the run; default: all its trials.")
def export(run: Path, arm: str | None) -> None:
    """Print a run as a file of pyperf: seconds for each connection.

    Before and after belong into two files: pyperf tells them apart by nothing else.
    """
    from dirtune.bench import exchange, store

    trials = store.load(run).trials
    if arm is None and len({trial.arm for trial in trials}) > 1:
        raise PlanError(f"{run}: holds two arms: say --arm A or --arm B")
    kept = [trial for trial in trials if arm in {None, trial.arm, trial.cell}]
    _output.result(exchange.to_pyperf(kept), "json", end="")


def _printed(found: "Run | Itinerary", format: str) -> str:
    from dirtune.jobs import benches
    from dirtune.render import sweep

    if format == "json":
        return msgspec.json.format(msgspec.json.encode(found)).decode()
    if not isinstance(found, Run):
        return benches.announced(found)
    return (sweep.table if format == "table" else sweep.markdown)(found)
