"""Decide from two moments whether a condition has come true. Pure.

A counter that went back was reset and has no rate. A host that was suspended between two moments
has no rate either. If dirtune was held up, a counter's average over the longer time is at most its
highest rate, so the average can prove that a rate was high, but not that it was low.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dirtune.analyse import rates
from dirtune.watch.expression import Expression
from dirtune.watch.metrics import Metric, Readings, Unit

AFTER_S = 60.0
"""How long before the condition the value of the clause `after` may lie, in seconds."""
HELD_UP_S = 5.0
"""A time between two moments that is longer than this proves no low rate, in seconds."""
_SLACK_S = 0.1
"""Moments are a second apart, give or take this, so two of them may be slightly less than 2 s."""


@dataclass(frozen=True, slots=True)
class State:
    """The history of one condition on one object, as far as the decision needs it."""

    since_s: float | None = None
    """When the condition began to hold; None if it does not hold or is unknown."""
    was_s: float | None = None
    """When the value last satisfied the clause `after`."""
    fired: bool = False
    """Whether the condition has fired and was not seen to end since then."""


@dataclass(frozen=True, slots=True)
class Firing:
    """A condition that has come true."""

    expression: Expression
    object: str
    """The CPU, interface or process; "" for the whole host."""
    value: float
    """The value in the metric's unit."""
    held_s: float
    """How long the condition has held, in seconds."""


def values(
    metric: Metric, earlier: Readings | None, later: Readings, seconds: float
) -> dict[str, float]:
    """Return the value of *metric* for each object; an object whose value is unknown is left out.

    *earlier* is None if there is no earlier reading to compare with, *seconds* ago.
    """
    by_object: dict[str, float] = {}
    for name, now in later.items():
        then = earlier.get(name) if earlier else None
        part, whole = now.part, now.whole
        if metric.rises:
            if then is None or (risen := _risen(metric, then.part, now.part, seconds)) is None:
                continue
            part = risen
            whole = None if now.whole is None or then.whole is None else now.whole - then.whole
        if metric.unit is Unit.PERCENT:
            if whole is None or whole <= 0:
                continue
            part = 100 * part / whole
        by_object[name] = part / seconds if metric.unit is Unit.RATE else part
    if (
        "" not in by_object
        and earlier is not None
        and by_object.keys() == earlier.keys() == later.keys()
    ):
        by_object[""] = _total(metric, by_object)
    return by_object


def _total(metric: Metric, by_object: Mapping[str, float]) -> float:
    if metric.unit is Unit.SECONDS:
        return max(by_object.values(), default=0.0)
    return sum(by_object.values())


def _risen(metric: Metric, then: float, now: float, seconds: float) -> float | None:
    if metric.wraps:
        return rates.interrupts(int(then), int(now), seconds)
    return now - then if now >= then else None


def chosen(expression: Expression, by_object: Mapping[str, float]) -> Mapping[str, float]:
    """Return the values that *expression* compares, by object."""
    if expression.on is None:
        return {"": by_object[""]} if "" in by_object else {}
    objects = {name: value for name, value in by_object.items() if name}
    if expression.on == "any":
        return objects
    if expression.on == "all":
        worst = min if expression.op.startswith(">") else max
        return {"": worst(objects.values())} if objects else {}
    return {expression.on: objects[expression.on]} if expression.on in objects else {}


def step(
    expression: Expression, state: State, value: float | None, began_s: float, at_s: float
) -> tuple[State, bool]:
    """Return the next state, and whether the condition fires now.

    *value* is the value between *began_s* and *at_s*; None if it is unknown. A condition that has
    fired fires again only after it was false.
    """
    long = at_s - began_s > HELD_UP_S
    if value is None or (long and _lower_bound(expression)):
        return replace(state, since_s=None), False
    was_s = at_s if _satisfies_after(expression, value) else state.was_s
    if not _holds(expression, value):
        return State(None, was_s), False
    since_s = state.since_s
    if since_s is None:
        since_s = began_s if expression.metric.rises else at_s
    lasted = at_s - since_s >= expression.for_s - _SLACK_S
    known = expression.after is None or (was_s is not None and since_s - was_s <= AFTER_S)
    due = lasted and known
    return State(since_s, was_s, state.fired or due), due and not state.fired


def _lower_bound(expression: Expression) -> bool:
    """Return whether the condition asks for a low rate, which a long average does not prove."""
    return expression.metric.unit is Unit.RATE and expression.op.startswith("<")


def _holds(expression: Expression, value: float) -> bool:
    limit = expression.limit
    match expression.op:
        case ">":
            return value > limit
        case ">=":
            return value >= limit
        case "<":
            return value < limit
    return value <= limit


def _satisfies_after(expression: Expression, value: float) -> bool:
    if expression.after is None:
        return False
    above = expression.op.startswith("<")
    return value >= expression.after if above else value <= expression.after
