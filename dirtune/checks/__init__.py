"""The parts of a check, its possible results, and the function that runs it.

The check `irq/shared-with-nic` is the function in `checks/irq/shared_with_nic.py` marked with
`@check`. The function is pure: it takes a snapshot and yields findings, or one `Undecided` with
the reason. Its other parameters are the snapshot fields that it needs; these are never None. Its
docstring is the check's page in docs/checks.md, and the text that `dirtune explain` prints.
"""

import enum
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Concatenate, TypeVar

from dirtune.checks.counters import arriving
from dirtune.checks.host_roles import roles
from dirtune.checks.owners import owner, spoken
from dirtune.settings import Risk as Risk
from dirtune.settings import Setting
from dirtune.snapshot import Role as Role
from dirtune.snapshot import Snapshot

# Packets per second below which a director is idle and its rates mean little.
_IDLE_PPS = 1000
_PROBED = frozenset({"handlers", "locks", "softirq_window"})
_NOT_PROBED = "this check needs a probe, and none was run: use `dirtune audit --probe`"
# The field that shows whether a host has a role, if there is no plan.
_SHOWN_BY = {Role.DIRECTOR: "services", Role.REAL_SERVER: "interface_addresses"}
# Fields that only a second sample provides.
_SECOND_SAMPLE = frozenset({"earlier", "seconds"})


class Severity(enum.StrEnum):
    """The severity of a finding. The most severe value comes first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def rank(self) -> int:
        """The position in the order of severities; 0 is the most severe."""
        return list(Severity).index(self)


class Status(enum.StrEnum):
    """The result of one check."""

    FINDING = "finding"
    PASSED = "passed"
    SKIPPED = "skipped"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not-applicable"
    ERROR = "error"


class Cause(enum.Enum):
    """The category of the reason why a check could not decide."""

    IDLE = enum.auto()
    """There is too little traffic for a meaningful rate."""
    ONE_SAMPLE = enum.auto()
    """Counters were read only once, so their rise is unknown."""
    NOT_PROBED = enum.auto()
    """The check needs the result of a probe, but no probe was run."""
    NOT_COMPARED = enum.auto()
    """The check needs the other nodes of the cluster, which were not read."""
    UNREAD = enum.auto()
    """Data that the check needs is missing on this host, or could not be read."""
    UNCLEAR = enum.auto()
    """The data was read, but is not enough to decide."""
    OTHER_ROLE = enum.auto()
    """The check is for hosts with another role."""
    NOTHING_TO_JUDGE = enum.auto()
    """The host has nothing for the check to examine."""
    FAILED = enum.auto()
    """The check itself raised an error."""


@dataclass(frozen=True, slots=True)
class Fix:
    """One way to resolve a finding."""

    id: str
    title: str
    risk: Risk
    commands: tuple[str, ...] = ()
    """Shell commands that apply the fix by hand; empty if there are none."""
    competes: tuple[str, ...] = ()
    """Running programs that may overwrite the values of the fix, such as irqbalance or tuned."""
    settings: tuple[Setting, ...] = ()
    """The settings that `dirtune fix` changes; empty if only a person can apply the fix."""


@dataclass(frozen=True, slots=True)
class Waiver:
    """A user's decision to accept a finding until a date, with the reason."""

    check: str
    reason: str
    expires: date
    """The last day of the waiver."""
    subject: str | None = None
    """The subject of the accepted finding; None accepts findings with any subject."""
    host: str | None = None
    """The host of the accepted finding; None accepts findings on any host."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem that a check found, with its evidence."""

    subject: str
    severity: Severity
    message: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    """The measured values, as JSON can hold them; interrupt lines have the key `irq` or `irqs`."""
    fixes: tuple[Fix, ...] = ()
    cause: str | None = None
    """Id of the check whose finding explains this one."""
    waived: Waiver | None = None
    """The waiver that accepts the finding; None if the finding counts."""
    also: tuple[str, ...] = ()
    """Further subjects with the same problem, which have no finding of their own."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """The reason why a check could not decide on a host."""

    status: Status
    reason: str
    cause: Cause


Verdicts = Iterator[Finding | Undecided]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Snapshots of a cluster's nodes, taken at the same time, by SSH name."""

    nodes: Mapping[str, Snapshot]
    """Snapshots of the nodes that were read."""
    unread: Mapping[str, Role] = field(default_factory=dict)
    """Nodes that could not be read, with their roles in the plan."""

    def role(self, role: Role) -> Mapping[str, Snapshot]:
        """Return the snapshots of the nodes with *role*, by name."""
        return {name: node for name, node in self.nodes.items() if role in roles(node)}


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its function, and what the engine must know to run it."""

    id: str
    severity: Severity
    """The usual severity; a finding may have another one."""
    trust: str
    """Evidence for the check. A: kernel source or an experiment; B: vendors' documents; C:
    experts' advice."""
    needs: tuple[str, ...]
    """Snapshot fields that the function needs. If one is None, the check is skipped."""
    roles: frozenset[Role]
    """Roles that the check applies to; empty for all roles."""
    traffic: bool
    """Whether the check judges rates, and so needs two samples with traffic in between."""
    function: Callable[Concatenate[Snapshot, ...], Verdicts] | None
    """The function that examines one host; None for a check that compares nodes."""
    given: tuple[str, ...] = ()
    """The fields in `needs` that the function takes as arguments."""
    cross: Callable[[Cluster], Verdicts] | None = None
    """The function that compares the nodes of a cluster; None for a check of one host."""
    mends: bool = False
    """Whether the check finds faults, such as lost connections or stray packets, and not only
    slowness. The fix for a fault is worth applying if it costs no speed, even if it gains none."""
    since_boot: "Totals | None" = None
    """The function that judges the totals since boot, if only one sample was taken."""

    @property
    def doc(self) -> str:
        """The check's page, in Markdown."""
        return inspect.cleandoc((self.function or self.cross).__doc__ or "")

    @property
    def title(self) -> str:
        """The first line of the check's page."""
        return self.doc.partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of running one check."""

    check: Check
    status: Status
    reason: str | None = None
    findings: tuple[Finding, ...] = ()
    cause: Cause | None = None
    """The reason and cause if the check could not decide; None if it decided."""

    @property
    def severity(self) -> Severity | None:
        """The highest severity of the findings that are not waived; None if there are none."""
        counted = (f.severity for f in self.findings if not f.waived)
        return min(counted, key=lambda s: s.rank, default=None)


Totals = Callable[[Snapshot], Iterator[Finding]]
"""A function that finds in the totals since boot what a check finds in rates.

