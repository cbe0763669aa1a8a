"""The job of `dirtune audit`: take snapshots of hosts, run the checks, and return a report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from dirtune import reading
from dirtune.analyse.probed import Probed
from dirtune.checks import Check, Cluster, accepted, audits, discovery
from dirtune.checks.accepted import Accepted
from dirtune.checks.audits import Audit, Report
from dirtune.errors import DirtuneError, NodeUnreachable, NotPossible, ParseError
from dirtune.exit_status import fault
from dirtune.formats import from_json
from dirtune.jobs import namespaces, notes, snapshots, unprobed, waivers
from dirtune.jobs.snapshots import Source
from dirtune.snapshot import Place, Role, Snapshot, with_probes

if TYPE_CHECKING:
    from dirtune.checks.difference import Comparison
    from dirtune.checks.fleet import FleetDocument
    from dirtune.jobs.inventories import Fleet

_T = TypeVar("_T")
_PROBES = ("irq", "softirq", "locks")
"""The probes whose results are used by checks."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of an audit that are the same for every host."""

    chosen: tuple[Check, ...]
    accepted: Accepted
    probe: float | None = None
    """How many seconds the probes measure; None without probes."""
    role: Role | None = None
    """The role of every host; None to derive it from the snapshot."""


def chosen(select: tuple[str, ...], ignore: tuple[str, ...]) -> tuple[Check, ...]:
    """Return the checks to run, according to --select and --ignore.

    Raises `NotPossible` if a prefix matches no check, or if no check is left.
    """
    for option, words in (("--select", select), ("--ignore", ignore)):
        for word in words:
            if refusal := discovery.no_such(word, prefix=True):
                raise NotPossible(f"{option}: {refusal}")
    left = discovery.chosen(discovery.all_checks(), select, ignore)
    if not left:
        raise NotPossible("--select and --ignore leave no check to run. Leave one of them out.")
    return left


def acceptance(config: Path | None, baseline: Path | None) -> Accepted:
    """Return the accepted findings, and warn of each waiver that has expired."""
    today = datetime.now().astimezone().date()
    valid, expired = accepted.split(waivers.waivers(config), today)
    for waiver in expired:
        name = " ".join(filter(None, (waiver.check, waiver.subject, waiver.host)))
        notes.warning(
            f"The waiver of {name} expired on {waiver.expires}. Renew it, or resolve the finding."
        )
    return Accepted(valid, _baseline(baseline) if baseline else frozenset())


def of_hosts(sources: Sequence[Source], options: Options) -> Report:
    """Audit each of *sources*; if one of several fails, the others are still audited."""
    if any(source.live for source in sources):
        namespaces.warn_of_services_elsewhere()
    taken, lost = _placed(sources, options, one=len(sources) == 1)
    return _report(taken, lost, options)


def of_fleet(fleet: "Fleet", options: Options) -> tuple[Report, "FleetDocument"]:
    """Audit the hosts of *fleet*; return the audits, and their summary with the drift."""
    from dirtune.checks import difference
    from dirtune.checks.fleet import summary

    taken, lost = _placed(fleet.sources, options, one=False)
    lost += fleet.lost
    facts = _of_each(taken, lost, lambda _, snapshot: difference.facts(snapshot))
    report = _report(taken, lost, options)
    return report, summary(report, fleet.groups, {s.name: known for s, known in facts.items()})


def _placed(
    sources: Sequence[Source], options: Options, *, one: bool
) -> tuple[dict[Source, Snapshot], list[tuple[str, str]]]:
    """Return the snapshot of each source with the role of the options, and the other hosts."""
    place = Place(options.role) if options.role else None
    taken, lost = _split(snapshots.snapshots_of(sources), one=one)
    return {source: replace(snapshot, place=place) for source, snapshot in taken.items()}, lost


