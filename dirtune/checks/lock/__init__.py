"""Checks of kernel locks, from the measurements of `audit --probe`."""

from collections.abc import Iterable
from dataclasses import dataclass

from dirtune.analyse.probed import LockWaits, LockWindow, SoftirqWindow
from dirtune.checks import Undecided, inconclusive
from dirtune.checks.together import listed

NOTABLE_PERCENT = 2.0
"""A lock is reported if waits take this percentage of softirq time; not calibrated."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """All waits for one lock, in all functions of the kernel."""

    waits: int
    total_ns: int
    max_ns: int
    callers: tuple[str, ...]
    """Functions that waited for the lock, the longest total wait first."""
    percent: float
    """Waiting time in percent of softirq time."""

    @property
    def message(self) -> str:
        """The waits as a sentence."""
        return (
            f"CPUs waited {self.waits:,} times for a lock in {listed(self.callers)}, "
            f"{self.total_ns / self.waits / 1000:.1f} us on average and {self.percent:.1f} % of "
            "softirq time in total"
        )

    @property
    def evidence(self) -> dict[str, object]:
        """The waits as evidence for a finding."""
        return {
            "waits": self.waits,
            "wait_ns": self.total_ns,
            "max_wait_ns": self.max_ns,
            "callers": list(self.callers),
            "percent_of_softirq_time": round(self.percent, 2),
        }


def notable(
    locks: LockWindow,
    softirqs: SoftirqWindow,
    *names: str,
    caller: str | None = None,
    percent: float = NOTABLE_PERCENT,
) -> Waiting | Undecided | None:
    """Return the waits for the locks *names*, or only those in the kernel function *caller*.

    Return None if the waits took less than *percent* of softirq time, and an inconclusive verdict
    if no softirq ran.
    """
    waits = [x for x in locks.locks if x.lock in names and caller in {None, x.caller}]
    total_ns = sum(wait.total_ns for wait in waits)
    if not total_ns:
        return None
    share = _percent(locks, softirqs, total_ns)
    if share is None:
        return inconclusive("no softirq ran while the probe measured")
    if share < percent:
        return None
    most_ns = max(wait.max_ns for wait in waits)
    return Waiting(sum(wait.waits for wait in waits), total_ns, most_ns, _callers(waits), share)


def _callers(waits: Iterable[LockWaits]) -> tuple[str, ...]:
    spent: dict[str, int] = {}
    for wait in waits:
        spent[wait.caller] = spent.get(wait.caller, 0) + wait.total_ns
    return tuple(sorted(spent, key=lambda caller: -spent[caller]))


def _percent(locks: LockWindow, softirqs: SoftirqWindow, wait_ns: int) -> float | None:
    """Return *wait_ns* per second in percent of the softirq time per second.

    Rates are compared, because the windows of the two probes may differ.
    """
    softirq_ns = sum(each.total_ns for each in softirqs.softirqs)
    if not softirq_ns or not locks.seconds or not softirqs.seconds:
        return None
    return 100 * (wait_ns / locks.seconds) / (softirq_ns / softirqs.seconds)
