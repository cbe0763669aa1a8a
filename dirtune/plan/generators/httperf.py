"""Support httperf, which starts connections on a fixed schedule (open loop) and logs no replies.

httperf uses select(2), which is limited to 1,024 descriptors. If all connections wait for the
time-out, one process can start at most 1022 / timeout connections a second; for higher rates, a
client runs several processes. httperf polls all the time, and needs an entire CPU. If httperf got
less, or caught up after a stall with one burst, its connections did not start as planned. dirtune
does not use `--hog`, because it takes the same ports in every run. Latencies are those of complete
connections, in steps of 1 ms, from the histogram of `-v -v`.

Output format: src/stat/basic.c, dump().
"""

import math
import re
from collections.abc import Iterable

import msgspec

from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.latency import Latency
from dirtune.plan.generators import Abilities, Part, Report, Schedule, split
from dirtune.plan.load import Load

# The full load begins at once: for a ramp, each additional process would need a CPU of its own.
ABILITIES = Abilities(open_loop=True, keeps_alive=True, polls=True)
OPEN_MAX = 1000
"""Largest number of open connections of one process, a little below the limit of select(2)."""

_TOTAL = re.compile(
    r"Total: connections (\d+) requests (\d+) replies (\d+) test-duration ([\d.]+) s"
)
_UNSENT = ("fd-unavail", "addrunavail", "ftab-full", "other")


class Summary(msgspec.Struct, frozen=True):
    """The report that httperf prints at the end."""

    connections: int
    """Number of connections for which httperf got a descriptor."""
    requests: int
    replies: int
    duration_s: float
    burst: int | None
    """Largest number of connections that started without a pause; None if the report lacks the
    line."""
    lifetime_ms: tuple[float, float, float, float]
    """Minimum, mean, maximum and median duration of connections in milliseconds; all 0 if no
    connection succeeded."""
    connect_ms: float
    status: dict[str, int]
    """Number of replies by class of status: `1xx` to `5xx`."""
    cpu_percent: float
    """User plus system time of httperf, per cent of one CPU."""
    errors: dict[str, int] | None
    """Number of errors by httperf's names for them, without the total; None if the report lacks
    the lines."""
    histogram: tuple[tuple[float, int], ...]
    """Histogram of durations: the middle of each step of 1 ms, and the number of connections in
    the step; empty without `-v -v`."""


def parts(load: Load, ticks: Schedule) -> tuple[Part, ...]:
    """Return enough parts that no process needs more than `OPEN_MAX` open connections."""
    return split(ticks, math.ceil(ticks.rate * load.timeout_s / OPEN_MAX))


def command(load: Load, url: str, part: Part) -> tuple[str, ...]:
    """Return the command line of one httperf process."""
    host, port, path = _address(url)
    return (
        "httperf",
        *("-v", "-v"),
        *("--server", host),
        *("--port", port),
        *("--uri", path),
        *("--rate", f"{part.ticks.rate:.6g}"),
        *("--num-conns", str(part.ticks.connections)),
        *("--num-calls", str(load.keepalive)),
        *("--timeout", f"{load.timeout_s:g}"),
        *("--http-version", "1.0" if load.keepalive == 1 else "1.1"),
    )


@parsing("httperf")
def parse(text: str, log: Iterable[str], load: Load) -> Report:
    """Parse the output of one httperf process, which writes no log."""
    del log
    summary = parse_summary(text)
    if summary.errors is None:
        raise ParseError("httperf", "the report lacks the lines that begin with Errors")
    errors = summary.errors
    failed = {
        "timeout": errors["client-timo"] + errors["socket-timo"],
        "refused": errors["connrefused"],
        "reset": errors["connreset"],
        "status": round((summary.replies - summary.status["2xx"]) / load.keepalive),
    }
    # httperf waited last for a connection: until the time-out if one timed out, else as long as
    # the slowest connection took.
    tail_s = load.timeout_s if failed["timeout"] else summary.lifetime_ms[2] / 1000
    return Report(
        # If connect(2) fails at once (no port), httperf counts a connection and the error `other`.
        attempted=summary.connections - errors["other"],
        replied=round(summary.status["2xx"] / load.keepalive),
        failed={name: count for name, count in failed.items() if count},
        unsent={name: errors[name] for name in _UNSENT if errors[name]},
        span_s=max(0.0, summary.duration_s - tail_s),
        elapsed_s=summary.duration_s,
        connect_ms=summary.connect_ms if summary.replies else None,
        latency=_latency(summary),
        histogram=summary.histogram,
        burst=summary.burst,
        poll_cpu_percent=summary.cpu_percent,
    )


