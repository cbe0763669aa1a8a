"""Compare two profiles, figure by figure. Pure.

The comparison shows where CPU time went, but it is not a verdict on a fix: two windows cannot show
how large the noise is, and the probes themselves change the CPU time.
"""

from collections.abc import Iterator

import msgspec

from dirtune.analyse.phases import top_symbols
from dirtune.analyse.profile import Profile

_SYMBOLS = 10


class Change(msgspec.Struct, frozen=True):
    """One figure of both profiles, such as CPU per packet; None if a profile lacks the figure."""

    what: str
    unit: str
    before: float | None
    after: float | None

    @property
    def ratio(self) -> float | None:
        """`after` divided by `before`; None if one is missing or `before` is 0."""
        if self.after is None or not self.before:
            return None
        return self.after / self.before


class Difference(msgspec.Struct, frozen=True):
    """The figures of two profiles side by side (`dirtune/profile-difference/1`)."""

    changes: tuple[Change, ...]
    schema: str = "dirtune/profile-difference/1"


def of(before: Profile, after: Profile) -> Difference:
    """Return all figures that at least one of the two profiles has."""
    then, now = dict(_figures(before)), dict(_figures(after))
    keys = [*now, *(key for key in then if key not in now)]
    return Difference(
        tuple(
            Change(what, unit, then.get((what, unit)), now.get((what, unit)))
            for what, unit in keys
        )
    )


def _figures(profile: Profile) -> Iterator[tuple[tuple[str, str], float]]:
    for node in profile.nodes:
        for state in ("user", "system", "idle"):
            if state in node.states:
                yield (f"{node.node} {state}", "%"), node.states[state].mean
    work, probed = profile.work, profile.probed
    if work is not None:
        rates = {
            ("connections", "/s"): _rate(work.connections, work.seconds),
            ("packets", "/s"): _rate(work.packets, work.seconds),
            ("CPU per connection", "us"): work.cpu_us_per_connection,
            ("CPU per packet", "us"): work.cpu_us_per_packet,
            ("interrupts per packet", ""): work.interrupts_per_packet,
        }
        yield from ((key, value) for key, value in rates.items() if value is not None)
        yield from ((("phase " + p.name, "% of a CPU"), p.percent) for p in work.phases)
    if probed and probed.handlers:
        for h in probed.handlers.handlers:
            none = h.none / probed.handlers.seconds
            yield (f"irq {h.irq} {h.handler}: IRQ_NONE", "calls/s"), none
    if probed and probed.cpu:
        symbols = top_symbols(probed.cpu)
        total = sum(symbols.values())
        for symbol, samples in list(symbols.items())[:_SYMBOLS] if total else ():
            yield (f"symbol {symbol}", "% of samples"), 100 * samples / total


def _rate(count: int | None, seconds: float) -> float | None:
    return None if count is None else count / seconds
