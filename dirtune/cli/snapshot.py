"""Record what an audit reads, two samples, into one file."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from dirtune.archive import save
from dirtune.cli import _output, _sources
from dirtune.host import RecordedHost


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE")
@click.option("--host", metavar="HOST", help="Record another host over SSH.")
@click.option(
    "--interval",
    type=_sources.SECONDS,
    default=2.0,
    show_default=True,
    help="Between two samples.",
)
@click.option("--redact", is_flag=True, help="Stand-ins for addresses and host names.")
def command(output: Path, host: str | None, interval: float, redact: bool) -> None:
    """Write two samples of this host into FILE, a tar.gz that `dirtune audit --from` reads.

    It holds host name, addresses and the kernel's messages. With --redact addresses of IPv4, IPv6
    and cards, and host names, are replaced, and an audit of it says the same; look at it
    nevertheless before it leaves the house.
    """
    samples: Sequence[RecordedHost] = _sources.samples(
        _sources.Source(host=host, interval=interval)
    )
    if redact:
        samples = _redacted(samples, host)
    save(samples, output)
    first, last = (len(sample.files) for sample in samples)
    _output.result(f"{output}: {last} files, {first} of them twice")


def _redacted(samples: Sequence[RecordedHost], host: str | None) -> tuple[RecordedHost, ...]:
    from dirtune.analyse.redact import Redactor, hostnames, networks, other_hosts

    texts = [pair for sample in samples for pair in sample.files.items()]
    names = (*hostnames(texts), (host or "").rpartition("@")[2])
    redactor = Redactor(secrets.token_bytes(32), names, networks(texts), other_hosts(texts))
    return tuple(
        replace(
            sample,
            files={redactor.path(p): redactor.text(p, t) for p, t in sample.files.items()},
            links={redactor.path(p): redactor.path(t) for p, t in sample.links.items()},
            refused=frozenset(map(redactor.path, sample.refused)),
            modes={redactor.path(path): mode for path, mode in sample.modes.items()},
        )
        for sample in samples
    )