@parsing("httperf")
def parse_summary(text: str) -> Summary:
    """Parse the output of one httperf process.

    If *text* holds several reports, the last report counts.
    """
    totals = list(_TOTAL.finditer(text))
    if not totals:
        raise ParseError("httperf", "the load generator exited early, without a report")
    head, tail = text[: totals[-1].start()], text[totals[-1].end() :]
    bursts = re.findall(r"Maximum connect burst length: (\d+)", head)
    connections, requests, replies, duration = totals[-1].groups()
    lifetime = _numbers(r"Connection time \[ms\]: min N avg N max N median N", tail)
    return Summary(
        connections=int(connections),
        requests=int(requests),
        replies=int(replies),
        duration_s=float(duration),
        burst=int(bursts[-1]) if bursts else None,
        lifetime_ms=(lifetime[0], lifetime[1], lifetime[2], lifetime[3]),
        connect_ms=_numbers(r"Connection time \[ms\]: connect N", tail)[0],
        status=_status(tail),
        cpu_percent=_numbers(r"system N% total N%\)", tail)[1],
        errors=_errors(tail),
        histogram=_histogram(head),
    )


def _numbers(pattern: str, text: str) -> list[float]:
    found = re.search(pattern.replace("N", r"(-?\d+(?:\.\d+)?)"), text)
    if found is None:
        label = pattern.partition("N")[0].replace("\\", "").strip()
        raise ParseError("httperf", f"the report lacks {label!r}")
    return [float(number) for number in found.groups()]


def _status(text: str) -> dict[str, int]:
    found = re.search(r"Reply status: (.+)", text)
    counts = {name: int(n) for name, n in re.findall(r"(\dxx)=(\d+)", found[1] if found else "")}
    if len(counts) != 5:
        raise ParseError(
            "httperf", "the report lacks the counts of the five reply-status classes (1xx to 5xx)"
        )
    return counts


def _errors(text: str) -> dict[str, int] | None:
    rows = re.findall(r"Errors: (.+)", text)
    if not rows:
        return None
    counts = {
        name: int(n) for name, n in re.findall(r"(?<![a-z-])([a-z-]+) (\d+)", " ".join(rows))
    }
    lacks = {"client-timo", "socket-timo", "connrefused", "connreset", *_UNSENT} - counts.keys()
    if lacks:
        raise ParseError("httperf", f"the report lacks the count of {sorted(lacks)[0]} errors")
    counts.pop("total", None)
    return counts


def _histogram(text: str) -> tuple[tuple[float, int], ...]:
    _, _, rows = text.rpartition("Connection lifetime histogram (time in ms):")
    found = re.findall(r"^ *(\d+\.\d) (\d+)$", rows, re.MULTILINE)
    return tuple((float(middle), int(count)) for middle, count in found)


def _latency(summary: Summary) -> Latency | None:
    total = sum(count for _, count in summary.histogram)
    if not total:
        return None
    return Latency(
        summary.lifetime_ms[1],
        _rank(summary.histogram, 0.50 * total),
        _rank(summary.histogram, 0.99 * total),
        of="connection",
    )


def _rank(histogram: tuple[tuple[float, int], ...], wanted: float) -> float:
    seen = 0
    for middle, count in histogram:
        seen += count
        if seen > wanted:
            return middle
    return histogram[-1][0]


def _address(url: str) -> tuple[str, str, str]:
    found = re.fullmatch(r"http://\[?([^/\]]+?)\]?:(\d+)(/.*)", url)
    assert found is not None, url
    return found[1], found[2], found[3]