A field of the snapshot may be None. The findings are `low` or `info`, and say "since boot".
"""


def check(  # noqa: PLR0913  (all by name: the facts that the engine needs)
    id: str,
    *,
    severity: Severity,
    trust: str,
    needs: tuple[str, ...] = (),
    roles: tuple[Role, ...] = (),
    traffic: bool = False,
    mends: bool = False,
    since_boot: Totals | None = None,
) -> Callable[[Callable[Concatenate[Snapshot, ...], Verdicts]], Check]:
    """Mark a function as a check.

    Each parameter after the snapshot has the name of a field of `Snapshot`, and the field's type
    without None. *needs* lists more fields, which only the check's helper functions read. If one
    of all these fields is None, the check is skipped, and the reason says why the field is
    missing.
    """

    def mark(function: Callable[Concatenate[Snapshot, ...], Verdicts]) -> Check:
        # inspect.signature takes 60 us, and there are a hundred checks.
        code = function.__code__
        given = code.co_varnames[1 : code.co_argcount]
        return Check(
            id,
            severity,
            trust,
            (*needs, *given),
            frozenset(roles),
            traffic,
            function,
            given,
            mends=mends,
            since_boot=since_boot,
        )

    return mark


def cross_check(
    id: str, *, severity: Severity, trust: str
) -> Callable[[Callable[[Cluster], Verdicts]], Check]:
    """Mark a function as a check that compares the nodes of a cluster."""
    return lambda function: Check(
        id, severity, trust, (), frozenset(), traffic=False, function=None, cross=function
    )


def inconclusive(reason: str, cause: Cause = Cause.UNCLEAR) -> Undecided:
    """Return the verdict that the data was read, but is not enough to decide."""
    return Undecided(Status.INCONCLUSIVE, reason, cause)


def one_sample() -> Undecided:
    """Return the verdict that the check needs two samples to compute rates."""
    return inconclusive("rates need two samples, but only one was taken", Cause.ONE_SAMPLE)


def uncounted(snapshot: Snapshot, reason: str) -> Undecided:
    """Return the verdict that the rise of a counter is unknown.

    If there is only one sample, the cause of the verdict is the missing sample.
    """
    return inconclusive(reason, Cause.UNCLEAR if snapshot.earlier else Cause.ONE_SAMPLE)


def skipped(reason: str, cause: Cause = Cause.UNREAD) -> Undecided:
    """Return the verdict that data which the check needs was not read."""
    return Undecided(Status.SKIPPED, reason, cause)


def not_applicable(reason: str, cause: Cause = Cause.NOTHING_TO_JUDGE) -> Undecided:
    """Return the verdict that the check does not apply to this host."""
    return Undecided(Status.NOT_APPLICABLE, reason, cause)


def run(checks: tuple[Check, ...], snapshot: Snapshot) -> tuple[Outcome, ...]:
    """Run *checks* on one snapshot."""
    return tuple(_in_owners_words(_run_one(check, snapshot), snapshot) for check in checks)


def _in_owners_words(outcome: Outcome, snapshot: Snapshot) -> Outcome:
    """Return *outcome* with services named in the words of the program that owns the table."""
    known = owner(snapshot) if outcome.findings else None
    if known is None:
        return outcome
    findings = (replace(f, message=spoken(f.message, f.subject, known)) for f in outcome.findings)
    return replace(outcome, findings=tuple(findings))


def run_cross(checks: tuple[Check, ...], cluster: Cluster) -> tuple[Outcome, ...]:
    """Run the *checks* that compare nodes; the subject of a finding names the node."""
    comparisons = ((check, check.cross) for check in checks)
    if not cluster.nodes:
        return tuple(
            _undecided(check, skipped("no node of the cluster could be read"))
            for check, cross in comparisons
            if cross
        )
    return tuple(_outcome(check, cross, cluster) for check, cross in comparisons if cross)


def _run_one(check: Check, snapshot: Snapshot) -> Outcome:
    if check.function is None:
        reason = "this check compares nodes: run `dirtune audit --cluster PLAN`"
        return _undecided(check, skipped(reason, Cause.NOT_COMPARED))
    undecided = _before(check, snapshot)
    if undecided:
        return _by_totals(check, snapshot) or _undecided(check, undecided)
    given = {name: getattr(snapshot, name) for name in check.given}
    return _outcome(check, functools.partial(check.function, **given), snapshot)


def _by_totals(check: Check, snapshot: Snapshot) -> Outcome | None:
    """Return what the totals since boot show if there is only one sample; None if nothing."""
    if check.since_boot is None or snapshot.earlier or _of_another_role(check, snapshot):
        return None
    outcome = _outcome(check, check.since_boot, snapshot)
    return None if outcome.status is Status.PASSED else outcome


def _undecided(check: Check, verdict: Undecided) -> Outcome:
    return Outcome(check, verdict.status, verdict.reason, cause=verdict.cause)


def _outcome(check: Check, judge: Callable[[_T], Verdicts], subject: _T) -> Outcome:
    try:
        verdicts = tuple(judge(subject))
    except Exception as error:  # noqa: BLE001  (one broken check must not end the audit)
        reason = f"{type(error).__name__}: {error}"
        return Outcome(check, Status.ERROR, reason, cause=Cause.FAILED)
    findings = tuple(v for v in verdicts if isinstance(v, Finding))
    if findings:
        return Outcome(check, Status.FINDING, None, findings)
    for verdict in verdicts:
        if isinstance(verdict, Undecided):
            return _undecided(check, verdict)
    return Outcome(check, Status.PASSED)


def _before(check: Check, snapshot: Snapshot) -> Undecided | None:
    """Return the reason why *check* cannot run on *snapshot*; None if it can."""
    elsewhere = _of_another_role(check, snapshot)
    if elsewhere:
        return elsewhere
    for name in check.needs:
        if getattr(snapshot, name) is None:
            return one_sample() if name in _SECOND_SAMPLE else _skipped(name, snapshot)
    return _idle(snapshot) if check.traffic else None


def _of_another_role(check: Check, snapshot: Snapshot) -> Undecided | None:
    if not check.roles or check.roles & set(roles(snapshot)):
        return None
    fields = (_SHOWN_BY[role] for role in sorted(check.roles) if role in _SHOWN_BY)
    unknown = [name for name in fields if getattr(snapshot, name) is None]
    if unknown and snapshot.place is None:
        return _skipped(unknown[0], snapshot)
    reason = f"this host is not a {' or '.join(sorted(check.roles))}"
    return not_applicable(reason, Cause.OTHER_ROLE)


def _skipped(name: str, snapshot: Snapshot) -> Undecided:
    if name in snapshot.errors:
        return skipped(snapshot.errors[name])
    if name in _PROBED:
        return skipped(_NOT_PROBED, Cause.NOT_PROBED)
    return skipped(f"the record does not contain {name}")


def _idle(snapshot: Snapshot) -> Undecided | None:
    if snapshot.earlier is None or not snapshot.seconds:
        return one_sample()
    # A NIC that loses all packets delivers none, so lost packets count as traffic.
    packets = arriving(snapshot)
    if packets is None:
        return inconclusive("no physical interface has packet counters")
    per_second = packets / snapshot.seconds
    if per_second < _IDLE_PPS:
        return inconclusive(
            f"the host handles only {per_second:.0f} packets/s, and this check needs "
            f"{_IDLE_PPS:,} packets/s or more",
            Cause.IDLE,
        )
    return None
