"""Support wrk, a closed loop, which opens a new connection only when another one ends.

wrk sends less when the director stalls, so it cannot measure loss. Trials with wrk only find the
peak, and are never compared. wrk reports no error for a reply that never arrives, and counts a
late reply both as a request and as a time-out (src/wrk.c, response_complete()).
"""

import math
import re
from collections.abc import Iterable

import msgspec

from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.latency import Latency
from dirtune.plan.generators import Abilities, Part, Report, Schedule
from dirtune.plan.load import Load

ABILITIES = Abilities(open_loop=False)

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TIME = r"(\d+(?:\.\d+)?)(us|ms|s|m|h)\b"


class Summary(msgspec.Struct, frozen=True):
    """The summary that wrk prints at the end."""

    requests: int
    """Number of replies that arrived, including late replies and replies with a bad status."""
    elapsed_s: float
    errors: dict[str, int]
    """Number of errors by name: connect, read, write, timeout; empty if wrk printed none."""
    bad_status: int
    """Number of replies with a status above 399."""
    mean_s: float | None
    percentiles_s: dict[float, float]
    """Latencies in seconds by percentile; empty without `--latency`."""


def parts(load: Load, ticks: Schedule) -> tuple[Part, ...]:
    """Return the part of a single process.

    The process does not follow *ticks*, because a closed loop has no schedule.
    """
    del load
    return (Part(ticks),)


def command(load: Load, url: str, part: Part) -> tuple[str, ...]:
    """Return the command line of one wrk process."""
    del part
    return (
        "wrk",
        *("-t", "1"),
        *("-c", str(load.connections)),
        *("-d", f"{math.ceil(load.load_s)}s"),
        *("--timeout", f"{math.ceil(load.timeout_s)}s"),
        "--latency",
        *("-H", "Connection: close"),
        url,
    )


@parsing("wrk")
def parse(text: str, log: Iterable[str], load: Load) -> Report:
    """Parse the output of one wrk process, which writes no log."""
    del log, load
    summary = parse_summary(text)
    failed = {**summary.errors, "status": summary.bad_status}
    return Report(
        attempted=None,
        replied=max(0, summary.requests - summary.bad_status - summary.errors.get("timeout", 0)),
        failed={name: count for name, count in failed.items() if count},
        elapsed_s=summary.elapsed_s,
        latency=_latency(summary),
    )


@parsing("wrk")
def parse_summary(text: str) -> Summary:
    """Parse the output of one wrk process.

    If *text* holds several reports, the last report counts.
    """
    ends = list(re.finditer(rf"(?<!\d)(\d+) requests in {_TIME},", text))
    if not ends:
        raise ParseError("wrk", "the load generator exited early, without a count of requests")
    end = ends[-1]
    before = text[ends[-2].end() if len(ends) > 1 else 0 : end.start()]
    after = text[end.end() :]
    errors = re.search(r"Socket errors: (.+)", after)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", after)
    mean = re.search(rf"Latency +{_TIME}", before)
    return Summary(
        requests=int(end[1]),
        elapsed_s=_seconds(end[2], end[3]),
        errors={
            name: int(n) for name, n in re.findall(r"\b(\w+) (\d+)", errors[1] if errors else "")
        },
        bad_status=int(bad[1]) if bad else 0,
        mean_s=None if mean is None else _seconds(mean[1], mean[2]),
        percentiles_s={
            float(share): _seconds(number, unit)
            for share, number, unit in re.findall(rf"^ *([\d.]+)% +{_TIME}", before, re.MULTILINE)
        },
    )


def _latency(summary: Summary) -> Latency | None:
    shares = summary.percentiles_s
    if not summary.requests or summary.mean_s is None or 50 not in shares or 99 not in shares:
        return None
    return Latency(1000 * summary.mean_s, 1000 * shares[50], 1000 * shares[99])


def _seconds(number: str, unit: str) -> float:
    return float(number) * _UNITS_S[unit]
