"""JSON documents of audits, which `dirtune audit` prints and runs keep. Pure data."""

from typing import Literal, TypedDict

from dirtune.checks import Finding, Outcome, Severity, Status
from dirtune.checks.audits import Audit, HostDocument, Report


class FixDocument(TypedDict):
    """A remedy for a finding."""

    id: str
    title: str
    risk: str
    commands: list[str]
    competes: list[str]


class WaivedDocument(TypedDict):
    """The waiver of a finding, with the date on which the waiver expires (ISO 8601)."""

    reason: str
    expires: str


class FindingDocument(TypedDict):
    """A problem that a check found in one subject, and in the subjects that `also` names."""

    subject: str
    also: list[str]
    severity: str
    message: str
    cause: str | None
    waived: WaivedDocument | None
    evidence: dict[str, object]
    fixes: list[FixDocument]


class OutcomeDocument(TypedDict):
    """The outcome of one check."""

    check: str
    status: str
    severity: str | None
    reason: str | None
    findings: list[FindingDocument]


class AuditDocument(TypedDict):
    """An audit of one host."""

    schema: Literal["dirtune/audit/1"]
    host: HostDocument
    roles: list[str]
    outcomes: list[OutcomeDocument]
    summary: dict[str, int]


class UnreachableDocument(TypedDict):
    """A host that could not be audited, and the reason."""

    host: str
    reason: str


class AuditsDocument(TypedDict):
    """Audits of several hosts, and the outcomes of the checks that compare the hosts."""

    schema: Literal["dirtune/audits/1"]
    audits: list[AuditDocument]
    cross: list[OutcomeDocument]
    unreachable: list[UnreachableDocument]


def of_audit(audit: Audit) -> AuditDocument:
    """Return an audit in the schema `dirtune/audit/1`."""
    return {
        "schema": "dirtune/audit/1",
        "host": audit.host,
        "roles": list(audit.roles),
        "outcomes": [_outcome(outcome) for outcome in audit.outcomes],
        "summary": summary(audit),
    }


def of_report(report: Report) -> AuditsDocument:
    """Return several audits in the schema `dirtune/audits/1`."""
    return {
        "schema": "dirtune/audits/1",
        "audits": [of_audit(audit) for audit in report.audits],
        "cross": [_outcome(outcome) for outcome in report.cross.outcomes] if report.cross else [],
        "unreachable": [{"host": host, "reason": why} for host, why in report.unreachable],
    }


def _outcome(outcome: Outcome) -> OutcomeDocument:
    return {
        "check": outcome.check.id,
        "status": outcome.status.value,
        "severity": outcome.severity and outcome.severity.value,
        "reason": outcome.reason,
        "findings": [_finding(finding) for finding in outcome.findings],
    }


def _finding(finding: Finding) -> FindingDocument:
    return {
        "subject": finding.subject,
        "also": list(finding.also),
        "severity": finding.severity.value,
        "message": finding.message,
        "cause": finding.cause,
        "waived": _waiver(finding),
        "evidence": dict(finding.evidence),
        "fixes": [
            {
                "id": fix.id,
                "title": fix.title,
                "risk": fix.risk.value,
                "commands": list(fix.commands),
                "competes": list(fix.competes),
            }
            for fix in finding.fixes
        ],
    }


def _waiver(finding: Finding) -> WaivedDocument | None:
    if finding.waived is None:
        return None
    return {"reason": finding.waived.reason, "expires": finding.waived.expires.isoformat()}


def summary(audit: Audit) -> dict[str, int]:
    """Return the numbers of findings by severity, and of outcomes by status."""
    severities = [f.severity for o in audit.outcomes for f in o.findings if not f.waived]
    counts = {severity.value: severities.count(severity) for severity in Severity}
    for status in Status:
        if status is not Status.FINDING:
            number = sum(o.status is status for o in audit.outcomes)
            counts[status.value.replace("-", "_")] = number
    counts["waived"] = sum(bool(f.waived) for o in audit.outcomes for f in o.findings)
    counts["known"] = audit.known
    return counts
