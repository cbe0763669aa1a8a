"""Take the samples of an audit: of this host, of another host, or from a record."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dirtune import reading
from dirtune.analyse.probed import Probed
from dirtune.errors import DirtuneError, NodeUnreachable, NotInstalled, NotPossible, ParseError
from dirtune.host import Host, LiveHost, RecordedHost
from dirtune.jobs import notes
from dirtune.snapshot import FIELDS, Snapshot, moving, patterns_of, take_all

if TYPE_CHECKING:
    from dirtune.remote import Node, Target

_PROBE_MORE_S = 180
"""Seconds for compiling and reading the probes, in addition to the measurement."""
_COMMENT = re.compile(r"(^|\s)#.*")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """The source of an audit: a recorded tree, an archive, an SSH host, or this machine."""

    root: Path | None = None
    archive: Path | None = None
    host: str | None = None
    ssh_config: Path | None = None
    interval: float = 2.0
    """Seconds between the two samples."""
    become: bool = False
    """Whether commands on an SSH host run under `sudo -n`."""
    dirtune: str | None = "dirtune"
    """The dirtune command on the host, for probes; None if the host is not probed."""
    target: "Target | None" = None
    """How to reach an SSH host that ssh knows by another name."""

    @property
    def live(self) -> bool:
        """Whether the source is this machine."""
        return self.root is None and self.archive is None and self.host is None

    @property
    def name(self) -> str:
        """The name of the source in a message."""
        return str(self.root or self.archive or self.host or "this host")


def of_path_or_host(name: str, source: Source) -> Source:
    """Return *source* with its folder, archive or host set to *name*."""
    path = Path(name)
    if reading.is_folder(path):
        return replace(source, root=path)
    return replace(source, archive=path) if reading.is_file(path) else replace(source, host=name)


def snapshot_of(source: Source, fields: Sequence[str] = FIELDS) -> Snapshot:
    """Take a snapshot of *fields*; a recorded tree is one sample, a live host two."""
    if source.archive is not None or source.root is not None:
        with reading.memory_bounded(source.name):
            return _recorded(source, fields)
    return take_all(samples(source, fields), fields)


def _recorded(source: Source, fields: Sequence[str]) -> Snapshot:
    from dirtune import sosreport

    if source.root is not None or (source.archive and reading.is_folder(source.archive)):
        host = tree(source.root or source.archive or Path())
    else:
        assert source.archive is not None
        from dirtune.jobs import histories

        if day := histories.of_day_file(source.archive):
            notes.warning(day.note)
            return take_all(day.samples, fields)
        report = sosreport.of_archive(source.archive)
        if report is None:
            from dirtune import archive

            return take_all(archive.load(source.archive), fields)
        host = report
    snapshot = take_all((host,), fields)
    if not sosreport.is_sosreport(host):
        return snapshot
    errors = {field: sosreport.reason(field, why) for field, why in snapshot.errors.items()}
    return replace(snapshot, errors=errors)


def snapshots_of(sources: Sequence[Source]) -> dict[Source, Snapshot | DirtuneError]:
    """Return the snapshot of each source, or its error; SSH hosts are read in parallel."""
    remote = tuple(s for s in sources if s.host is not None)
    fetched = _fetched(remote, FIELDS, take_all) if remote else {}
    return {each: fetched[each] if each in fetched else _taken(each) for each in sources}


def samples(source: Source, fields: Sequence[str] = FIELDS) -> tuple[RecordedHost, RecordedHost]:
    """Return two samples of a live host; the first holds only sources that change quickly."""
    if source.host is not None:
        return known(_fetched((source,), fields, lambda pair: pair)[source])
    first = sample(moving(fields))
    time.sleep(source.interval)
    return first, sample(fields)


def probed(
    sources: Sequence[Source], seconds: float, names: Sequence[str]
) -> dict[Source, Probed | DirtuneError]:
    """Measure with the probes *names* for *seconds*; return each source's result or error.

    Other hosts are measured in parallel, each as root by a dirtune on that host.
    """
    sources = [source for source in sources if source.dirtune is not None]
    if any(source.root or source.archive for source in sources):
        raise NotPossible("--probe measures a live host. Leave out --root and --from.")
    away = tuple(source for source in sources if source.host is not None)
    measured = _probed_away(away, seconds, names) if away else {}
    return {
        source: measured[source] if source in measured else _measured(seconds, names)
        for source in sources
    }


def _probed_away(
    sources: Sequence[Source], seconds: float, names: Sequence[str]
) -> dict[Source, Probed | DirtuneError]:
    from dirtune.analyse.profile import Profile
    from dirtune.remote import ask_all
    from dirtune.remote.far_dirtune import FarDirtune

    programs = {source.host or "": source.dirtune or "" for source in sources}
    words = ("profile", f"--duration={seconds:g}", f"--probes={','.join(names)}")

    async def probe(node: "Node") -> Probed:
        far = FarDirtune(node, programs[node.name])
        answer = await far.ask(words, Profile, timeout_s=seconds + _PROBE_MORE_S)
        if answer.document.probed is None:
            raise NotPossible(f"{node.name}: dirtune on that host could not attach a probe.")
        return answer.document.probed

    config = sources[0].ssh_config
    hosts = tuple(programs)
    measured = ask_all(
        hosts, probe, ssh_config=config, become=frozenset(hosts), targets=_targets(sources)
    )
    return {source: _probe_needs(measured[source.host or ""]) for source in sources}


def _probe_needs(answer: Probed | DirtuneError) -> Probed | DirtuneError:
    if isinstance(answer, NotInstalled):
        return NotPossible(f"{answer}, or leave out --probe")
    return answer


def _measured(seconds: float, names: Sequence[str]) -> Probed:
    from dirtune.probes import session

    return session.measure(
        session.named(names),
        seconds,
        limit_percent=session.LIMIT_PERCENT,
        say=lambda phase: notes.progress(f"  {phase}"),
    )


def known(found: T | DirtuneError) -> T:
    """Return *found*, or raise it if it is an error."""
    if isinstance(found, DirtuneError):
        raise found
    return found


def of_a_host(source: Source, snapshot: Snapshot) -> Snapshot:
    """Return *snapshot*; raises `NotPossible` if *snapshot* is empty, or /proc is not mounted."""
    # Netlink answers without /proc, so the snapshot would not be empty.
    if source.live and not reading.exists("/proc/stat"):
        raise NotPossible(
            "/proc is not mounted, so dirtune cannot read this host. "
            "Mount it: mount -t proc proc /proc"
        )
    if not snapshot.empty:
        return snapshot
    if source.root is not None:
        remedy = _other_folder(source.root)
    elif source.archive is not None:
        remedy = "Give the path of a host's record"
    else:
        remedy = "Mount /proc and /sys there"
    raise NotPossible(f"{source.name} contains nothing that an audit reads. {remedy}.")


def _other_folder(root: Path) -> str:
    if (root / "meta.json").is_file():
        return f"This is an unpacked snapshot: name {root / '1'}"
    if root.name in {"proc", "sys"}:
        return f"Name the folder that holds proc and sys: {root.parent}"
    return "Name the folder that holds proc and sys"


def hosts_in(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the named hosts without duplicates; `@FILE` stands for hosts in FILE, one per line.

    Raises `NotPossible` if a file cannot be read or names no host.
    """
    found: list[str] = []
    for name in names:
        found += _listed(Path(name[1:])) if name.startswith("@") else [name]
    return tuple(dict.fromkeys(found))


