"""Carrying out an audit of one host or many: take snapshots, judge them, gather the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import msgspec

from dirtune import checks, reading
from dirtune.analyse.probed import Probed
from dirtune.checks import Check, Cluster, accepted, audits, cluster, difference
from dirtune.checks.accepted import Accepted
from dirtune.checks.audits import Audit, Report
from dirtune.checks.difference import Comparison
from dirtune.errors import DirtuneError, NodeUnreachable, NotPossible, ParseError
from dirtune.formats import from_json
from dirtune.jobs import notes, snapshots, waivers
from dirtune.jobs.snapshots import Source
from dirtune.snapshot import Place, Role, Snapshot, with_probes

_PROBES = ("irq", "softirq", "locks")
"""What the checks that want a probe want."""


@dataclass(frozen=True, slots=True)
class Options:
    """How hosts are judged."""

    wanted: tuple[Check, ...]
    accepted: Accepted
    probe: float | None = None
    role: Role | None = None


def wanted(select: tuple[str, ...], ignore: tuple[str, ...]) -> tuple[Check, ...]:
    """Return the checks asked for; `NotPossible` where a word names none, or none is left."""
    for option, words in (("--select", select), ("--ignore", ignore)):
        for word in words:
            if refusal := checks.no_such(word, prefix=True):
                raise NotPossible(f"{option}: {refusal}")
    found = checks.chosen(checks.all_checks(), select, ignore)
    if not found:
        raise NotPossible("--select and --ignore leave no check to run. Leave one of them out.")
    return found


def acceptance(config: Path | None, baseline: Path | None) -> Accepted:
    """Return what does not count; a waiver that expired is said and does not hold."""
    today = datetime.now().astimezone().date()
    holds, expired = accepted.split(waivers.waivers(config), today)
    for waiver in expired:
        what = " ".join(filter(None, (waiver.check, waiver.subject, waiver.host)))
        notes.warning(f"the waiver of {what} expired on {waiver.expires} and no longer holds")
    return Accepted(holds, _baseline(baseline) if baseline else frozenset())


def of_hosts(sources: Sequence[Source], options: Options) -> Report:
    """Audit each of *sources*; the error of one of several does not hold up the others."""
    place = Place(options.role) if options.role else None
    taken, lost = _split(snapshots.snapshots_of(sources), one=len(sources) == 1)
    placed = {source: replace(each, place=place) for source, each in taken.items()}
    return _report(placed, lost, options)


def of_cluster(path: Path, interval: float, options: Options) -> Report:
    """Audit every node of a plan, and what only their comparison tells."""
    from dirtune.jobs import clusters

    plan = clusters.read(path)
    sources = clusters.sources(plan, interval)
    taken, lost = _split(snapshots.snapshots_of(sources), one=False)
    nodes = {source.name: each for source, each in taken.items()}
    director = nodes.get(plan.director.host)
    places = cluster.places(director, nodes, clusters.places(plan))
    placed = {s: replace(each, place=places.get(s.name)) for s, each in taken.items()}
    alone = tuple(each for each in options.wanted if each.function)
    report = _report(placed, lost, replace(options, wanted=alone))
    unread = {s.name: places[s.name].role for s in sources if s not in taken}
    together = Cluster({source.name: each for source, each in placed.items()}, unread)
    return replace(report, cross=audits.of_cluster(together, options.wanted, options.accepted))


def of_two(names: tuple[str, str], source: Source) -> Comparison:
    """Compare two directors: recorded trees, archives or hosts."""
    sources = tuple(snapshots.of_path_or_host(name, source) for name in names)
    found = [_known(*pair) for pair in snapshots.snapshots_of(sources).items()]
    compared = difference.compare(found[0], found[-1])
    if not compared.compared:
        raise NotPossible(f"{names[0]}, {names[1]}: there is nothing that both of them tell")
    return compared


def _known(source: Source, found: Snapshot | DirtuneError) -> Snapshot:
    return snapshots.of_a_host(source, snapshots.known(found))


def _split(
    found: Mapping[Source, Snapshot | DirtuneError], *, one: bool
) -> tuple[dict[Source, Snapshot], list[tuple[str, str]]]:
    taken, lost = {}, []
    for source, each in found.items():
        try:
            taken[source] = _known(source, each)
        except (NodeUnreachable, NotPossible, ParseError) as error:
            if one:
                raise
            lost.append((source.name, str(error)))
    return taken, lost


def _report(
    taken: Mapping[Source, Snapshot], lost: list[tuple[str, str]], options: Options
) -> Report:
    """Judge what was taken; a host that the probe failed on is named and judged without it."""
    probe = options.probe
    found = snapshots.probed(tuple(taken), probe, _PROBES) if probe is not None else {}
    failed = {source: each for source, each in found.items() if isinstance(each, DirtuneError)}
    judged = (_audit(s, each, found.get(s), options) for s, each in taken.items())
    without = ((source.name, str(error)) for source, error in failed.items())
    return Report(tuple(judged), (*lost, *without))


def _audit(
    source: Source,
    snapshot: Snapshot,
    found: Probed | DirtuneError | None,
    options: Options,
) -> Audit:
    if isinstance(found, Probed):
        snapshots.warn(found, source.host)
        snapshot = with_probes(snapshot, found)
    return audits.of_snapshot(source.host, snapshot, options.wanted, options.accepted)


def _baseline(path: Path) -> frozenset[accepted.Key]:
    try:
        document = from_json(reading.read_bytes(path), object)
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ParseError(str(path), "is no JSON") from error
    found = accepted.baseline(str(path), document)
    gone = sorted({check for _, check, _ in found if checks.no_such(check)})
    if gone:  # another version made it: what it knows of others still counts
        notes.warning(f"{path}: names checks that this version does not have: {', '.join(gone)}")
    return found
