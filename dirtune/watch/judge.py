"""Judge one moment after another: which conditions come true. Pure."""

from collections.abc import Iterator, Mapping

from dirtune.watch.decision import AFTER_S, Firing, State, chosen, step, values
from dirtune.watch.expression import Expression
from dirtune.watch.metrics import Readings
from dirtune.watch.moment import Moment
from dirtune.watch.seconds import readings, suspended


class Judge:
    """The conditions of a watch, and what the decision needs of the moments so far."""

    def __init__(self, expressions: tuple[Expression, ...]) -> None:
        self._states: list[tuple[Expression, dict[str, State]]]
        self._states = [(expression, {}) for expression in expressions]
        self.metrics = tuple({e.metric.name: e.metric for e in expressions}.values())
        self.lost: frozenset[str] = frozenset()
        """The conditions whose source or object was missing at the last moment."""
        self._before: Moment | None = None
        self._readings: Mapping[str, Readings | None] = {}

    def firings(self, moment: Moment) -> tuple[Firing, ...]:
        """Return the conditions that come true at *moment*."""
        now = {metric.name: readings(metric, moment) for metric in self.metrics}
        expressions = (expression for expression, _ in self._states)
        self.lost = frozenset(e.text for e in expressions if _is_lost(e, now[e.metric.name]))
        before, earlier = self._before, self._readings
        self._before, self._readings = moment, now
        if before is None or moment.at_s <= before.at_s or suspended(before, moment):
            self._forget()
            return ()
        lasted_s = moment.at_s - before.at_s
        by_metric = {
            metric.name: values(metric, earlier[metric.name], current, lasted_s)
            for metric in self.metrics
            if (current := now[metric.name]) is not None
        }
        return tuple(self._firings(by_metric, before.at_s, moment.at_s))

    def restart(self) -> None:
        """Begin anew with the next moment, because time passed that nobody watched.

        A condition that has fired still fires again only after it was false.
        """
        self._before = None

    def _firings(
        self, by_metric: Mapping[str, Mapping[str, float]], began_s: float, at_s: float
    ) -> Iterator[Firing]:
        for expression, states in self._states:
            now = chosen(expression, by_metric.get(expression.metric.name, {}))
            for name in {*now, *states}:
                value, before = now.get(name), states.get(name, State())
                state, fires = step(expression, before, value, began_s, at_s)
                states[name] = state
                if fires and value is not None and state.since_s is not None:
                    yield Firing(expression, name, value, at_s - state.since_s)
                if value is None and _forgettable(state, at_s):  # interfaces come and go
                    del states[name]

    def _forget(self) -> None:
        for _, states in self._states:
            kept = {name: State(fired=True) for name, state in states.items() if state.fired}
            states.clear()
            states.update(kept)


def _is_lost(expression: Expression, current: Readings | None) -> bool:
    on = expression.on
    return current is None or (on not in {None, "any", "all"} and on not in current)


def _forgettable(state: State, at_s: float) -> bool:
    return not state.fired and (state.was_s is None or at_s - state.was_s > AFTER_S)
