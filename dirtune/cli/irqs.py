"""Show the interrupt table: shared lines, rates and, with --probe, the cost of handlers."""

import json
from pathlib import Path

import click

from dirtune.cli import _amount, _far, _output
from dirtune.cli._group import Command
from dirtune.cli._options import FORMAT, NETNS, PATH, enter, one_of
from dirtune.errors import SourceMissing
from dirtune.jobs import snapshots, unprobed
from dirtune.render import irqs as render
from dirtune.snapshot import with_probes


@click.command(cls=Command)
@click.option(
    "--probe", type=_amount.WINDOW, is_flag=False, flag_value=5.0, metavar="[SECONDS]",
    help="Also measure every handler with eBPF, for SECONDS.  [default of SECONDS: 5]",
)  # fmt: skip
@_far.host("Read HOST over SSH.")
@_far.options
@click.option("--root", type=PATH, metavar="DIR", help="Read the recorded tree DIR instead of /.")
@click.option(
    "--from",
    "archive",
    type=PATH,
    metavar="FILE",
    help="Read FILE: a snapshot of dirtune, a sosreport, or a tarball of /proc and /sys.",
)
@NETNS
@click.option(
    "--interval",
    type=_amount.SECONDS,
    default=2.0,
    metavar="SECONDS",
    help="Wait SECONDS between the two samples.",
)
@FORMAT
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Also list the rows without an interrupt number, such as NMI and LOC.",
)
def command(
    probe: float | None,
    host: str | None,
    root: Path | None,
    archive: Path | None,
    netns: str | None,
    interval: float,
    form: str,
    verbose: bool,
) -> None:
    """Show the devices on each interrupt line, and how often the line fires.

    Examples:
      dirtune irqs
      dirtune irqs --probe 10
      dirtune irqs --host lb1 --format json
    """
    enter(netns, host=host, root=root, **{"from": archive})
    one_of(**{"host": host, "root": root, "from": archive})
    source = snapshots.Source(root, archive, host, interval=interval)
    taken = snapshots.snapshot_of(source, render.FIELDS)
    table = taken.interrupts
    if table is None:
        why = taken.errors["interrupts"]
        raise SourceMissing(why if source.live else f"{source.name}: {why}")
    if probe is not None:
        probed = snapshots.known(snapshots.probed((source,), probe, ("irq",))[source])
        unprobed.warn(probed)
        taken = with_probes(taken, probed)
    if form == "json":
        _output.result(json.dumps(render.document(taken, table)), form)
    elif form == "markdown":
        _output.result(render.markdown(taken, table, verbose=verbose), form)
    else:
        _output.result(render.text(taken, table, verbose=verbose), coloured=True)
