"""h2load as an open-loop generator: one request for each connection, started by the clock.

h2load (nghttp2) starts `-r` connections every `--rate-period`. With one second as the period it
opens a second's connections at once; a short period with a few connections each spreads them.
Its exit status says nothing about failed requests and is not looked at.
"""

import math
import re
from collections.abc import Iterable, Iterator

import msgspec

from dirtune.errors import ParseError

# Below this many milliseconds for each client a step of one would bend the rate.
_DRIFT_FROM_MS = 4
_BATCH_MAX = 5
_UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}


class Schedule(msgspec.Struct, frozen=True):
    """When one client starts its connections."""

    batch: int
    """Connections at each tick."""
    period_ms: int
    connections: int

    @property
    def rate(self) -> float:
        """Connections per second."""
        return self.batch * 1000 / self.period_ms


class Times(msgspec.Struct, frozen=True):
    """One row of the summary's times, in microseconds."""

    min_us: float
    max_us: float
    mean_us: float
    sd_us: float


class Summary(msgspec.Struct, frozen=True):
    """The summary that h2load prints at its end."""

    total: int
    """Requests it was to send."""
    started: int
    done: int
    succeeded: int
    failed: int
    errored: int
    """Part of `failed`: the connection or the protocol failed."""
    timeout: int | None
    """Part of `errored`; None for a version that does not say."""
    status: dict[str, int]
    """Replies by class: `2xx` to `5xx`."""
    request: Times | None
    """From the request to the end of its reply."""
    connect: Times | None
    first_byte: Times | None
    """From the connection's start to the first byte of the reply."""


class Reply(msgspec.Struct, frozen=True):
    """One row of h2load's log."""

    start_us: int
    """When the request was sent, on the client's clock."""
    status: int
    """HTTP status; -1 for a failed stream."""
    took_us: int

    @property
    def end_us(self) -> int:
        """When the reply was complete."""
        return self.start_us + self.took_us


def schedule(rate: float, seconds: float) -> Schedule:
    """Return the ticks that come nearest to *rate*, with as few connections each as will do."""
    if rate <= 0 or seconds <= 0:
        raise ValueError(f"rate {rate} and seconds {seconds} must be positive")
    choices = [(b, round(1000 * b / rate)) for b in range(1, _BATCH_MAX + 1)]
    possible = [(b, period) for b, period in choices if period >= 1]
    if not possible:
        possible = [(max(1, round(rate / 1000)), 1)]
    # Off by less than 1 in 10,000 is exact; among those the smallest batch is smoothest.
    batch, period = min(possible, key=lambda c: (round(abs(c[0] * 1000 / c[1] / rate - 1), 4), c))
    ticks = math.ceil(seconds * 1000 / period)
    return Schedule(batch, period, ticks * batch)


def schedules(rate: float, clients: int, seconds: float) -> tuple[Schedule, ...]:
    """Return each client's ticks for *rate* over all of them.

    Ticks that fall together reach the director as one burst, and with equal periods chance would
    decide for a whole trial whether they do. So the periods differ by milliseconds, around the
    even share: all clients' ticks drift through each other, in every trial alike.
    """
    even = schedule(rate / clients, seconds)
    if even.period_ms < _DRIFT_FROM_MS * clients:
        return (even,) * clients
    steps = [place - clients // 2 for place in range(clients)]
    periods = [even.period_ms + (step if clients % 2 or step < 0 else step + 1) for step in steps]
    return tuple(
        Schedule(even.batch, period, math.ceil(seconds * 1000 / period) * even.batch)
        for period in periods
    )


def command(url: str, ticks: Schedule, *, timeout_s: float) -> tuple[str, ...]:
    """Return the argument list of one client's h2load, without its log file."""
    timeout = f"{round(timeout_s * 1000)}ms"
    return (
        "h2load",
        "--h1",
        *("-t", "1"),
        *("-n", str(ticks.connections)),
        *("-c", str(ticks.connections)),
        *("-r", str(ticks.batch)),
        f"--rate-period={ticks.period_ms}ms",
        *("-T", timeout),
        *("-N", timeout),
        *("-H", "Connection: close"),
        url,
    )


def parse_summary(text: str) -> Summary:
    """Parse what one h2load printed; with several reports in *text* the last one counts."""
    requests = _last(r"^ *requests: (.+)$", text)
    codes = _last(r"^ *status codes: (.+)$", text)
    counts = {name: int(n) for n, name in re.findall(r"(\d+) (\w+)", requests)}
    try:
        return Summary(
            **{name: counts[name] for name in ("total", "started", "done", "succeeded")},
            **{name: counts[name] for name in ("failed", "errored")},
            timeout=counts.get("timeout"),
            status={name: int(n) for n, name in re.findall(r"(\d+) (\dxx)", codes)},
            request=_times("time for request", text),
            connect=_times("time for connect", text),
            first_byte=_times("time to 1st byte", text),
        )
    except KeyError as error:
        raise ParseError("h2load", f"its summary has no {error} count") from error


def parse_log(lines: Iterable[str]) -> Iterator[Reply]:
    """Yield the rows of h2load's log, in its order; columns a later version adds are ignored."""
    for number, line in enumerate(lines, 1):
        cells = line.split("\t")
        try:
            yield Reply(int(cells[0]), int(cells[1]), int(cells[2]))
        except (ValueError, IndexError) as error:
            raise ParseError("h2load log", f"line {number}: {line.strip()!r}") from error


def failures(summary: Summary) -> dict[str, int]:
    """Return the failed requests by class; the classes do not overlap and leave out zeros."""
    timeout = summary.timeout or 0
    classes = {
        "timeout": timeout,
        "error": summary.errored - timeout,
        "status": summary.failed - summary.errored,
    }
    return {name: count for name, count in classes.items() if count}


def _last(pattern: str, text: str) -> str:
    found = re.findall(pattern, text, re.MULTILINE)
    if not found:
        raise ParseError("h2load", "no summary; it ended before its time")
    return str(found[-1])


def _times(label: str, text: str) -> Times | None:
    rows = re.findall(rf"^ *{label}:(.+)$", text, re.MULTILINE)
    if not rows:
        return None
    cells = re.findall(r"([\d.]+)(us|ms|s|m|h)(?= |$)", rows[-1])
    if len(cells) != 4:
        raise ParseError("h2load", f"{label}: {rows[-1].strip()!r}")
    return Times(*(float(number) * _UNITS_US[unit] for number, unit in cells))
