"""Decide after a planned number of pairs (a look) if a comparison goes on or stops. Pure.

If somebody extends a comparison that shows nothing, and tests again at the same level, 8 of 100
runs report an effect that does not exist. Two looks that are planned before the first trial keep
this number at 5 of 100, if each look uses the smaller alpha `EACH` (Pocock's boundary for two
looks, the second after twice as many pairs as the first). If p is above `FUTILE_ABOVE` at the
first look, the run ends; this rule can only lower the number of such false effects.
"""

from collections.abc import Sequence

import msgspec

from dirtune.analyse.estimate import ALPHA
from dirtune.analyse.run import Comparison, Look, LookResult, Looks, Verdict
from dirtune.analyse.words import named_p
from dirtune.errors import PlanError

EACH = 0.0294
"""Alpha of each of two looks. Both together report a false effect with probability `ALPHA`."""
FUTILE_ABOVE = 0.5
"""With a higher p at the first look, the second one would hardly find an effect."""


def planned(pairs: int, at_most: int | None) -> Looks | None:
    """Return the looks (interim tests) that a plan asks for; None for a fixed number of pairs.

    The first look comes after *pairs* pairs of trials, the second after *at_most* pairs.
    """
    if at_most is None:
        return None
    return Looks(at=(pairs, at_most), alpha=EACH, futile_above=FUTILE_ABOVE)


def due(looks: Looks) -> int | None:
    """Return the number of valid pairs at which the next look (interim test) is due.

    The result is None if the run is over.
    """
    if looks.taken and looks.taken[-1].result != LookResult.GO_ON:
        return None
    return looks.at[len(looks.taken)]


def taken(looks: Looks, comparison: Comparison) -> Looks:
    """Return *looks* with the result of the look (interim test) that is due, from *comparison*.

    *comparison* was made with the alpha of this look. If *comparison* has fewer pairs than
    planned, the run could not reach the planned number, and is over. Fewer pairs do not raise the
    number of false verdicts, because the validity of a trial does not depend on its results.
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
    """Return the accepted probability of a false verdict in a run.

    *looks* are its planned looks (interim tests), or None.
    """
    return ALPHA if looks is None else looks.alpha


def require_planned(looks: Looks | None, pairs: int) -> None:
    """Check that a look (interim test) is planned at *pairs* valid pairs.

    Raises `PlanError` if no look is planned at this number of pairs.
    """
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
            f"The run is not over: its next look at the results is planned after {open_} valid "
            f"pairs, and it has {pairs}. Looking earlier would raise the share of false verdicts. "
            "Continue the run with --resume."
        )


def described(looks: Looks) -> str:
    """Return sentences on the planned looks (interim tests), and on where the run stopped."""
    return f"{rule(looks)} {progress(looks)}"


def rule(looks: Looks) -> str:
    """Return one sentence that describes the planned looks (interim tests)."""
    first, last = looks.at
    return (
        f"Two looks at the results were planned before the first trial: after {first} pairs, and "
        f"after {last} if the first gave no verdict (alpha {looks.alpha:g} each, so that false "
        f"verdicts stay at or below {100 * ALPHA:g} %)."
    )


def progress(looks: Looks) -> str:
    """Return the result of the last look (interim test) as one sentence."""
    if not looks.taken:
        return "No look at the results has been taken yet."
    look, planned_pairs = looks.taken[-1], looks.at[len(looks.taken) - 1]
    p = named_p(look.p)
    if look.result == LookResult.GO_ON:
        return (
            f"The look at the results after {look.pairs} pairs gave no verdict ({p}), so the "
            "run goes on."
        )
    return f"Stopped after {look.pairs} pairs: {_why(looks, look, p, planned_pairs)}."


def _why(looks: Looks, look: Look, p: str, planned_pairs: int) -> str:
    if look.result == LookResult.DECIDED:
        return f"the look at the results gave a verdict ({p})"
    if look.result == LookResult.FUTILE:
        return (
            f"{p} is above the limit of {looks.futile_above:g}, so more pairs would hardly show "
            "an effect"
        )
    if look.pairs < planned_pairs:
        return f"{planned_pairs} were planned, but too many trials did not count"
    return f"no more pairs are planned, and the last look at the results gave no verdict ({p})"


def with_design(comparisons: Sequence[Comparison], looks: Looks | None) -> tuple[Comparison, ...]:
    """Return *comparisons*, the first of them with a description of *looks* (interim tests)."""
    if looks is None:
        return tuple(comparisons)
    first, *others = comparisons
    return (msgspec.structs.replace(first, design=described(looks)), *others)
