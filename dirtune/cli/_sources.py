"""Where an audit's samples come from: this host, another, or a record of one."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import click

from dirtune.analyse.handlers import HandlerWindow
from dirtune.errors import NotPossible
from dirtune.host import Host, LiveHost, RecordedHost
from dirtune.snapshot import Snapshot, fetch_script, load, parse_fetched, record, take_all


@dataclass(frozen=True, slots=True)
class Source:
    """What the options say to read: a tree, an archive, a host over SSH, else this machine."""

    root: Path | None = None
    archive: Path | None = None
    host: str | None = None
    ssh_config: Path | None = None
    interval: float = 2.0
    """Seconds between the two samples."""

    @property
    def name(self) -> str:
        """The source in a message."""
        return str(self.root or self.archive or self.host or "this host")


def snapshot_of(source: Source) -> Snapshot:
    """Take a snapshot; a recorded tree is one sample, a live host two."""
    if source.archive is not None:
        return take_all(load(source.archive))
    if source.root is not None:
        return take_all((_tree(source.root),))
    return take_all(samples(source))


def samples(source: Source) -> tuple[RecordedHost, RecordedHost]:
    """Return two samples of a live host."""
    first = _sample(source)
    time.sleep(source.interval)
    return first, _sample(source)


def probed(source: Source, seconds: float) -> HandlerWindow:
    """Measure the interrupt handlers here, or on a host by the dirtune installed there."""
    if source.root or source.archive:
        raise NotPossible("--probe measures a live host; a record has none")
    if source.host is None:
        from dirtune.probes import irq

        return irq.measure(seconds, progress=lambda phase: click.echo(f"  {phase}", err=True))
    import msgspec

    from dirtune import remote

    argv = ("dirtune", "irqs", f"--probe={seconds:g}", "--format", "json")
    answer = remote.run_json(
        source.host, argv, ssh_config=source.ssh_config, timeout_s=seconds + 180
    )
    return msgspec.convert(answer.get("handlers"), HandlerWindow)


def colour() -> bool | None:
    """Return what click.echo is told: never colour under NO_COLOR, else only on a terminal."""
    return False if os.environ.get("NO_COLOR") else None


def hosts_in(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the hosts named, `@FILE` read as one name a line, each once."""
    found: list[str] = []
    for name in names:
        found += _listed(Path(name[1:])) if name.startswith("@") else [name]
    return tuple(dict.fromkeys(found))


def _tree(root: Path) -> Host:
    if not root.is_dir():
        raise NotPossible(f"{root}: no such folder; --root wants one that holds proc and sys")
    return LiveHost(root)


def _sample(source: Source) -> RecordedHost:
    if source.host is None:
        return record(LiveHost())
    from dirtune import remote

    return parse_fetched(remote.fetch(source.host, fetch_script(), ssh_config=source.ssh_config))


def _listed(path: Path) -> list[str]:
    try:
        rows = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error
    return [row.strip() for row in rows if row.strip() and not row.startswith("#")]
