"""Support h2load (nghttp2), which starts connections on a fixed schedule (open loop).

h2load starts `-r` connections every `--rate-period`. With a period of one second, all connections
of a second would start in one burst; a short period with few connections spreads them. If the
client has no descriptor or no port for a connection, h2load prints a line, but counts this
connection together with the connections that the network lost.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.plan.generators import LOG, Abilities, Part, Reply, Report, Schedule, split
from dirtune.plan.load import Load

ABILITIES = Abilities(
    open_loop=True, ramps=True, keeps_alive=True, logs_replies=True, tells_version=True
)
RAMP_STEPS = 5

_NOT_BEGUN = "client could not connect to host"
_MOST = 0.99
_ROWS_FOR_SPAN = 100
_UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}


class Times(msgspec.Struct, frozen=True):
    """The minimum, maximum, mean and standard deviation of a duration, in microseconds."""

    min_us: float
    max_us: float
    mean_us: float
    sd_us: float


class Summary(msgspec.Struct, frozen=True):
    """The summary that h2load prints at the end."""

    total: int
    """Number of requests that h2load had to send."""
    started: int
    """Number of requests whose connection was established."""
    done: int
    succeeded: int
    failed: int
    errored: int
    """The requests among `failed` whose connection or protocol failed."""
    timeout: int | None
    """The requests among `errored` that ran into the time-out; None if this version of h2load does
    not report them."""
    status: dict[str, int]
    """Number of replies by class of status: `2xx` to `5xx`."""
    request: Times | None
    """Time from sending a request to the end of its reply."""
    connect: Times | None
    first_byte: Times | None
    """Time from the start of a connection to the first byte of the reply."""


def parts(load: Load, ticks: Schedule) -> tuple[Part, ...]:
    """Return a single part, or one part for each step of a ramp.

    One h2load process carries out each part. A ramp needs several processes, because a process
    cannot change its rate.
    """
    return split(ticks, RAMP_STEPS, load.ramp_s) if load.ramp_s else (Part(ticks),)


def command(load: Load, url: str, part: Part) -> tuple[str, ...]:
    """Return the command line of one h2load process."""
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
    """Parse the output and the log of one h2load process."""
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
    """Parse the output of one h2load process.

    If *text* holds several reports, the last report counts.
    """
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
        raise ParseError("h2load", f"the summary lacks the count {error}") from error


def of_connections(summary: Summary, requests: int) -> Summary:
    """Return *summary* with all counts converted from requests to connections.

    *requests* is the number of requests on each connection.
    """
    if requests == 1:
        return summary
    names = ("total", "started", "done", "succeeded", "failed", "errored")
    counts = {name: round(getattr(summary, name) / requests) for name in names}
    timeout = None if summary.timeout is None else round(summary.timeout / requests)
    status = {name: round(count / requests) for name, count in summary.status.items()}
    return msgspec.structs.replace(summary, **counts, timeout=timeout, status=status)


def parse_log(lines: Iterable[str]) -> Iterator[Reply]:
    """Yield the replies in h2load's log in order.

    Columns that later versions of h2load add are ignored.
    """
    for number, line in enumerate(lines, 1):
        cells = line.split("\t")
        try:
            yield Reply(int(cells[0]), int(cells[1]), int(cells[2]))
        except (ValueError, IndexError) as error:
            raise ParseError(
                "h2load log", f"line {number} is not a row of the log: {line.strip()!r}"
            ) from error


def failures(summary: Summary, unsent: int = 0) -> dict[str, int]:
    """Return the number of failed connections by kind of failure.

    *unsent* is the number of requests that the client could not send; these are not counted. The
    kinds do not overlap; a kind without connections is left out. h2load counts a request as
    `started` once its connection is established. All other requests got no connection, because
    the SYN was lost or refused; their kind is `connect`.
    """
    connect = min(max(0, summary.total - summary.started), summary.errored) - unsent
    timeout = summary.timeout or 0
    classes = {
        "connect": connect,
        "timeout": timeout,
        # Fractions of connections were rounded.
        "error": max(0, summary.errored - timeout - connect - unsent),
        "status": summary.failed - summary.errored,
    }
    return {name: count for name, count in classes.items() if count}


def _span_s(replies: tuple[Reply, ...], summary: Summary, requests: int) -> float | None:
    """Return the seconds between the starts of the first and the last connection, by the log.

    The log shows when a request was sent: after its connection was established, and after the
    previous request was answered. The client did not cause these two waits, so the result
    does not contain them: the mean plus two standard deviations of each is subtracted. The last
    1 % of the starts is left out, because lost SYNs delay them.
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
        raise ParseError("h2load", "the load generator exited early, without a report")
    return str(found[-1])


def _times(label: str, text: str) -> Times | None:
    rows = re.findall(rf"^ *{label}:(.+)$", text, re.MULTILINE)
    if not rows:
        return None
    cells = re.findall(r"(?<![\d.])([\d.]+)(us|ms|s|m|h)(?= |$)", rows[-1])
    if len(cells) != 4:
        raise ParseError("h2load", f"{label!r} lacks four durations: {rows[-1].strip()!r}")
    return Times(*(float(number) * _UNITS_US[unit] for number, unit in cells))
