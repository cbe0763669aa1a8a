"""Run a real director with its clients and servers on this machine."""

import json
import sys
from pathlib import Path

import click

from dirtune.cli import _output
from dirtune.cli._group import Group


@click.group(cls=Group)
def command() -> None:
    """Run a real director, real servers and clients on this machine.

    Everything lives in namespaces and control groups that `lab down` removes; nothing is
    routed outside.
    """


def _say(phase: str) -> None:
    _output.progress(f"  {phase}")


@command.command()
@click.option(
    "--scenario", default="shared", show_default=True, help="See `lab status --scenarios`."
)
@click.option("--kernel", type=click.Choice(["standard", "rt"]), default="standard")
@click.option("--cpus", type=click.IntRange(1, 2), default=1, help="The director's CPUs.")
@click.option(
    "--real-servers", type=click.IntRange(1, 8), help="[default: 4; of tun, guests all, 1]"
)
@click.option("--clients", type=click.IntRange(1, 8), default=4)
@click.option("--forwarding", type=click.Choice(["dr", "nat", "tun"]), default="dr")
@click.option("--append", default="", help="More kernel options for the director.")
def up(scenario: str, real_servers: int | None, **options: str | int) -> None:
    """Build the lab and wait until every node answers."""
    from dirtune.lab import lifecycle, state
    from dirtune.lab.spec import Spec

    # Each guest takes its share of this machine's CPUs.
    servers = real_servers or (1 if options["forwarding"] == "tun" else 4)
    asked = state.scenario(scenario)
    spec = Spec(scenario=asked, real_servers=servers, **options)  # type: ignore[arg-type]
    status = lifecycle.up(spec, _say)
    place = state.folder()
    _output.result(f"ready: the director booted in {status.boot_s:.0f} s")
    _output.result(
        f"export DIRTUNE_SSH_CONFIG={place.ssh_config}  # then: dirtune audit --host lb1"
    )


@command.command()
def down() -> None:
    """End the lab and remove all that is left of it."""
    from dirtune.lab import lifecycle

    _output.result("the lab is down" if lifecycle.down() else "there was no lab")


@command.command()
@click.option("--format", type=click.Choice(["table", "json"]), default="table")
@click.option("--scenarios", is_flag=True, help="List the scenarios instead.")
def status(format: str, scenarios: bool) -> None:
    """Say whether a lab is up, and what it is."""
    from dirtune.lab import lifecycle, state

    if scenarios:
        all_of_them = [state.scenario(name) for name in state.scenario_names()]
        for each in all_of_them:
            _output.result(f"{each.name:10} {each.title}\n{'':10} expect: {each.expect}")
        return
    said = lifecycle.describe()
    if format == "json":
        _output.result(json.dumps(said, indent=1), format)
        return
    for key, value in said.items():
        _output.result(f"{key:14} {value}")


@command.command()
@click.argument("node", default="lb1")
def shell(node: str) -> None:
    """Open a shell on NODE (the director, if none is named)."""
    from dirtune.lab import lifecycle

    sys.exit(lifecycle.enter(node, (), terminal=True))


@command.command(name="exec", context_settings={"ignore_unknown_options": True})
@click.argument("node")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(node: str, words: tuple[str, ...]) -> None:
    """Run a command on NODE and exit with its status."""
    from dirtune.lab import lifecycle

    sys.exit(lifecycle.enter(node, words, terminal=False))


@command.command()
@click.option("--power-cut", is_flag=True, help="Kill its machine instead of asking it.")
def reboot(power_cut: bool) -> None:
    """Boot the director anew with what its grub files now say."""
    from dirtune.lab import lifecycle

    status = lifecycle.reboot(_say, power_cut=power_cut)
    _output.result(f"ready: the director booted in {status.boot_s:.0f} s")


@command.command()
@click.option("--scenario", default="crowded", show_default=True)
@click.option("--pairs", type=click.IntRange(min=1), help="Default: as the scenario's file says.")
@click.option("--full", is_flag=True, help="Add an A/A run and the reboot arm (an hour).")
@click.option("--keep", is_flag=True, help="Leave the lab up afterwards.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="dirtune-runs")
def demo(scenario: str, pairs: int | None, full: bool, keep: bool, out: Path) -> None:
    """Find the shared line, price it, fix it and prove it, in one go."""
    from dirtune.cli import _demo

    _demo.run(scenario, pairs, out, full=full, keep=keep)


@command.command()
@click.option("--scenario", default="crowded", show_default=True)
@click.option("--pairs", type=click.IntRange(min=1), help="Default: as the scenario's file says.")
@click.option("--keep", is_flag=True, help="Leave the lab up afterwards.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="dirtune-runs")
def control(scenario: str, pairs: int | None, keep: bool, out: Path) -> None:
    """The negative control: change only the order of the handlers on the line.

    Card last, card first, in interleaved pairs. No effect is to be expected; what comes out is
    said whatever it is.
    """
    from dirtune.cli import _demo

    _demo.run_control(scenario, pairs, out, keep=keep)