def tree(root: Path) -> Host:
    """Return the recorded host below *root*; raises `NotPossible` if *root* is not a folder."""
    from dirtune import sosreport

    if not reading.is_folder(root):
        raise NotPossible(f"{root} is not a folder. Give --root a folder that holds proc and sys.")
    return sosreport.of_folder(root)


def _taken(source: Source) -> Snapshot | DirtuneError:
    try:
        return snapshot_of(source)
    except (NodeUnreachable, NotPossible, ParseError) as error:
        return error


def sample(fields: Sequence[str]) -> RecordedHost:
    """Return one sample of this host."""
    from dirtune.collect import commands, netlink
    from dirtune.fetch import record

    host, patterns = LiveHost(), patterns_of(fields)
    return record(host, patterns, commands.outputs(patterns) | netlink.answers(host, patterns))


def _fetched(
    sources: Sequence[Source],
    fields: Sequence[str],
    use: Callable[[tuple[RecordedHost, RecordedHost]], T],
) -> dict[Source, T | DirtuneError]:
    """Fetch two samples of each host; return what *use* makes of them, or the host's error."""
    from dirtune import remote
    from dirtune.fetch import ANSWER_S, fetch_script, parse_fetched

    interval = sources[0].interval
    samples_of = remote.fetch_all(
        tuple(filter(None, (source.host for source in sources))),
        fetch_script(fields, interval_s=interval),
        lambda text: use(parse_fetched(text)),
        timeout_s=ANSWER_S + interval,
        ssh_config=sources[0].ssh_config,
        become=_become(sources),
        targets=_targets(sources),
    )
    return {source: samples_of[source.host or ""] for source in sources}


def _become(sources: Sequence[Source]) -> frozenset[str]:
    return frozenset(source.host for source in sources if source.host and source.become)


def _targets(sources: Sequence[Source]) -> dict[str, "Target"]:
    return {source.host or "": source.target for source in sources if source.target}


def _listed(path: Path) -> list[str]:
    try:
        rows = reading.read_text(path).splitlines()
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise NotPossible(
            f"{path} is not a text file. --host @FILE needs a file with one host per line."
        ) from error
    hosts = [name for row in rows if (name := _COMMENT.sub("", row).strip())]
    if not hosts:
        raise NotPossible(
            f"{path} names no host. --host @FILE needs a file with one host per line."
        )
    return hosts
