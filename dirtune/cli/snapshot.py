"""Record in one file everything that an audit reads, as two samples."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dirtune.archive import save
from dirtune.cli import _amount, _completion, _output
from dirtune.cli._group import Command
from dirtune.cli._options import NETNS, enter
from dirtune.host import RecordedHost
from dirtune.jobs import snapshots

if TYPE_CHECKING:
    from dirtune.analyse.redact import Redactor


@click.command(cls=Command)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Write the record to FILE, a tar.gz.",
)
@click.option(
    "--host",
    metavar="HOST",
    shell_complete=_completion.hosts,
    help="Record HOST over SSH instead of this host.",
)
@NETNS
@click.option(
    "--interval",
    type=_amount.SECONDS,
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait SECONDS between the two samples.",
)
@click.option(
    "--redact", is_flag=True, help="Replace all words and addresses that may name the site."
)
def command(
    output: Path, host: str | None, netns: str | None, interval: float, redact: bool
) -> None:
    """Write two samples of this host into FILE, a tar.gz that `dirtune audit --from` reads.

    FILE holds the host's name, its addresses, its packet filter's rules, its mounts, its boot
    options and messages of the kernel.

    --redact replaces names of hosts, users, files, disks and volumes, addresses (IPv4, IPv6, MAC),
    serial numbers, names of rules, comments, the values of boot options and mount options, and
    every other word that dirtune does not know. It replaces names of interfaces unless they
    consist of a common prefix and a number (eth0, enp3s0). A name gets the same replacement
    everywhere, and two addresses keep the length of the prefix that they share, so an audit of
    FILE reports the same findings. The key of the replacements is not stored.

    --redact keeps names of drivers, modules, well-known programs and of interfaces such as eth0,
    the kernel's version and the CPU's model, hardware addresses on buses, port numbers, firewall
    marks, VLAN numbers, counters, numeric values of settings, and which addresses are private,
    public or loopback. Read FILE before you publish it.

    Examples:
      dirtune snapshot -o lb1.tar.gz
      dirtune snapshot -o lb1.tar.gz --host lb1 --redact
    """
    enter(netns, host=host)
    samples: Sequence[RecordedHost] = snapshots.samples(
        snapshots.Source(host=host, interval=interval)
    )
    if redact:
        samples = redacted(samples)
    save(samples, output)
    first, last = (len(sample.files) for sample in samples)
    _output.result(f"{output}: {last} files, {first} of them recorded twice")


def redacted(samples: Sequence[RecordedHost]) -> tuple[RecordedHost, ...]:
    """Return *samples* with every word that may name their host or its site replaced."""
    from dirtune.analyse.redact import Redactor

    texts = [pair for sample in samples for pair in sample.files.items()]
    paths = [path for s in samples for path in (*s.files, *s.links, *s.refused, *s.modes)]
    redactor = Redactor(secrets.token_bytes(32), paths, texts)
    return tuple(_redacted(sample, redactor) for sample in samples)


def _redacted(sample: RecordedHost, redactor: "Redactor") -> RecordedHost:
    paths = {path: redactor.path(path) for path in (*sample.files, *sample.links)}
    paths |= {path: redactor.path(path) for path in (*sample.refused, *sample.modes)}
    known = {path: renamed for path, renamed in paths.items() if renamed is not None}
    return replace(
        sample,
        files={known[p]: redactor.text(p, text) for p, text in sample.files.items() if p in known},
        links={known[p]: redactor.link(p, to) for p, to in sample.links.items() if p in known},
        refused=frozenset(known[path] for path in sample.refused if path in known),
        modes={known[path]: mode for path, mode in sample.modes.items() if path in known},
    )
