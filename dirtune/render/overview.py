"""Summarise an audit in one sentence: how many problems, and how many undecided checks."""

from collections import Counter
from collections.abc import Sequence

from dirtune.checks import Cause, Outcome, Role, Status

_DECIDED = frozenset({Status.FINDING, Status.PASSED})
_UNDECIDED = frozenset({Status.SKIPPED, Status.INCONCLUSIVE, Status.ERROR})
_WORDS = {
    Cause.IDLE: "for too little traffic",
    Cause.ONE_SAMPLE: "for lack of a second sample",
    Cause.NOT_PROBED: "for lack of --probe",
    Cause.NOT_COMPARED: "for lack of --cluster",
    Cause.UNREAD: "not readable",
    Cause.FAILED: "failed",
}
_OTHERWISE = "for other reasons"


def overview(
    outcomes: Sequence[Outcome], roles: Sequence[str] = (), *, known: int = 0, remedy: str = ""
) -> str:
    """Return a summary of the *outcomes* of a host with *roles*.

    *known* is the number of problems that were left out because a baseline contains them.
    *remedy* says how to list the undecided checks. If most checks are undecided, the summary
    begins with them.
    """
    decided = sum(outcome.status in _DECIDED for outcome in outcomes)
    undecided = [outcome for outcome in outcomes if outcome.status in _UNDECIDED]
    number, gravest = _problems(outcomes, known=known)
    why = f"; {remedy}" if remedy else ""
    if not decided:
        return f"{_nothing_decided(outcomes, undecided, roles)}{why if undecided else ''}."
    causes = f"({_causes(undecided)})" if undecided else ""
    if len(undecided) > decided:
        others = "The one decided check" if decided == 1 else f"The {decided} decided checks"
        share = f"{len(undecided)} of {_checks(len(outcomes))} could not be decided {causes}"
        return f"{share}{why}. {others} found {number}{gravest}."
    elsewhere = _elsewhere(outcomes, roles)
    but = f", but {elsewhere}" if elsewhere else ""
    text = f"{number[:1].upper()}{number[1:]} found{gravest}{but}."
    if undecided:
        text += f" {_checks(len(undecided))} could not be decided {causes}{why}."
    return text


def undecided(outcomes: Sequence[Outcome]) -> str | None:
    """Return a clause with the number of undecided checks; None if all are decided."""
    open_ = [outcome for outcome in outcomes if outcome.status in _UNDECIDED]
    if not open_:
        return None
    return f"{len(open_)} of {_checks(len(outcomes))} could not be decided ({_causes(open_)})"


def left_open(by_hand: Sequence[str], outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Return sentences that name what a plan for all findings does not fix.

    One sentence names the checks *by_hand*, whose findings a person must fix. Another counts the
    checks that could not be decided.
    """
    notes = []
    if by_hand:
        notes.append(f"Fix these by hand: {', '.join(by_hand)}. `dirtune audit` explains how.")
    if open_ := undecided(outcomes):
        why = "`dirtune audit -v` gives the reasons."
        notes.append(f"{open_}, so nothing is planned for them. {why}")
    return tuple(notes)


def _nothing_decided(
    outcomes: Sequence[Outcome], undecided: Sequence[Outcome], roles: Sequence[str]
) -> str:
    if undecided:
        return f"No check could be decided ({_causes(undecided)})"
    elsewhere = _elsewhere(outcomes, roles)
    return (
        f"No check applies, because {elsewhere}" if elsewhere else "No check applies to this host"
    )


def _problems(outcomes: Sequence[Outcome], *, known: int) -> tuple[str, str]:
    """Return the number of problems and a clause about the severest, both as text."""
    every = [finding for outcome in outcomes for finding in outcome.findings]
    counted = [finding for finding in every if not finding.waived]
    if len(counted) == 1:
        return "1 problem", f", severity {counted[0].severity}"
    if counted:
        gravest = min((finding.severity for finding in counted), key=lambda s: s.rank)
        return f"{len(counted)} problems", f", the most severe is {gravest}"
    unwaived = "unwaived " if every else ""
    return f"no {'new ' if known else ''}{unwaived}problem", ""


def _elsewhere(outcomes: Sequence[Outcome], roles: Sequence[str]) -> str:
    """Return a clause that says that the host is not a director; empty for a director."""
    others = [outcome for outcome in outcomes if outcome.status is Status.NOT_APPLICABLE]
    for_directors = any(
        o.cause is Cause.OTHER_ROLE and Role.DIRECTOR in o.check.roles for o in others
    )
    if tuple(roles) != (Role.HOST,) or not for_directors or any(o.findings for o in outcomes):
        return ""
    do = "does" if len(others) == 1 else "do"
    share = f"{len(others)} of {_checks(len(outcomes))} {do} not apply"
    return f"this host is not a director: it has no IPVS services, so {share}"


def _causes(undecided: Sequence[Outcome]) -> str:
    counts = Counter(
        _WORDS.get(outcome.cause, _OTHERWISE) if outcome.cause else _OTHERWISE
        for outcome in undecided
    )
    return ", ".join(f"{number} {words}" for words, number in counts.most_common())


def _checks(number: int) -> str:
    return "1 check" if number == 1 else f"{number} checks"
