"""Start the load generators on all clients at the same time.

A start message would reach each client at a different time. Therefore dirtune first measures how
far ahead each client's clock is, as NTP does, from the fastest of several round trips. Then
dirtune sends each client a start time by the client's own clock. A POSIX shell on the client waits
until this time, starts the generators, and reports the time of the start.
"""

import asyncio
import enum
import io
import re
import shlex
from collections.abc import Callable, Sequence

import msgspec

from dirtune import remote
from dirtune.bench.outcome import ClientResult
from dirtune.errors import NodeUnreachable, ParseError, TrialError
from dirtune.packages import shell_lacks
from dirtune.plan import generators
from dirtune.plan.generators import Part, Report, Schedule
from dirtune.plan.tables import Plan
from dirtune.remote import LOG_BYTES, Node, Process, together

# Seconds that a generator may need after its time-out to print its summary.
_LATE_S = 20
_READY_S = 20
_ROUNDS = 5
# A message needs half of a round trip to arrive; a busy client reads the message later.
_LEAD_S = 0.2
_LEAD_ROUNDS = 3
_ASTRAY_S = 5
"""Seconds by which a client's reported start may differ from its scheduled start."""

_PRINTED, _LOGGED = "--- printed by process", "--- log of process"

_SCRIPT = """\
command -v {program} >/dev/null || {{ {lacks}; exit 4; }}
case $(date +%N) in ''|*[!0-9]*) echo "date(1) cannot print nanoseconds. Install GNU coreutils"
  exit 4;; esac
dir=$(mktemp -d) || exit 3
trap 'rm -rf "$dir"' EXIT
trap 'exit 143' TERM INT HUP
echo ready
while read -r word at; do case $word in time) date +%s%N;; *) break;; esac; done
[ "$word" = go ] || exit 5
{guard}wait=$((at - $(date +%s%N)))
[ $wait -le 0 ] || sleep $((wait / 1000000000)).$(printf %09d $((wait % 1000000000)))
date +%s%N
pids=
{processes}wait $pids
for n in {numbers}; do
  echo "{printed} $n"; cat "$dir/$n.txt"; echo; echo "{logged} $n"; cat "$dir/$n.log"
done
"""
_PROCESS = '( {pause}exec {argv} ) >"$dir/{n}.txt" 2>&1 9>"$dir/{n}.log" & pids="$pids $!"\n'

# Not every load generator can send a single request, so any tool that can is used.
_REQUEST = """\
has() {{ command -v $1 >/dev/null; }}
if has h2load; then h2load --h1 -n1 -c1 -T {timeout}s -N {timeout}s {url}
elif has httperf; then {httperf}
elif has curl; then curl -gsS -o /dev/null -m {timeout} -w 'Reply status: %{{http_code}}' {url}
else echo "{no_tool}"; fi 2>&1
true
"""
_NO_TOOL = "no tool to ask with"
# Signs of a good reply in the output of h2load, curl and httperf. The gaps are short, so that
# searching a client's output takes time linear in its length.
_GOOD = re.compile(r"requests: .{0,99} 1 succeeded|Reply status: (2\d\d$|.{0,20} 2xx=1 )")


class Reply(enum.Enum):
    """The outcome of the one request that the script of `request` sends."""

    GOOD = enum.auto()
    BAD = enum.auto()
    """No reply arrived in time, or a reply that reports an error."""
    NO_TOOL = enum.auto()
    """The client has no tool to send a request."""


