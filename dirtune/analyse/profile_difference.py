"""The difference of two profiles, figure by figure. Pure.

The difference shows where CPU time went, but is not a verdict: two windows cannot show the noise,
and profiled windows are never used to judge a fix.
"""

from collections.abc import Iterator

import msgspec

from dirtune.analyse.phases import top_symbols
from dirtune.analyse.profile import Profile

_SYMBOLS = 10


class Change(msgspec.Struct, frozen=True):
    """One figure in both profiles; None for a profile that lacks the figure."""

    what: str
    unit: str
    before: float | None
    after: float | None

    @property
    def ratio(self) -> float | None:
        """After divided by before; None if either is missing or before is 0."""
        if self.after is None or not self.before:
            return None
        return self.after / self.before


class Difference(msgspec.Struct, frozen=True):
    """Two profiles, figure by figure (`dirtune/profile-difference/1`)."""

    changes: tuple[Change, ...]
    schema: str = "dirtune/profile-difference/1"


def of(before: Profile, after: Profile) -> Difference:
    """Return every figure that either profile has, in one order."""
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
        total = sum(top_symbols(probed.cpu).values())
        for symbol, samples in list(top_symbols(probed.cpu).items())[:_SYMBOLS]:
            yield (f"symbol {symbol}", "% of samples"), 100 * samples / total


def _rate(count: int | None, seconds: float) -> float | None:
    return None if count is None else count / seconds
