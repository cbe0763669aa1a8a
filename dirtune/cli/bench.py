"""Run a plan's load: check the plan, sweep its rates, print an example."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from dirtune import plan as plans
from dirtune import signals
from dirtune.analyse.run import Run
from dirtune.bench import ports_and_duration
from dirtune.cli import _amount, _completion, _far, _output
from dirtune.cli._group import Group
from dirtune.errors import PlanError
from dirtune.jobs import booting, plan_files
from dirtune.render import markdown

if TYPE_CHECKING:  # it imports the search, which `bench example` does not need
    from dirtune.bench.tour import Itinerary

_FORMAT = click.option(
    "--format",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    show_default=True,
    help="Print the result in this format.",
)


@click.group(cls=Group)
def command() -> None:
    """Run the load of a plan against a director.

    Without PLAN, a command reads ./dirtune.toml, else the plan of the running lab.

    Examples:
      dirtune bench example > dirtune.toml
      dirtune bench check
      dirtune bench run --dry-run
    """


@command.command()
def example() -> None:
    """Print a plan to start from.

    Examples:
      dirtune bench example > dirtune.toml
    """
    _output.result(plans.EXAMPLE, "text", end="")


@command.command()
@click.argument("plan", required=False)
@_FORMAT
def check(plan: str | None, format: str) -> None:
    """Check that every node is ready, and estimate the time of a run. Starts no load.

    The exit status is 2 if a node is not ready.

    Examples:
      dirtune bench check plan.toml
    """
    from dirtune.bench.check import check as look
    from dirtune.render import readiness

    whole = plan_files.find(plan)
    result = signals.run(look(whole, boots=booting.possible(whole)))
    if format == "json":
        _output.result(msgspec.json.format(msgspec.json.encode(result)), format)
    else:
        _output.result(markdown.literal(readiness.text(result), format), format)
    if not result.ready:
        _output.warning("The plan cannot be run yet. The table above names the reasons.")
        sys.exit(2)


@command.command()
@click.argument("plan", required=False)
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    default="dirtune-runs",
    show_default=True,
    help="Keep the run in a new folder below FOLDER.",
)
@click.option("--force", metavar="VIP", help="Run the bench even if other traffic uses VIP.")
@click.option(
    "--aa", is_flag=True, help="Run pairs of two equal arms (A/A), which measure the noise floor."
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the trials and their total time. Contacts no node.",
)
@click.option(
    "--resume",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Continue the interrupted run in the folder RUN.",
)
@_far.options
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
    """Run the plan's sweep, controls and matrix, search for the knee, and keep every trial.

    Examples:
      dirtune bench run plan.toml --dry-run
      dirtune bench run plan.toml
      dirtune bench run --resume dirtune-runs/20260730-101500
    """
    from dirtune.jobs import benches

    if dry_run:
        _output.result(_printed(benches.dry_run(plan_files.find(plan)), format), format)
        return
    if resume is not None:
        whole, kept = benches.interrupted(resume, plan, force)
        aa = aa or any(trial.pair for trial in kept.run.trials)
    else:
        whole = plans.forced(plan_files.find(plan), force)
        kept = benches.new(whole, out, aa=aa)
    for warning in ports_and_duration.warnings(whole):
        _output.progress(f"warning: {warning}")
    try:
        benches.carry_out(whole, kept, aa=aa)
    finally:
        kept.drop_if_empty()
    _output.result(_printed(kept.run, format), format)
    _output.progress(f"The run is kept in {kept.folder}.")


@command.command()
@click.argument("plan", required=False)
@click.option(
    "--command",
    metavar="COMMAND",
    required=True,
    help="Run COMMAND in a shell on this machine; it makes the director fail.",
)
@click.option(
    "--rate",
    type=_amount.WINDOW,
    metavar="RATE",
    help="Start RATE connections/s, summed over all clients.  [default: the plan's first rate]",
)
@click.option(
    "--before",
    type=_amount.WINDOW,
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Run the load for SECONDS before COMMAND.",
)
@click.option(
    "--after",
    type=_amount.WINDOW,
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Run the load for SECONDS from the start of COMMAND on.",
)
@click.option("--force", metavar="VIP", help="Run the load even if other traffic uses VIP.")
@_FORMAT
def failover(
    plan: str | None,
    command: str,
    rate: float | None,
    before: float,
    after: float,
    force: str | None,
    format: str,
) -> None:
    """Measure what a fail-over costs: connections lost, and seconds without an answer.

    The clients start connections at a constant rate, and COMMAND makes the director fail
    meanwhile. The exit status is 1 if no director took over before the load ended.

    Examples:
      dirtune bench failover --rate 100 --command 'dirtune lab reboot lb1 --power-cut'
      dirtune bench failover plan.toml --command 'ssh lb1 systemctl stop keepalived'
    """
    from dirtune.jobs import failovers
    from dirtune.render import failover as render

    whole = plans.forced(plan_files.find(plan), force)
    result = failovers.cost(whole, command, rate=rate, before_s=before, after_s=after)
    if format == "json":
        _output.result(msgspec.json.format(msgspec.json.encode(result)), format)
    else:
        _output.result(markdown.literal(render.text(result), format), format)
    sys.exit(0 if result.recovered else 1)


@command.command()
@click.argument(
    "run", metavar="RUN", type=click.Path(path_type=Path), shell_complete=_completion.runs
)
@click.option(
    "--arm", metavar="ARM", help="Print one arm or cell of the run. [default: all trials]"
)
def export(run: Path, arm: str | None) -> None:
    """Print a run as a file of pyperf, in seconds per connection.

    Write arm A and arm B into two files, because pyperf compares files.

    Examples:
      dirtune bench export dirtune-runs/20260730-101500 --arm A > before.json
    """
    from dirtune.bench import exchange, store

    trials = store.load(run).trials
    if arm is None and len({trial.arm for trial in trials}) > 1:
        raise PlanError(f"{run} holds two arms. Choose one with --arm A or --arm B.")
    kept = [trial for trial in trials if arm in {None, trial.arm, trial.cell}]
    _output.result(exchange.to_pyperf(kept), "json", end="")


def _printed(result: "Run | Itinerary", format: str) -> str:
    from dirtune.render import sweep

    if format == "json":
        return msgspec.json.format(msgspec.json.encode(result)).decode()
    if not isinstance(result, Run):
        return sweep.itinerary(result)
    return (sweep.table if format == "table" else sweep.markdown)(result)
