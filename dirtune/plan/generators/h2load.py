"""h2load as an open-loop generator: one request for each connection, started by the clock.

h2load (nghttp2) starts `-r` connections every `--rate-period`. With one second as the period it
opens a second's connections at once; a short period with a few connections each spreads them.
A connection it could not even ask the kernel for (no descriptor, no port) it names on a line of
its own, and counts with those the network lost.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.plan.generators import LOG, Abilities, Part, Reply, Report, Schedule, split
from dirtune.plan.load import Load

PACKAGE = "nghttp2-client"
ABILITIES = Abilities(open_loop=True, ramps=True, keeps_alive=True, tells_version=True)
RAMP_STEPS = 5

_NOT_BEGUN = "client could not connect to host"
_MOST = 0.99
_ROWS_FOR_SPAN = 100
_UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}


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
    """Requests whose connection stood."""
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


def parts(load: Load, ticks: Schedule) -> tuple[Part, ...]:
    """Return one process, or as many as a ramp has steps: h2load itself knows one rate."""
    return split(ticks, RAMP_STEPS, load.ramp_s) if load.ramp_s else (Part(ticks),)


def command(load: Load, url: str, part: Part) -> tuple[str, ...]:
    """Return the argument list of one h2load."""
    timeout, ticks = f"{round(load.timeout_s * 1000)}ms", part.ticks
    return (
        "h2load",
        "--h1",
        *("-t", "1"),
        *("-n", str(ticks.connections * load.keepalive)),
        *("-c", str(ticks.connections)),
        *("-r", str(ticks.batch)),
        f"--rate-period={ticks.period_ms}ms",
        *("-T", timeout),
        *("-N", timeout),
        *(("-H", "Connection: close") if load.keepalive == 1 else ()),
        f"--log-file={LOG}",
        url,
    )


@parsing("h2load")
def parse(text: str, log: Iterable[str], load: Load) -> Report:
    """Parse what one h2load printed and its log."""
    summary = of_connections(parse_summary(text), load.keepalive)
    replies = tuple(parse_log(log))
    unsent = min(text.count(_NOT_BEGUN), summary.errored)
    return Report(
        attempted=max(summary.total, summary.started) - unsent,
        replied=summary.succeeded,
        failed=failures(summary, unsent),
        unsent={"could not connect to host": unsent} if unsent else {},
        span_s=_span_s(replies, summary, load.keepalive),
        connect_ms=None if summary.connect is None else summary.connect.mean_us / 1000,
        replies=replies,
    )


@parsing("h2load")
def parse_summary(text: str) -> Summary:
    """Parse what one h2load printed; with several reports in *text* the last one counts."""
    requests = _last(r"^ *requests: (.+)$", text)
    codes = _last(r"^ *status codes: (.+)$", text)
    counts = {name: int(n) for n, name in re.findall(r"(?<!\d)(\d+) (\w+)", requests)}
    try:
        return Summary(
            **{name: counts[name] for name in ("total", "started", "done", "succeeded")},
            **{name: counts[name] for name in ("failed", "errored")},
            timeout=counts.get("timeout"),
            status={name: int(n) for n, name in re.findall(r"(?<!\d)(\d+) (\dxx)", codes)},
            request=_times("time for request", text),
            connect=_times("time for connect", text),
            first_byte=_times("time to 1st byte", text),
        )
    except KeyError as error:
        raise ParseError("h2load", f"its summary has no {error} count") from error


def of_connections(summary: Summary, requests: int) -> Summary:
    """Return *summary* with its counts as those of connections, of so many requests each."""
    if requests == 1:
        return summary
    names = ("total", "started", "done", "succeeded", "failed", "errored")
    counts = {name: round(getattr(summary, name) / requests) for name in names}
    timeout = None if summary.timeout is None else round(summary.timeout / requests)
    status = {name: round(count / requests) for name, count in summary.status.items()}
    return msgspec.structs.replace(summary, **counts, timeout=timeout, status=status)


def parse_log(lines: Iterable[str]) -> Iterator[Reply]:
    """Yield the rows of h2load's log, in its order; columns a later version adds are ignored."""
    for number, line in enumerate(lines, 1):
        cells = line.split("\t")
        try:
            yield Reply(int(cells[0]), int(cells[1]), int(cells[2]))
        except (ValueError, IndexError) as error:
            raise ParseError("h2load log", f"line {number}: {line.strip()!r}") from error


def failures(summary: Summary, unsent: int = 0) -> dict[str, int]:
    """Return the failed connections by class; the classes do not overlap and leave out zeros.

    `started` counts requests, which begin when the connection stands: what is missing there and
    was not *unsent* never got a connection (its SYN was lost or refused), `connect`.
    """
    connect = min(max(0, summary.total - summary.started), summary.errored) - unsent
    timeout = summary.timeout or 0
    classes = {
        "connect": connect,
        "timeout": timeout,
        # Parts of connections were rounded.
        "error": max(0, summary.errored - timeout - connect - unsent),
        "status": summary.failed - summary.errored,
    }
    return {name: count for name, count in classes.items() if count}


def _span_s(replies: tuple[Reply, ...], summary: Summary, requests: int) -> float | None:
    """Return how long the starts of connections took, as far as requests tell.

    A request starts when its connection stands, and one that is not its first when the one before
    was answered: up to the time that these took at most is not the client's delay. The last per
    cent of starts is left to lost SYNs.
    """
    if len(replies) < _ROWS_FOR_SPAN:
        return None
    starts = sorted(reply.start_us for reply in replies)
    last = starts[round(_MOST * (len(starts) - 1))]
    before = [(summary.connect, 1), (summary.request, requests - 1)]
    waited_us = sum(n * (times.mean_us + 2 * times.sd_us) for times, n in before if times)
    return max(0.0, last - starts[0] - waited_us) / _MOST / 1e6


def _last(pattern: str, text: str) -> str:
    found = re.findall(pattern, text, re.MULTILINE)
    if not found:
        raise ParseError("h2load", "no summary; it ended before its time")
    return str(found[-1])


def _times(label: str, text: str) -> Times | None:
    rows = re.findall(rf"^ *{label}:(.+)$", text, re.MULTILINE)
    if not rows:
        return None
    cells = re.findall(r"(?<![\d.])([\d.]+)(us|ms|s|m|h)(?= |$)", rows[-1])
    if len(cells) != 4:
        raise ParseError("h2load", f"{label}: {rows[-1].strip()!r}")
    return Times(*(float(number) * _UNITS_US[unit] for number, unit in cells))
