"""Run a real director with its clients and servers on this machine."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
from msgspec import structs

from dirtune.cli import _output
from dirtune.cli._group import Group

F = TypeVar("F", bound=Callable[..., Any])


_OUT = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="dirtune-runs",
    show_default=True,
    metavar="DIR",
    help="Write the runs below DIR.",
)
_KEEP = click.option("--keep", is_flag=True, help="Leave the lab up at the end.")
_PAIRS = click.option(
    "--pairs",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Measure NUMBER pairs of trials, 6 or more.  "
    "[default: the number in the scenario's file]",
)


def _scenario(default: str) -> Callable[[F], F]:
    return click.option(
        "--scenario",
        default=default,
        show_default=True,
        metavar="NAME",
        help="Place the director's devices as in scenario NAME; "
        "`dirtune lab status --scenarios` lists the scenarios.",
    )


@click.group(cls=Group)
def command() -> None:
    """Run a real director, with real servers and clients, on this machine.

    The lab lives in namespaces and control groups, which `dirtune lab down` removes. It is not
    connected to this machine's networks.

    Examples:
      dirtune lab up
      dirtune lab demo
      dirtune lab down
    """


def _say(phase: str) -> None:
    _output.progress(f"  {phase}")


@command.command()
@_scenario("shared")
@click.option(
    "--kernel",
    type=click.Choice(["standard", "rt"]),
    default="standard",
    show_default=True,
    help="Boot the director with the newest installed kernel of this kind.",
)
@click.option(
    "--cpus",
    type=click.IntRange(1, 4),
    metavar="NUMBER",
    help="Give the director NUMBER virtual CPUs.  "
    "[default: the number in the scenario's file, or 1]",
)
@click.option(
    "--clock",
    type=click.Choice(["exact", "host"]),
    help="With exact, the director's clock counts the instructions that the director executes, so "
    "it does not depend on other programs. With host, it follows this machine's clock.  "
    "[default: exact, or host with several CPUs or --backup]",
)
@click.option(
    "--real-servers",
    type=click.IntRange(1, 8),
    metavar="NUMBER",
    help="Start NUMBER real servers.  [default: 4, or 1 with --forwarding tun]",
)
@click.option(
    "--clients",
    type=click.IntRange(1, 8),
    default=4,
    show_default=True,
    metavar="NUMBER",
    help="Start NUMBER clients.",
)
@click.option(
    "--forwarding",
    type=click.Choice(["dr", "nat", "tun"]),
    default="dr",
    show_default=True,
    help="Let IPVS forward by direct routing, NAT or a tunnel.",
)
@click.option(
    "--backup",
    is_flag=True,
    help="Boot a second director, lb2. keepalived runs on both, and moves the VIP with VRRP.",
)
@click.option(
    "--append",
    default="",
    metavar="OPTIONS",
    help="Add OPTIONS to the director's kernel command line.",
)
def up(
    scenario: str,
    cpus: int | None,
    clock: Literal["exact", "host"] | None,
    real_servers: int | None,
    backup: bool,
    **options: str,
) -> None:
    """Build the lab and wait until every node answers.

    Examples:
      dirtune lab up --scenario crowded --cpus 2
      dirtune lab up --backup
    """
    from dirtune.lab import lifecycle, state
    from dirtune.lab.spec import spec_of, text_of_clock

    # Each guest takes its share of this machine's CPUs.
    servers = real_servers or (1 if options["forwarding"] == "tun" else 4)
    defaults = spec_of(state.scenario(scenario), cpus=cpus, clock=clock, backup=backup)
    spec = structs.replace(defaults, real_servers=servers, **options)
    status = lifecycle.up(spec, _say)
    place = state.folder()
    booted = f"The director booted in {status.boot_s:.0f} s"
    if status.backup:
        booted += f", the backup in {status.backup.boot_s:.0f} s"
    _output.result(f"{booted}, and the lab is ready.")
    _output.result(text_of_clock(spec))
    _output.result(
        f"export DIRTUNE_SSH_CONFIG={place.ssh_config}  # then: dirtune audit --host lb1"
    )


@command.command()
def down() -> None:
    """Stop the lab and remove everything that belongs to it.

    Examples:
      dirtune lab down
    """
    from dirtune.lab import lifecycle

    _output.result("The lab is down." if lifecycle.down() else "There is no lab.")


@command.command()
@click.option(
    "--format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Print the result in this format.",
)
@click.option("--scenarios", is_flag=True, help="List the scenarios instead of the status.")
def status(format: str, scenarios: bool) -> None:
    """Print whether a lab is up, with its nodes, plan and ssh_config.

    Examples:
      dirtune lab status --scenarios
    """
    from dirtune.lab import lifecycle, state

    if scenarios:
        for scenario in map(state.scenario, state.scenario_names()):
            _output.result(f"{scenario.name:14} {scenario.title}")
            _output.result(f"{'':14} expected: {scenario.expect}")
        return
    description = lifecycle.describe()
    if format == "json":
        _output.result(json.dumps(description, indent=1), format)
        return
    for key, value in description.items():
        _output.result(f"{key:14} {_in_words(value)}")


def _in_words(value: object) -> str:
    """Return a value of the lab's state as a person reads it, and not as Python spells it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(part)}" for name, part in value.items())
    return "-" if value is None else str(value)


