"""Summarise audits of many hosts: findings by check, worst hosts, drift in groups. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from dirtune.checks import Severity, Status
from dirtune.checks.audits import Audit, Report
from dirtune.checks.difference import Facts

_UNDECIDED = frozenset({Status.SKIPPED, Status.INCONCLUSIVE, Status.ERROR})
_MOST_DRIFT = 2000
"""Rows of drift in one group; a host that lies about its settings could make any number."""
_MOST_VALUES = 50
_LONGEST = 300
"""Characters of a setting's name or value that are kept."""

Sections = Mapping[str, Facts | None]


class FleetHost(msgspec.Struct, frozen=True):
    """A host that was audited, with the numbers of its findings and of its undecided checks."""

    host: str
    groups: tuple[str, ...]
    """The groups of the inventory that the host is directly in."""
    roles: tuple[str, ...]
    findings: dict[str, int]
    """The number of findings by severity, without waived ones; all severities, worst first."""
    undecided: int
    """The number of checks that could not be decided."""


class FleetCheck(msgspec.Struct, frozen=True):
    """A check that found something, with the hosts on which it did."""

    check: str
    severity: str
    """The highest severity of its findings."""
    title: str
    hosts: tuple[str, ...]


class FleetValue(msgspec.Struct, frozen=True):
    """A value of a setting, and the hosts that have it."""

    value: str | None
    """null if these hosts lack the setting."""
    hosts: tuple[str, ...]


class FleetDrift(msgspec.Struct, frozen=True):
    """A setting with different values on the hosts of one group."""

    group: str
    section: str
    name: str
    values: tuple[FleetValue, ...]
    """The most frequent value first."""

    @property
    def common(self) -> FleetValue | None:
        """The value that more than half of the hosts have; None if there is none."""
        hosts = sum(len(each.hosts) for each in self.values)
        first = self.values[0]
        return first if len(first.hosts) * 2 > hosts else None


class FleetUnread(msgspec.Struct, frozen=True):
    """A section of settings that could not be compared on some hosts of a group."""

    group: str
    section: str
    hosts: tuple[str, ...]


class FleetLost(msgspec.Struct, frozen=True):
    """A host that did not answer, or that could not be audited or probed in full."""

    host: str
    reason: str


class FleetDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The summary of an audit of many hosts."""

    schema: Literal["dirtune/fleet/1"] = "dirtune/fleet/1"

    hosts: tuple[FleetHost, ...]
    """The worst hosts first."""
    checks: tuple[FleetCheck, ...]
    """The gravest checks first, then those with the most hosts."""
    drift: tuple[FleetDrift, ...]
    drift_omitted: int = 0
    """The number of settings that differ too, but are left out."""
    unread: tuple[FleetUnread, ...]
    unreachable: tuple[FleetLost, ...]


def summary(
    report: Report, groups: Mapping[str, Sequence[str]], facts: Mapping[str, Sections]
) -> FleetDocument:
    """Summarise *report*; *facts* has the settings of each audited host, by its name."""
    drift: list[FleetDrift] = []
    omitted = 0
    unread: list[FleetUnread] = []
    for group, members in groups.items():
        known = {host: facts[host] for host in members if host in facts}
        rows, more = _drift(group, known)
        drift += rows
        omitted += more
        unread += _unread(group, known)
    return FleetDocument(
        hosts=tuple(sorted((_host(a, groups) for a in report.audits), key=_worst_first)),
        checks=_checks(report.audits),
        drift=tuple(drift),
        drift_omitted=omitted,
        unread=tuple(unread),
        unreachable=tuple(FleetLost(host, reason) for host, reason in report.unreachable),
    )


def _host(audit: Audit, groups: Mapping[str, Sequence[str]]) -> FleetHost:
    name = audit.host["name"] or ""
    found = Counter(f.severity for o in audit.outcomes for f in o.findings if not f.waived)
    return FleetHost(
        name,
        tuple(group for group, members in groups.items() if name in members),
        tuple(audit.roles),
        {severity.value: found[severity] for severity in _by_rank()},
        sum(outcome.status in _UNDECIDED for outcome in audit.outcomes),
    )


def _by_rank() -> list[Severity]:
    return sorted(Severity, key=lambda severity: severity.rank)


def _worst_first(host: FleetHost) -> tuple[object, ...]:
    return (*(-number for number in host.findings.values()), -host.undecided, host.host)


def _checks(audits: Sequence[Audit]) -> tuple[FleetCheck, ...]:
    hosts: dict[str, list[str]] = {}
    gravest: dict[str, Severity] = {}
    titles: dict[str, str] = {}
    for audit in audits:
        for outcome in audit.outcomes:
            if outcome.severity is None:
                continue
            check = outcome.check
            hosts.setdefault(check.id, []).append(audit.host["name"] or "")
            before = gravest.get(check.id, outcome.severity)
            gravest[check.id] = min(before, outcome.severity, key=lambda one: one.rank)
            titles[check.id] = check.doc.partition("\n")[0]
    ids = sorted(hosts, key=lambda name: (gravest[name].rank, -len(hosts[name]), name))
    return tuple(FleetCheck(i, gravest[i].value, titles[i], tuple(hosts[i])) for i in ids)


def _drift(group: str, known: Mapping[str, Sections]) -> tuple[list[FleetDrift], int]:
    """Return the settings that differ between hosts, and the number of those that are left out.

    Only hosts on which a setting's section was read count. What is left out is never built: it
    could be any number of settings, each with the names of all hosts.
    """
    rows: list[FleetDrift] = []
    omitted = 0
    for section in _sections(known):
        read = {
            host: facts for host, all_ in known.items() if (facts := all_[section]) is not None
        }
        for name in sorted({name for facts in read.values() for name in facts}):
            if len({facts.get(name) for facts in read.values()}) == 1:
                continue
            if len(rows) == _MOST_DRIFT:
                omitted += 1
                continue
            values: dict[str | None, list[str]] = {}
            for host, facts in read.items():
                values.setdefault(facts.get(name), []).append(host)
            rows.append(FleetDrift(group, section, name[:_LONGEST], _values(values)))
    return rows, omitted


def _values(values: Mapping[str | None, list[str]]) -> tuple[FleetValue, ...]:
    ranked = sorted(values, key=lambda value: (-len(values[value]), value or ""))
    kept = [(value and value[:_LONGEST], tuple(values[value])) for value in ranked]
    return tuple(FleetValue(value, hosts) for value, hosts in kept[:_MOST_VALUES])


def _unread(group: str, known: Mapping[str, Sections]) -> Iterator[FleetUnread]:
    if len(known) < 2:
        return
    for section in _sections(known):
        hosts = tuple(host for host, facts in known.items() if facts[section] is None)
        if hosts:
            yield FleetUnread(group, section, hosts)


def _sections(known: Mapping[str, Sections]) -> Iterator[str]:
    yield from next(iter(known.values()), {})
