"""Record what an audit reads, two samples, into one file."""

from pathlib import Path

import click

from dirtune.cli import _sources
from dirtune.snapshot import save


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE")
@click.option("--host", metavar="HOST", help="Record another host over SSH.")
@click.option(
    "--interval", type=float, default=2.0, show_default=True, help="Between two samples."
)
def command(output: Path, host: str | None, interval: float) -> None:
    """Write two samples of this host into FILE, a tar.gz that `dirtune audit --from` reads.

    It holds host name, addresses of IPVS services and destinations, and the kernel's command
    line: look at it before it leaves the house.
    """
    samples = _sources.samples(_sources.Source(host=host, interval=interval))
    save(samples, output)
    click.echo(f"{output}: {len(samples[-1].files)} files in each of {len(samples)} samples")
