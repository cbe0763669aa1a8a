"""Show where the CPU time of every node goes, and what limits the director."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from dirtune import reading, signals, writing
from dirtune.analyse.profile import Profile
from dirtune.analyse.run import TrialKind
from dirtune.cli import _amount, _far, _output
from dirtune.cli._group import Command
from dirtune.cli._options import FORMAT, NETNS, PATH, enter
from dirtune.errors import NotPossible, ParseError, TrialError
from dirtune.formats import from_json
from dirtune.jobs import unprobed

ALL = "irq,softirq,locks,cpu,drops,ipvs"


@click.command(cls=Command)
@click.option(
    "--duration",
    type=_amount.WINDOW,
    metavar="SECONDS",
    help="Profile this machine, or HOST, for SECONDS.",
)
@_far.host("Profile HOST over SSH, as root.")
@_far.options
@click.option(
    "--during-bench",
    is_flag=False,
    flag_value="",
    metavar="[PLAN]",
    help="Profile all nodes while the load of PLAN runs through the director. Without PLAN, "
    "use dirtune.toml in this folder, else the plan of a running lab.",
)
@NETNS
@click.option(
    "--rate",
    type=_amount.Amount(min=0, min_open=True),
    metavar="RATE",
    help="Offer RATE connections/s instead of the plan's first rate.",
)
@click.option(
    "--probes",
    default=ALL,
    metavar="NAME,...",
    help="Attach these eBPF probes; `none` attaches no probe.",
)
@click.option(
    "--max-overhead",
    type=_amount.Amount(min=0),
    default=1.0,
    metavar="PERCENT",
    help="Limit the probes' total cost to PERCENT of one CPU; the most expensive probe is "
    "detached first.",
)
@click.option(
    "--folded",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the stacks to FILE in the format that flame graph tools read.",
)
@click.option(
    "--compare",
    type=PATH,
    metavar="FILE",
    help="Compare with an earlier profile, the JSON in FILE, and print the difference.",
)
@click.option(
    "--told",
    "begin_when_told",
    is_flag=True,
    hidden=True,
    help="Begin when a line arrives on standard input.",
)
@FORMAT
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Also print figures for each CPU, and the kernel functions, locks and stacks.",
)
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD [ARG]...]")
def command(
    duration: float | None,
    host: str | None,
    during_bench: str | None,
    netns: str | None,
    rate: float | None,
    probes: str,
    max_overhead: float,
    folded: Path | None,
    compare: Path | None,
    begin_when_told: bool,
    form: str,
    verbose: bool,
    cmd: tuple[str, ...],
) -> None:
    """Show where the CPU time of every node goes, and what limits the director.

    Choose one of three windows: --duration profiles this machine for some seconds, CMD profiles it
    while CMD runs, and --during-bench profiles all nodes of a plan under load, one sample a
    second. Probes need root and libbpf; dirtune prints which probes are unavailable, and why.

    Exit status: 0 if the profile is complete, 2 if CMD failed; the profile then ends when CMD
    ends.

    Examples:
      dirtune profile --duration 10
      dirtune profile --host lb1 --duration 10
      dirtune profile --during-bench=plan.toml --rate 400
      dirtune profile --probes none -- curl -s http://198.18.0.100/
    """
    if during_bench is not None and (duration is not None or cmd):
        other = "CMD" if cmd else "--duration"
        raise click.UsageError(f"The plan sets how long --during-bench runs. Leave out {other}.")
    enter(netns, host=host, **{"during-bench": during_bench is not None})
    if host is not None and (duration is None or cmd or during_bench is not None):
        raise click.UsageError("--host needs --duration, and neither CMD nor --during-bench.")
    names = () if probes == "none" else tuple(filter(None, probes.split(",")))
    before = None if compare is None else _kept(compare)
    if host is not None and duration is not None:
        from dirtune.jobs import far_hosts

        profile = far_hosts.profile(host, duration, names, max_overhead)
    elif during_bench is not None:
        profile = signals.run(_under_load(during_bench, rate, names))
    else:
        profile = signals.run(
            _alone(duration, cmd, names, max_overhead, begin_when_told=begin_when_told)
        )
    if profile.probed is not None:
        unprobed.warn(profile.probed, host)
    if folded is not None:
        _write_folded(profile, folded)
    _print(profile, before, form, verbose=verbose)
    if profile.command_status:
        _say_failed(cmd[0], profile.command_status)
        sys.exit(2)


def _say_failed(name: str, status: int) -> None:
    how = f"was ended by signal {-status}" if status < 0 else f"failed with exit status {status}"
    _output.warning(f"{name} {how}. The profile ends at that moment.")


async def _under_load(given: str, rate: float | None, probes: tuple[str, ...]) -> Profile:
    from dirtune.analyse.profile import of_trial
    from dirtune.bench import rig
    from dirtune.bench.outcome import Order
    from dirtune.bench.trial import conduct
    from dirtune.jobs import plan_files

    plan = plan_files.find(given)
    order = Order("profile", "A", TrialKind.PROFILED, rate or plan.load.rates[0], probes=probes)
    _output.progress(f"sending load through {plan.url} for {plan.load.load_s:g} s")
    async with rig.opened(plan) as nodes:
        result = await conduct(nodes, plan, order)
    if not result.trial.nodes:
        raise TrialError(result.trial.reason or "No node was sampled.")
    return of_trial(result.trial, result.profile, tuple(nodes.roles()))


async def _alone(
    duration: float | None,
    cmd: tuple[str, ...],
    probes: tuple[str, ...],
    max_overhead: float,
    *,
    begin_when_told: bool,
) -> Profile:
    from dirtune.bench import local
    from dirtune.cli import _live
    from dirtune.probes import session

    if duration is None and not cmd:
        raise click.UsageError(
            "Choose what to profile: --duration SECONDS, --during-bench or -- CMD."
        )
    with session.opened(session.named(probes), limit_percent=max_overhead, say=_say) as probing:
        if begin_when_told:
            await _wait_for_line()
        _say("measuring")
        with _live.shown(quiet=bool(cmd) or begin_when_told) as watch:
            return await local.profile(duration, cmd, probing, watch)


def _say(phase: str) -> None:
    _output.progress(f"  {phase}")


async def _wait_for_line() -> None:
    _say("loaded")
    if not await asyncio.to_thread(sys.stdin.readline):
        raise NotPossible("Standard input ended before a line arrived to begin the profile.")


def _print(profile: Profile, before: Profile | None, form: str, *, verbose: bool) -> None:
    if before is None and form == "json":  # another dirtune waits for it
        _output.result(msgspec.json.format(msgspec.json.encode(profile)), form)
        return
    from dirtune.render import profile as render

    if before is not None:
        from dirtune.analyse import profile_difference as difference

        rows = difference.of(before, profile)
        if form == "json":
            _output.result(msgspec.json.format(msgspec.json.encode(rows)), form)
        else:
            _output.result(render.difference(rows, markdown=form == "markdown"), form, end="")
    else:
        show = render.table if form == "table" else render.markdown
        _output.result(show(profile, verbose=verbose), form, end="")


def _write_folded(profile: Profile, path: Path) -> None:
    from dirtune.analyse.phases import folded

    if profile.probed is None or profile.probed.cpu is None:
        raise NotPossible(f"{path} was not written: without the cpu probe there are no stacks.")
    # The stacks show every user's programs; perf(1) also makes its file private.
    writing.replace(path, folded(profile.probed.cpu).encode(), private=True)


def _kept(path: Path) -> Profile:
    try:
        return from_json(reading.read_bytes(path), Profile)
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ParseError(
            str(path), f"the file is not a profile that --format json printed ({error})"
        ) from error
