"""Audits: the outcomes of checks on one host or several hosts. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from dirtune import checks
from dirtune.checks import Check, Cluster, Outcome, Role, Severity, host_roles, measures
from dirtune.checks.accepted import Accepted
from dirtune.checks.measures import Measures
from dirtune.checks.together import one_per_cause
from dirtune.snapshot import Snapshot

_NOTHING = Accepted()


class HostDocument(TypedDict):
    """The audited host; a value is null if the host does not report it."""

    name: str | None
    kernel: NotRequired[str | None]
    guest: NotRequired[bool | None]
    samples: NotRequired[int]


@dataclass(frozen=True, slots=True)
class Audit:
    """The outcomes of all checks on one host."""

    host: HostDocument
    roles: tuple[Role, ...]
    outcomes: tuple[Outcome, ...]
    known: int = 0
    """Number of findings left out because an earlier audit reported them."""
    measures: Measures | None = None
    """None for checks that compare hosts."""


@dataclass(frozen=True, slots=True)
class Report:
    """The audits of several hosts, and the outcomes of the checks that compare these hosts."""

    audits: tuple[Audit, ...]
    unreachable: tuple[tuple[str, str], ...] = ()
    """Pairs of a host and the reason why it could not be reached."""
    cross: Audit | None = None
    """Checks that compare nodes; None unless a cluster was audited."""

    @property
    def parts(self) -> tuple[Audit, ...]:
        """All audits in the report; the last one has the checks that compare nodes, if any."""
        return (*self.audits, *((self.cross,) if self.cross else ()))


def of_snapshot(
    name: str | None, snapshot: Snapshot, chosen: tuple[Check, ...], accepted: Accepted = _NOTHING
) -> Audit:
    """Run the *chosen* checks on a snapshot; *name* defaults to the host's own name."""
    kernel = snapshot.kernel
    name = name or (kernel.hostname if kernel else None)
    host: HostDocument = {
        "name": name,
        "kernel": kernel.osrelease if kernel else None,
        "guest": snapshot.cpuinfo.guest if snapshot.cpuinfo else None,
        "samples": 1 if snapshot.earlier is None else 2,
    }
    outcomes, known = accepted.of(checks.run(chosen, snapshot), name)
    return Audit(
        host,
        host_roles.roles(snapshot),
        tuple(map(one_per_cause, outcomes)),
        known,
        measures.of(snapshot),
    )


def of_cluster(
    cluster: Cluster, chosen: tuple[Check, ...], accepted: Accepted = _NOTHING
) -> Audit:
    """Run the *chosen* checks that compare the nodes of the *cluster*."""
    outcomes, known = accepted.of(checks.run_cross(chosen, cluster), None)
    return Audit({"name": "between nodes"}, (), tuple(map(one_per_cause, outcomes)), known)


def gravest(audits: Sequence[Audit]) -> Severity | None:
    """Return the highest severity of the findings that are not waived; None if there are none."""
    severities = [o.severity for audit in audits for o in audit.outcomes if o.severity]
    return min(severities, key=lambda severity: severity.rank, default=None)
