"""Findings that a user accepts: waived by the configuration, or known from an earlier audit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from dirtune.checks import Finding, Outcome, Waiver
from dirtune.errors import ParseError

Key = tuple[str | None, str, str]
"""Host, check and subject, which identify a finding."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The findings that do not count: those with a waiver, and those of an earlier audit."""

    waivers: tuple[Waiver, ...] = ()
    known: frozenset[Key] = field(default_factory=frozenset)
    """Findings that an earlier audit reported."""

    def of(self, outcomes: Sequence[Outcome], host: str | None) -> tuple[tuple[Outcome, ...], int]:
        """Mark the waived findings in the *outcomes* of *host*, and remove the known findings.

        Return the outcomes and the number of findings that were removed.
        """
        settled = tuple(self._settled(outcome, host) for outcome in outcomes)
        return tuple(outcome for outcome, _ in settled), sum(fallen for _, fallen in settled)

    def _settled(self, outcome: Outcome, host: str | None) -> tuple[Outcome, int]:
        fresh = [
            f for f in outcome.findings if (host, outcome.check.id, f.subject) not in self.known
        ]
        fallen = len(outcome.findings) - len(fresh)
        findings = tuple(replace(f, waived=self._waiver(outcome.check.id, f, host)) for f in fresh)
        known = f"the baseline already contains all findings of this check ({fallen})"
        reason = known if fallen and not fresh else outcome.reason
        return replace(outcome, findings=findings, reason=reason), fallen

    def _waiver(self, check: str, finding: Finding, host: str | None) -> Waiver | None:
        fits = (
            w
            for w in self.waivers
            if w.check == check and w.subject in {None, finding.subject} and w.host in {None, host}
        )
        return next(fits, None)


def baseline(source: str, document: object) -> frozenset[Key]:
    """Return the findings in *document*, the JSON of an earlier audit.

    Raises `ParseError` if *document* is not the JSON of an audit.
    """
    if not isinstance(document, Mapping):
        raise ParseError(source, "this is not the output of `dirtune audit --format json`")
    try:
        match document.get("schema"):
            case "dirtune/audit/1":
                return frozenset(_keys(document["outcomes"], document["host"]["name"]))
            case "dirtune/audits/1":
                outcomes_by_host = [
                    *((audit["outcomes"], audit["host"]["name"]) for audit in document["audits"]),
                    (document["cross"], None),
                ]
                return frozenset(
                    key for outcomes, name in outcomes_by_host for key in _keys(outcomes, name)
                )
    except (KeyError, TypeError) as error:
        raise ParseError(
            source, f"this is not the output of `dirtune audit --format json` ({error!r})"
        ) from error
    raise ParseError(source, "the schema is neither dirtune/audit/1 nor dirtune/audits/1")


def split(waivers: Sequence[Waiver], today: date) -> tuple[tuple[Waiver, ...], tuple[Waiver, ...]]:
    """Return the valid and the expired waivers; a waiver is still valid on its last day."""
    valid = tuple(w for w in waivers if w.expires >= today)
    return valid, tuple(w for w in waivers if w.expires < today)


def _keys(outcomes: Sequence[Mapping[str, object]], host: str | None) -> list[Key]:
    rows = [(str(o["check"]), o["findings"]) for o in outcomes]
    return [
        (host, check, str(subject))
        for check, findings in rows
        if isinstance(findings, list)
        for finding in findings
        for subject in (finding["subject"], *finding.get("also", ()))
    ]
