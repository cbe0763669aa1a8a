"""Show where the CPU time of every node goes, alone or under a plan's load."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from dirtune import reading, signals, writing
from dirtune.analyse.profile import Profile
from dirtune.analyse.run import TrialKind
from dirtune.cli import _amount, _output
from dirtune.errors import NotPossible, ParseError, TrialError
from dirtune.formats import from_json
from dirtune.jobs import plan_files, snapshots

ALL = "irq,softirq,locks,cpu,drops,ipvs"


@click.command()
@click.option("--duration", type=_amount.WINDOW, help="Profile this machine for so many seconds.")
@click.option(
    "--during-bench", is_flag=False, flag_value="", help="Profile all nodes under a plan's load."
)
@click.option(
    "--rate",
    type=_amount.Amount(min=0, min_open=True),
    help="Connections/s; default: the plan's first rate.",
)
@click.option("--probes", default=ALL, show_default=True, help="Which, or none.")
@click.option(
    "--max-overhead", type=_amount.Amount(min=0), default=1.0, show_default=True,
    metavar="PERCENT",
    help="What the probes together may cost, of one CPU; the dearest is taken off.",
)  # fmt: skip
@click.option("--folded", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write the stacks as flame graph tools read them.",
)  # fmt: skip
@click.option("--compare", type=click.Path(path_type=Path), metavar="FILE",
    help="Show the difference to a profile kept as JSON.",
)  # fmt: skip
@click.option("--told", is_flag=True, hidden=True, help="Begin when a line comes on stdin.")
@click.option("--format", type=click.Choice(["table", "json", "markdown"]), default="table")
@click.option("-v", "--verbose", is_flag=True, help="Add each CPU, symbols, locks and stacks.")
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED)
def command(
    duration: float | None,
    during_bench: str | None,
    rate: float | None,
    probes: str,
    max_overhead: float,
    folded: Path | None,
    compare: Path | None,
    told: bool,
    format: str,
    verbose: bool,
    cmd: tuple[str, ...],
) -> None:
    """Show where the CPU time of every node goes, and what limits the director.

    With --during-bench[=PLAN] (dirtune.toml here, else a running lab) load runs through the
    director and every node is sampled once a second; else this machine alone is, for --duration
    seconds or while CMD runs. Probes need root and bcc; what cannot be had is said.

    Exit status 2 if CMD failed: the profile is of what it did until then.
    """
    if during_bench is not None and (duration is not None or cmd):
        other = "-- COMMAND" if cmd else "--duration"
        raise click.UsageError(f"--during-bench lasts as its plan says; leave out {other}")
    wanted = () if probes == "none" else tuple(filter(None, probes.split(",")))
    before = None if compare is None else _kept(compare)
    if during_bench is not None:
        found = signals.run(_under_load(during_bench, rate, wanted))
    else:
        found = signals.run(_alone(duration, cmd, wanted, max_overhead, told=told))
    if found.probed is not None:
        snapshots.warn(found.probed)
    if folded is not None:
        _write_folded(found, folded)
    _print(found, before, format, verbose=verbose)
    if found.command_status:
        _say_failed(cmd[0], found.command_status)
        sys.exit(2)


def _say_failed(name: str, status: int) -> None:
    how = f"was ended by signal {-status}" if status < 0 else f"failed with exit status {status}"
    _output.warning(f"{name} {how}: the profile is of what it did until then")


async def _under_load(given: str, rate: float | None, probes: tuple[str, ...]) -> Profile:
    from dirtune.analyse.profile import of_trial
    from dirtune.bench import rig
    from dirtune.bench.outcome import Order
    from dirtune.bench.trial import conduct

    plan = plan_files.find(given)
    order = Order("profile", "A", TrialKind.PROFILED, rate or plan.load.rates[0], probes=probes)
    _output.progress(f"load through {plan.url} for {plan.load.load_s:g} s")
    async with rig.opened(plan) as nodes:
        result = await conduct(nodes, plan, order)
    if not result.trial.nodes:
        raise TrialError(result.trial.reason or "no node was sampled")
    return of_trial(result.trial, result.profile, tuple(nodes.roles()))


async def _alone(
    duration: float | None,
    cmd: tuple[str, ...],
    probes: tuple[str, ...],
    max_overhead: float,
    *,
    told: bool,
) -> Profile:
    from dirtune.bench import local
    from dirtune.cli import _live
    from dirtune.probes import session

    if duration is None and not cmd:
        raise click.UsageError("say --duration SECONDS, --during-bench or -- COMMAND")
    wanted = session.named(probes)
    with session.opened(wanted, limit_percent=max_overhead, say=_say) as probing:
        if told:
            await _told()
        _say("measuring")
        with _live.shown(quiet=bool(cmd) or told) as watch:
            return await local.profile(duration, cmd, probing, watch)


def _say(phase: str) -> None:
    _output.progress(f"  {phase}")


async def _told() -> None:
    _say("loaded")
    if not await asyncio.to_thread(sys.stdin.readline):
        raise NotPossible("profile: standard input ended before the word to begin came")


def _print(found: Profile, before: Profile | None, format: str, *, verbose: bool) -> None:
    from dirtune.render import profile as render

    if before is not None:
        from dirtune.analyse import profile_difference as difference

        rows = difference.of(before, found)
        if format == "json":
            _output.result(msgspec.json.format(msgspec.json.encode(rows)), format)
        else:
            _output.result(render.difference(rows, markdown=format == "markdown"), end="")
    elif format == "json":
        _output.result(msgspec.json.format(msgspec.json.encode(found)), format)
    else:
        show = render.table if format == "table" else render.markdown
        _output.result(show(found, verbose=verbose), end="")


def _write_folded(found: Profile, path: Path) -> None:
    from dirtune.analyse.phases import folded

    if found.probed is None or found.probed.cpu is None:
        raise NotPossible(f"{path}: no stacks were taken; the cpu probe did not run")
    # Stacks of every user's programs: perf(1) keeps its own file to its owner as well.
    writing.replace(path, folded(found.probed.cpu).encode(), private=True)


def _kept(path: Path) -> Profile:
    try:
        return from_json(reading.read_bytes(path), Profile)
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ParseError(
            str(path), f"is no profile as --format json prints it: {error}"
        ) from error
