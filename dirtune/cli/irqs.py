"""Show the interrupt table: shared lines, rates and, probed, what each handler costs."""

import json
from pathlib import Path

import click

from dirtune.cli import _amount, _output
from dirtune.cli._options import one_of
from dirtune.errors import SourceMissing
from dirtune.jobs import snapshots
from dirtune.render import irqs as render
from dirtune.snapshot import with_probes


@click.command()
@click.option(
    "--probe", type=_amount.WINDOW, is_flag=False, flag_value=5.0, metavar="[SECONDS]",
    help="Measure every handler with eBPF as well (5 s).",
)  # fmt: skip
@click.option("--host", metavar="HOST", help="Read over SSH.")
@click.option("--root", type=click.Path(path_type=Path), help="A recorded tree instead of /.")
@click.option("--from", "archive", type=click.Path(path_type=Path), help="A snapshot's file.")
@click.option(
    "--interval",
    type=_amount.SECONDS,
    default=2.0,
    show_default=True,
    help="Between two samples.",
)
@click.option("--format", type=click.Choice(["table", "json", "markdown"]), default="table")
@click.option("-v", "--verbose", is_flag=True, help="The architecture's own rows, too.")
def command(
    probe: float | None,
    host: str | None,
    root: Path | None,
    archive: Path | None,
    interval: float,
    format: str,
    verbose: bool,
) -> None:
    """Show who is on each interrupt line and how often it interrupts."""
    one_of(**{"host": host, "root": root, "from": archive})
    source = snapshots.Source(root, archive, host, interval=interval)
    taken = snapshots.snapshot_of(source, render.FIELDS)
    table = taken.interrupts
    if table is None:
        why = taken.errors["interrupts"]
        raise SourceMissing(why if source.live else f"{source.name}: {why}")
    if probe is not None:
        found = snapshots.known(snapshots.probed((source,), probe, ("irq",))[source])
        snapshots.warn(found)
        taken = with_probes(taken, found)
    if format == "json":
        _output.result(json.dumps(render.document(taken, table)), format)
    elif format == "markdown":
        _output.result(render.markdown(taken, table, verbose=verbose))
    else:
        _output.result(render.text(taken, table, verbose=verbose), coloured=True)
