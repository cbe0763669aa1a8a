"""Conditions of `dirtune watch`, such as `softnet.dropped > 0/s on any for 2 s`. Pure.

    METRIC OP NUMBER[UNIT] [on any|all|OBJECT] [for TIME] [after NUMBER[UNIT]]

OP is <, <=, > or >=. The clauses may have any order. A ready-made set stands for several
conditions.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dirtune.errors import NotPossible
from dirtune.nearest import no_such
from dirtune.watch.metrics import BY_NAME, METRICS, Metric, Unit, of_irq

SETS = {
    "drops": (
        "softnet.dropped > 0/s",
        "net.rx_fifo_errors > 0/s on any",
        "net.rx_dropped > 100/s on any for 3 s",
        "TcpExt.ListenDrops > 0/s",
        "conntrack.drop > 0/s",
    ),
    "overload": (
        "cpu.softirq > 90 % on any for 3 s",
        "cpu.idle < 2 % for 5 s",
        "conntrack.used > 90 %",
        "keepalived.delay > 1 s",
    ),
    "failover": (
        "addresses.changed > 0",
        "keepalived.delay > 1 s",
        "ipvs.connections < 10/s after 100/s",
    ),
}
_LONGEST = 200
_MOST = 1e15
_TIMES_S = {"ms": 0.001, "s": 1.0, "min": 60.0}
_CLAUSES = ("on", "for", "after")
_BEGIN = re.compile(r"(?P<metric>[^<>=]*?)\s*(?P<op>[<>]=?)\s*(?P<rest>.*)", re.DOTALL)
_AMOUNT = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>/s|%|[A-Za-z]+)?(?=\s|$)", re.ASCII)
_IRQ = re.compile(r"irq\s+(?P<label>\d{1,9})", re.ASCII)
_HELP = "`dirtune watch --help` lists them."


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition on one metric."""

    text: str
    metric: Metric
    op: str
    limit: float
    """The limit in the unit of the metric."""
    on: str | None = None
    """`any`, `all`, the name of an object, or None for the whole host."""
    for_s: float = 0.0
    """How long the condition must hold, in seconds."""
    after: float | None = None
    """The value that the metric must have had shortly before: at least this for <, at most this
    for >. None without such a clause."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A condition to watch, and the words of the user that asked for it."""

    when: str
    """The set, or the condition itself."""
    expression: Expression

    @property
    def of_set(self) -> bool:
        """Whether a ready-made set contains the condition."""
        return self.when in SETS


def watched(words: str) -> tuple[Watched, ...]:
    """Return the conditions that *words*, a set or one condition, stand for.

    Raises `NotPossible`, with the wrong word and the nearest known one.
    """
    when = " ".join(words.split())
    if when in SETS:
        return tuple(Watched(when, parse(text)) for text in SETS[when])
    return (Watched(when, parse(when)),)


def parse(text: str) -> Expression:
    """Parse one condition; raises `NotPossible`, which names the word that is wrong."""
    if len(text) > _LONGEST:
        raise NotPossible(f"--when accepts at most {_LONGEST} characters, not {len(text)}.")
    matched = _BEGIN.fullmatch(text)
    if matched is None:
        raise NotPossible(f"--when {text!r}: {_not_compared(text)}")
    try:
        metric = _metric(matched["metric"])
        limit, rest = _amount(matched["rest"], metric)
        clauses = dict(_clauses(rest, metric))
    except NotPossible as error:
        raise NotPossible(f"--when {text!r}: {error}") from None
    expression = Expression(text, metric, matched["op"], limit, **clauses)  # type: ignore[arg-type]
    if why := _pointless(expression):
        raise NotPossible(f"--when {text!r}: {why}")
    return expression


def _not_compared(text: str) -> str:
    metric = BY_NAME.get(text.lower())
    if metric is not None:
        return f"A condition compares. Write {text} > 0{metric.unit}, for example."
    if " " not in text:
        return no_such("set of conditions", text, (*SETS, *BY_NAME), _HELP)
    return "A condition compares. Write METRIC > NUMBER or METRIC < NUMBER."