class LiveLoad:
    """The load generators of all clients while they run."""

    def __init__(self, plan: Plan, now: Callable[[], float]) -> None:
        self._plan = plan
        self._now = now
        self._generator = generators.find(plan.load.generator)
        self._processes: dict[str, Process] = {}
        self._offsets: dict[str, tuple[float, float]] = {}
        self._started: dict[str, float] = {}

    @property
    def began_s(self) -> float:
        """The time at which the last client started its load, by the controller's clock."""
        return max(self._started.values())

    async def begin(self, nodes: Sequence[Node], ticks: Sequence[Schedule]) -> None:
        """Send every client its script, measure the clocks, and start all clients together."""
        # Wait for all clients, so that `end` knows every client that has started.
        await together(self._prepare(*each) for each in zip(nodes, ticks, strict=True))
        await together(self._compare_clock(host) for host in self._processes)
        slowest = max(trip for _, trip in self._offsets.values())
        moment = self._now() + _LEAD_S + _LEAD_ROUNDS * slowest
        await together(self._go(host, moment) for host in self._processes)

    async def finish(self) -> tuple[tuple[ClientResult, ...], dict[str, str]]:
        """Wait for the generators; return each client's result, and the raw output by file name.

        If a generator died, the result of its client contains an error.
        """
        hosts = tuple(self._processes)
        found = await together(self._result(host) for host in hosts)
        raw = {f"{host}.txt": text for host, (_, text) in zip(hosts, found, strict=True)}
        return tuple(result for result, _ in found), raw

    async def end(self) -> None:
        """End all generators that are still running."""
        await together(process.end() for process in self._processes.values())

    async def _prepare(self, node: Node, ticks: Schedule) -> None:
        process = await node.start(script(self._plan, ticks), guarded=False)
        self._processes[node.name] = process
        said = await process.line(timeout_s=_READY_S)
        if said != "ready":
            raise TrialError(f"{node.name}: {said}")

    async def _compare_clock(self, host: str) -> None:
        self._offsets[host] = await offset(self._processes[host], self._now)

    async def _go(self, host: str, moment_s: float) -> None:
        process, (ahead_s, _) = self._processes[host], self._offsets[host]
        await process.send(f"go {int((moment_s + ahead_s) * 1e9)}\n")
        said = await process.line(timeout_s=_READY_S + moment_s - self._now())
        started_s, now_s = _clock_s(said) - ahead_s, self._now()
        if not moment_s - _ASTRAY_S < started_s < now_s + _ASTRAY_S:
            raise TrialError(f"{host}: the clock was changed while the load started")
        self._started[host] = started_s

    async def _result(self, host: str) -> tuple[ClientResult, str]:
        load, started, text = self._plan.load, self._started[host], ""
        try:
            within_s = load.load_s + load.timeout_s + _LATE_S
            finish = self._processes[host].finish(timeout_s=within_s, most_bytes=LOG_BYTES)
            text = (await finish).stdout
            reports = await asyncio.to_thread(self._reports, text)
            first = _first_s(reports)
            if first is not None:
                started = first - self._offsets[host][0]
            return ClientResult(host, started, reports), text
        except (NodeUnreachable, ParseError) as error:
            return ClientResult(host, started, error=str(error)), text

    def _reports(self, text: str) -> tuple[Report, ...]:
        sections = re.split(rf"^{_PRINTED} \d+\n", text, flags=re.MULTILINE)[1:]
        if not sections:
            raise ParseError(
                self._plan.load.generator, "the load generator ended early and printed nothing"
            )
        return tuple(self._report(section) for section in sections)

    def _report(self, section: str) -> Report:
        found = re.search(rf"^{_LOGGED} \d+\n", section, re.MULTILINE)
        if found is None:
            raise ParseError(
                self._plan.load.generator, "the output of the load generator was cut off"
            )
        log = io.StringIO(section[found.end() :])
        return self._generator.parse(section[: found.start()], log, self._plan.load)


async def offset(process: Process, now: Callable[[], float]) -> tuple[float, float]:
    """Return how far a client's clock is ahead of this machine's, and the round-trip time.

    Both are in seconds. *now* is a function that reads this machine's clock. The first value is
    off by at most half of the round-trip time.
    """
    trips = []
    for _ in range(_ROUNDS):
        sent = now()
        await process.send("time\n")
        answer = await process.line(timeout_s=_READY_S)
        trip = now() - sent
        trips.append((trip, _clock_s(answer) - sent - trip / 2))
    trip, ahead = min(trips)
    return ahead, trip


def _clock_s(text: str) -> float:
    """Return the time in seconds since the epoch from the output of `date +%s%N`."""
    if not re.fullmatch(r"\d{10,20}", text, re.ASCII):
        raise TrialError(
            f"A client must print its time in nanoseconds, but printed {text[:60]!r}."
        )
    return int(text) / 1e9


def program(plan: Plan) -> str:
    """Return the name of the program that the clients run as load generator."""
    generator = generators.find(plan.load.generator)
    return generator.command(plan.load, plan.url, Part(Schedule(1, 1000, 1)))[0]


def request(plan: Plan, timeout_s: int) -> str:
    """Return the shell script with which a client sends one request.

    The request fails after *timeout_s* seconds.
    """
    once = Part(Schedule(1, 1000, 1))
    load = msgspec.structs.replace(plan.load, keepalive=1)
    argv = generators.find("httperf").command(load, plan.url, once)
    return _REQUEST.format(
        timeout=timeout_s,
        url=shlex.quote(plan.url),
        httperf=shlex.join(argv),
        no_tool=_NO_TOOL,
    )


def reply(text: str) -> Reply:
    """Return what became of the request, from the output *text* of the script of `request`.

    A server may have chosen a part of *text*, but not the whole. Therefore it cannot feign that
    the client has no tool.
    """
    if text.strip() == _NO_TOOL:
        return Reply.NO_TOOL
    return Reply.GOOD if _GOOD.search(text) else Reply.BAD


def script(plan: Plan, ticks: Schedule) -> str:
    """Return the shell script that starts the load generators on one client."""
    generator = generators.find(plan.load.generator)
    parts = generator.parts(plan.load, ticks)
    commands = [generator.command(plan.load, plan.url, part) for part in parts]
    processes = (
        _process(n, *process) for n, process in enumerate(zip(commands, parts, strict=True), 1)
    )
    return _SCRIPT.format(
        program=shlex.quote(program(plan)),
        lacks=shell_lacks(program(plan)),
        guard=remote.GUARD,
        processes="".join(processes),
        numbers=" ".join(str(n) for n in range(1, len(parts) + 1)),
        printed=_PRINTED,
        logged=_LOGGED,
    )


def _process(number: int, argv: tuple[str, ...], part: Part) -> str:
    pause = f"sleep {part.delay_s:.3f}; " if part.delay_s else ""
    return _PROCESS.format(pause=pause, argv=shlex.join(argv), n=number)


def _first_s(reports: Sequence[Report]) -> float | None:
    """Return the time of a client's first request, by its own clock; None if no log shows it."""
    rows = reports[0].replies if reports else ()
    return min(row.start_us for row in rows) / 1e6 if rows else None
