"""Planned looks at a comparison in pairs: go on, or stop with a verdict. Pure.

Whoever extends a comparison that shows nothing, and tests again at the same level, reports effects
that do not exist in 8 of 100 runs. Two looks that were planned before the first trial keep that
share at 5 of 100 if each look has the smaller alpha of `EACH` (Pocock's boundary for two looks,
the second after twice the pairs of the first). A first look with p above `FUTILE_ABOVE` ends the
run, which can only lower the share.
"""

from collections.abc import Sequence

import msgspec

from dirtune.analyse.estimate import ALPHA
from dirtune.analyse.run import Comparison, Look, LookResult, Looks, Verdict
from dirtune.errors import PlanError

EACH = 0.0294
"""Alpha of each of two looks. Both together report a false effect with probability `ALPHA`."""
FUTILE_ABOVE = 0.5
"""With a higher p at the first look, the second one would hardly find an effect."""


def planned(pairs: int, at_most: int | None) -> Looks | None:
    """Return the looks of a plan with *pairs* and *at_most*; None for a fixed number of pairs."""
    if at_most is None:
        return None
    return Looks(at=(pairs, at_most), alpha=EACH, futile_above=FUTILE_ABOVE)


def due(looks: Looks) -> int | None:
    """Return the number of valid pairs at which the next look is due; None if the run is over."""
    if looks.taken and looks.taken[-1].result != LookResult.GO_ON:
        return None
    return looks.at[len(looks.taken)]


def taken(looks: Looks, comparison: Comparison) -> Looks:
    """Return *looks* with the look that is due, taken at *comparison*.

    *comparison* was made with the alpha of the look. If it has fewer pairs than are due, the
    campaign could not reach that number, and the run is over. A look at fewer pairs does not raise
    the share of false verdicts, because trials count or not whatever they measured.
    """
    number = looks.at[len(looks.taken)]
    over = comparison.pairs < number or number == looks.at[-1]
    result = LookResult.GO_ON
    if comparison.verdict != Verdict.INCONCLUSIVE:
        result = LookResult.DECIDED
    elif over:
        result = LookResult.UNDECIDED
    elif comparison.p is not None and comparison.p > looks.futile_above:
        result = LookResult.FUTILE
    look = Look(comparison.pairs, comparison.p, result)
    return msgspec.structs.replace(looks, taken=(*looks.taken, look))


def alpha(looks: Looks | None) -> float:
    """Return the probability of a false verdict at which the pairs of a run are judged."""
    return ALPHA if looks is None else looks.alpha


def require_planned(looks: Looks | None, pairs: int) -> None:
    """Raise `PlanError` unless judging *pairs* valid pairs is one of the planned looks."""
    if looks is None:
        return
    open_ = due(looks)
    most = looks.at[len(looks.taken) - 1] if open_ is None else looks.at[-1]
    if pairs > most:
        raise PlanError(
            f"The run has {pairs} valid pairs, but by the rule that was fixed before its first "
            f"trial it ends after {most}. Later pairs would raise the share of false verdicts. "
            "Plan a comparison with more pairs, and begin a new run."
        )
    if open_ is not None:
        raise PlanError(
            f"The run is not over: its next look is planned after {open_} valid pairs, and it has "
            f"{pairs}. Looking earlier would raise the share of false verdicts. Continue the run "
            "with --resume."
        )


def described(looks: Looks) -> str:
    """Return the rule, and where the run stopped, in plain sentences."""
    return f"{rule(looks)} {progress(looks)}"


def rule(looks: Looks) -> str:
    """Return the rule as one sentence."""
    first, last = looks.at
    return (
        f"Two looks were planned before the first trial: after {first} pairs, and after {last} if "
        f"the first did not decide (alpha {looks.alpha:g} each, so that false verdicts stay at or "
        f"below {100 * ALPHA:g} %)."
    )


def progress(looks: Looks) -> str:
    """Return the result of the last look as one sentence."""
    if not looks.taken:
        return "No look has been taken yet."
    look, planned_pairs = looks.taken[-1], looks.at[len(looks.taken) - 1]
    p = "unknown" if look.p is None else f"{look.p:.3f}"
    if look.result == LookResult.GO_ON:
        return f"The look after {look.pairs} pairs did not decide (p = {p}), so the run goes on."
    return f"Stopped after {look.pairs} pairs: {_why(looks, look, p, planned_pairs)}."


def _why(looks: Looks, look: Look, p: str, planned_pairs: int) -> str:
    if look.result == LookResult.DECIDED:
        return f"the look decided (p = {p})"
    if look.result == LookResult.FUTILE:
        return (
            f"p is {p}, and above {looks.futile_above:g} the remaining pairs would hardly find an "
            "effect"
        )
    if look.pairs < planned_pairs:
        return f"{planned_pairs} were planned, but too many trials did not count"
    return f"no more pairs are planned, and the last look did not decide (p = {p})"


def with_design(comparisons: Sequence[Comparison], looks: Looks | None) -> tuple[Comparison, ...]:
    """Return *comparisons*, the first of which says how many pairs were planned."""
    if looks is None:
        return tuple(comparisons)
    first, *others = comparisons
    return (msgspec.structs.replace(first, design=described(looks)), *others)