def of_cluster(path: Path, interval: float, options: Options) -> Report:
    """Audit every node of a plan, and compare the nodes."""
    from dirtune.checks import cluster
    from dirtune.jobs import clusters

    plan = clusters.read(path)
    sources = clusters.sources(plan, interval)
    taken, lost = _split(snapshots.snapshots_of(sources), one=False)
    nodes = {source.name: snapshot for source, snapshot in taken.items()}
    director = nodes.get(plan.director.host)
    places = cluster.places(director, nodes, clusters.places(plan))
    placed = {s: replace(node, place=places.get(s.name)) for s, node in taken.items()}
    of_one_host = tuple(check for check in options.chosen if check.function)
    report = _report(placed, lost, replace(options, chosen=of_one_host))
    unread = {s.name: places[s.name].role for s in sources if s not in taken}
    together = Cluster({source.name: node for source, node in placed.items()}, unread)
    return replace(report, cross=audits.of_cluster(together, options.chosen, options.accepted))


def of_two(names: tuple[str, str], source: Source) -> "Comparison":
    """Compare two directors, each of which is a recorded tree, an archive or a host."""
    from dirtune.checks import difference

    sources = tuple(snapshots.of_path_or_host(name, source) for name in names)
    taken = [_known(*pair) for pair in snapshots.snapshots_of(sources).items()]
    comparison = difference.compare(taken[0], taken[-1])
    if not comparison.compared:
        raise NotPossible(
            f"{names[0]} and {names[1]} cannot be compared: no source was read from both of them."
        )
    return comparison


def _known(source: Source, answer: Snapshot | DirtuneError) -> Snapshot:
    return snapshots.of_a_host(source, snapshots.known(answer))


def _split(
    answers: Mapping[Source, Snapshot | DirtuneError], *, one: bool
) -> tuple[dict[Source, Snapshot], list[tuple[str, str]]]:
    taken, lost = {}, []
    for source, answer in answers.items():
        try:
            taken[source] = _known(source, answer)
        except (NodeUnreachable, NotPossible, ParseError) as error:
            if one:
                raise
            lost.append((source.name, str(error)))
    return taken, lost


def _report(
    taken: Mapping[Source, Snapshot], lost: list[tuple[str, str]], options: Options
) -> Report:
    """Audit the snapshots. If a host's probes fail, audit it without them and report the error."""
    probe = options.probe
    windows = snapshots.probed(tuple(taken), probe, _PROBES) if probe is not None else {}
    made = _of_each(taken, lost, lambda s, snapshot: _audit(s, snapshot, windows.get(s), options))
    unprobed = (
        (source.name, str(window))
        for source, window in windows.items()
        if isinstance(window, DirtuneError)
    )
    return Report(tuple(made.values()), (*lost, *unprobed))


def _of_each(
    taken: Mapping[Source, Snapshot],
    lost: list[tuple[str, str]],
    judge: Callable[[Source, Snapshot], _T],
) -> dict[Source, _T]:
    """Return what *judge* makes of each snapshot.

    If the data of one of several hosts break *judge*, add this host to *lost*, with the reason: a
    host must not end the audit of all others.
    """
    made: dict[Source, _T] = {}
    for source, snapshot in taken.items():
        try:
            made[source] = judge(source, snapshot)
        except Exception as error:
            if len(taken) == 1:
                raise
            lost.append((source.name, f"{source.name}: {fault(error)}"))
    return made


def _audit(
    source: Source,
    snapshot: Snapshot,
    window: Probed | DirtuneError | None,
    options: Options,
) -> Audit:
    if isinstance(window, Probed):
        unprobed.warn(window, source.host)
        snapshot = with_probes(snapshot, window)
    return audits.of_snapshot(source.host, snapshot, options.chosen, options.accepted)


def _baseline(path: Path) -> frozenset[accepted.Key]:
    try:
        document = from_json(reading.read_bytes(path), object)
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ParseError(str(path), "the file is not JSON") from error
    known = accepted.baseline(str(path), document)
    gone = sorted({check for _, check, _ in known if discovery.no_such(check)})
    if gone:  # another version wrote the file; findings of the known checks still count
        notes.warning(f"{path} names checks that this version of dirtune lacks: {', '.join(gone)}")
    return known