@command.command()
@click.argument("node", default="lb1")
def shell(node: str) -> None:
    """Open a shell on NODE, or on lb1, the director.

    Examples:
      dirtune lab shell rs1
    """
    from dirtune.lab import lifecycle

    sys.exit(lifecycle.enter(node, (), terminal=True))


@command.command(name="exec", context_settings={"ignore_unknown_options": True})
@click.argument("node")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND...")
def exec_(node: str, words: tuple[str, ...]) -> None:
    """Run COMMAND on NODE, and exit with its status.

    Examples:
      dirtune lab exec lb1 -- cat /proc/interrupts
    """
    from dirtune.lab import lifecycle

    sys.exit(lifecycle.enter(node, words, terminal=False))


@command.command()
@click.argument("director", default="lb1")
@click.option("--power-cut", is_flag=True, help="Kill the director's QEMU, as a power cut would.")
def reboot(director: str, power_cut: bool) -> None:
    """Boot DIRECTOR again, by default lb1, with the kernel options of its grub files.

    Examples:
      dirtune lab reboot
      dirtune lab reboot lb1 --power-cut
    """
    from dirtune.lab import lifecycle

    status = lifecycle.reboot(_say, director, power_cut=power_cut)
    _output.result(f"{director} booted in {status.boot_of(director).boot_s:.0f} s.")


@command.command()
@_scenario("crowded")
@_PAIRS
@click.option(
    "--full",
    is_flag=True,
    help="Also do a run without a change (A/A) and a run that compares boots. Takes an hour.",
)
@_KEEP
@_OUT
def demo(scenario: str, pairs: int | None, full: bool, keep: bool, out: Path) -> None:
    """Find a shared interrupt line, measure its cost, fix it, and prove the effect.

    Examples:
      dirtune lab demo --pairs 6
    """
    from dirtune.cli import _demo

    _demo.run(scenario, pairs, out, full=full, keep=keep)


@command.command()
@_scenario("crowded")
@_PAIRS
@_KEEP
@_OUT
def control(scenario: str, pairs: int | None, keep: bool, out: Path) -> None:
    """Run the negative control: change only the order of the handlers on the NIC's line.

    The NIC's handler is last on its line in arm A, and first in arm B. No effect is expected; the
    verdict is printed whatever it is.

    Examples:
      dirtune lab control --pairs 6
    """
    from dirtune.cli import _demo

    _demo.run_control(scenario, pairs, out, keep=keep)