def _metric(words: str) -> Metric:
    if irq := _IRQ.fullmatch(words):
        return of_irq(irq["label"])
    metric = BY_NAME.get(words.lower())
    if metric is None:
        names = [*(metric.name for metric in METRICS), "irq NUMBER"]
        raise NotPossible(no_such("metric", words, names, _HELP))
    return metric


def _amount(text: str, metric: Metric) -> tuple[float, str]:
    """Return the number at the beginning of *text*, in the metric's unit, and the rest."""
    matched = _AMOUNT.match(text)
    if matched is None:
        raise NotPossible(f"{_word(text)} is not a number with a unit: {_example(metric)}.")
    unit = matched["unit"] or ""
    factor = _TIMES_S.get(unit) if metric.unit is Unit.SECONDS else 1.0
    if factor is None or (metric.unit is not Unit.SECONDS and unit != metric.unit):
        raise NotPossible(f"{matched[0]} has the wrong unit. Write {_example(metric)}.")
    return _bounded(matched["number"]) * factor, text[matched.end() :].strip()


def _example(metric: Metric) -> str:
    return {
        Unit.RATE: "a number of events per second, such as 100/s",
        Unit.PERCENT: "a percentage, such as 90 %",
        Unit.SECONDS: "a time, such as 1 s",
        Unit.NUMBER: "a number without a unit, such as 5",
    }[metric.unit]


def _clauses(rest: str, metric: Metric) -> Iterator[tuple[str, object]]:
    readers: dict[str, Callable[[str, Metric], tuple[object, str]]] = {
        "on": _object,
        "for": _time,
        "after": _amount,
    }
    fields = {"on": "on", "for": "for_s", "after": "after"}
    seen = set()
    while rest:
        word, _, rest = rest.partition(" ")
        if word not in readers:
            raise NotPossible(no_such("clause", word, _CLAUSES, "The clauses are on, for, after."))
        if word in seen:
            raise NotPossible(f"The clause {word} is given twice.")
        seen.add(word)
        value, rest = readers[word](rest.strip(), metric)
        yield fields[word], value


def _object(text: str, metric: Metric) -> tuple[str, str]:
    if not metric.objects:
        raise NotPossible(f"{metric.name} counts the whole host. Leave out the clause on.")
    name, _, rest = text.partition(" ")
    if metric.objects == "CPU":
        name = name.lower().removeprefix("cpu")
        if not name:  # on cpu 3
            name, _, rest = rest.strip().partition(" ")
        if name not in {"any", "all"} and not (name.isdecimal() and len(name) <= 9):
            raise NotPossible(f"{_word(name)} is not any, all or the number of a CPU.")
    if not name:
        raise NotPossible(f"The clause on needs any, all or the name of one {metric.objects}.")
    return name, rest.strip()


def _time(text: str, _: Metric) -> tuple[float, str]:
    matched = _AMOUNT.match(text)
    if matched is None or matched["unit"] not in _TIMES_S:
        raise NotPossible(f"{_word(text)} is not a time. Write for 2 s, for example.")
    return _bounded(matched["number"]) * _TIMES_S[matched["unit"]], text[matched.end() :].strip()


def _bounded(digits: str) -> float:
    number = float(digits)
    if number > _MOST:
        raise NotPossible(f"{digits[:20]} is larger than {_MOST:g}.")
    return number


def _pointless(expression: Expression) -> str | None:
    """Return why the condition can never hold; None if it can."""
    if expression.op == "<" and not expression.limit:
        return f"{expression.metric.name} is never less than 0."
    if expression.metric.unit is Unit.PERCENT and expression.op.startswith(">"):
        most = 100 if expression.op == ">=" else 99.99
        if expression.limit > most:
            return "A percentage is at most 100, so the condition never holds."
    return None


def _word(text: str) -> str:
    return repr(text.partition(" ")[0]) if text else "The end of the condition"
