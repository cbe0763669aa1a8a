"""The nodes of a plan, reached over SSH: what a trial drives on real machines."""

import asyncio
import shlex
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil

from dirtune import remote
from dirtune.analyse.cpu import Sample
from dirtune.analyse.profile import Profile
from dirtune.bench import h2load, sampler
from dirtune.bench.h2load import Schedule
from dirtune.bench.outcome import ClientResult
from dirtune.bench.plan import Plan
from dirtune.bench.sampler import Sampler
from dirtune.errors import NodeUnreachable, NotPossible, ParseError, TrialError
from dirtune.remote import Node, Process

# A generator that was told to stop after its time-out is given this long to say so.
_LATE_S = 20
_READY_S = 20
# bcc compiles for half a minute in an emulated director.
_PROBE_LOAD_S = 180
_LOG = "--- log"
_LOADED, _MEASURING = "loaded", "measuring"

_CLIENT = """\
command -v h2load >/dev/null || {{ echo "h2load is missing: apt install nghttp2-client"; exit 4; }}
log=$(mktemp) || exit 3
trap 'rm -f "$log"' EXIT
trap 'exit 143' TERM INT HUP
echo ready; read -r go || exit 5; echo started
{guard}{argv} --log-file="$log" 2>&1
echo "{mark}"; cat "$log"
"""


T = TypeVar("T")


async def _together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Wait for all *works*, then raise the first failure, so that none fails unheard."""
    done = await asyncio.gather(*works, return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException):
            raise result
    return [result for result in done if not isinstance(result, BaseException)]


class LiveRig:
    """Real nodes. Opened by `opened`, which also ends everything it started."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._nodes: dict[str, Node] = {}
        self._samplers: dict[str, Sampler] = {}

    def now(self) -> float:
        """Return this machine's monotonic clock."""
        return time.monotonic()

    def utc(self) -> str:
        """Return the time of day."""
        return datetime.now(UTC).isoformat(timespec="seconds")

    async def sleep_until(self, moment_s: float) -> None:
        """Sleep, if the moment has not passed."""
        await asyncio.sleep(max(0.0, moment_s - self.now()))

    async def ready(self) -> None:
        """Connect to the nodes that are not, and start the director's sampler."""
        gone = [host for host in self._plan.hosts if not self._alive(host)]
        for host in gone:
            await self._forget(host)
        config = None if self._plan.ssh_config is None else Path(self._plan.ssh_config)
        nodes, lost = await remote.connect_all(gone, ssh_config=config, become=self._become())
        self._nodes |= nodes
        for error in lost.values():
            raise error
        await self._sampler(self._plan.director.host)

    async def preflight(self) -> None:
        """Send one request from each client through the virtual service."""
        timeout = f"{round(self._plan.load.timeout_s * 1000) + 1000}ms"
        argv = ("h2load", "--h1", "-n1", "-c1", "-T", timeout, "-N", timeout, self._plan.url)
        hosts = [client.host for client in self._plan.clients]
        # Its exit status says nothing about the request.
        texts = await _together(
            self._nodes[host].run(argv, timeout_s=_LATE_S, ok=(0, 1)) for host in hosts
        )
        for host, text in zip(hosts, texts, strict=True):
            if h2load.parse_summary(text).succeeded != 1:
                raise TrialError(f"{host}: no good reply from {self._plan.url}")

    async def sample(self) -> Sample:
        """Return the director's counters."""
        return await (await self._sampler(self._plan.director.host)).sample()

    async def sample_all(self) -> dict[str, Sample]:
        """Return every node's counters at about the same moment."""
        hosts = self._hosts()
        # A host that plays two roles has one sampler, which answers one question at a time.
        watches = {host: await self._sampler(host) for host in hosts.values()}
        samples = await _together(watch.sample() for watch in watches.values())
        by_host = dict(zip(watches, samples, strict=True))
        return {name: by_host[host] for name, host in hosts.items()}

    def roles(self) -> dict[str, str]:
        """Return each node's role, the director first."""
        plan = self._plan
        return {
            plan.director.host: "director",
            **{server.label: "real server" for server in plan.real_servers},
            **{client.label: "client" for client in plan.clients},
        }

    def host_times(self) -> Mapping[str, float]:
        """Return the CPU times of the machine that runs dirtune."""
        times: dict[str, float] = psutil.cpu_times()._asdict()
        return times

    def guest_stolen_s(self) -> float | None:
        """Return the steal of the plan's `host_cpus` since boot, None if it names none."""
        cpus = self._plan.director.host_cpus
        if not cpus:
            return None
        times = psutil.cpu_times(percpu=True)
        return sum(float(times[cpu].steal) for cpu in cpus)

    async def load(self, ticks: Sequence[Schedule]) -> "LiveLoad":
        """Start every client at one moment: all are ready before the first is told to go."""
        nodes = [self._nodes[client.host] for client in self._plan.clients]
        scripts = [self._script(each) for each in ticks]
        load = LiveLoad(self.now, self._plan.load.load_s + self._plan.load.timeout_s)
        try:
            await load.begin(nodes, scripts)
        except BaseException:
            await load.end()
            raise
        return load

    def _script(self, ticks: Schedule) -> str:
        argv = h2load.command(self._plan.url, ticks, timeout_s=self._plan.load.timeout_s)
        return _CLIENT.format(guard=remote.GUARD, argv=shlex.join(argv), mark=_LOG)

    async def probe(self, seconds: float, probes: Sequence[str]) -> "LiveProbe":
        """Start the director's own `dirtune profile` and wait until its probes are loaded."""
        director = self._plan.director
        argv = [
            *(*director.dirtune.split(), "profile", f"--duration={seconds:g}", "--told"),
            *(f"--probes={','.join(probes)}", f"--max-overhead={director.max_overhead:g}"),
            *("--format", "json"),
        ]
        # Not guarded: it is told on its standard input when to begin, and ends by itself.
        script = f"exec {shlex.join(argv)} 2>&1"
        process = await self._nodes[director.host].start(script, guarded=False)
        probe = LiveProbe(process, seconds)
        try:
            await probe.loaded()
        except BaseException:
            await probe.end()
            raise
        return probe

    async def close(self) -> None:
        """End the samplers and close the connections."""
        for host in tuple(self._nodes):
            await self._forget(host)

    def _hosts(self) -> dict[str, str]:
        peers = (*self._plan.real_servers, *self._plan.clients)
        return {self._plan.director.host: self._plan.director.host} | {
            peer.label: peer.host for peer in peers
        }

    def _become(self) -> frozenset[str]:
        plan = self._plan
        peers = {peer.host for peer in (*plan.real_servers, *plan.clients) if peer.become}
        return frozenset(peers | ({plan.director.host} if plan.director.become else set()))

    def _alive(self, host: str) -> bool:
        return host in self._nodes and self._nodes[host].alive

    async def _sampler(self, host: str) -> Sampler:
        if host not in self._samplers:
            director = host == self._plan.director.host
            files = sampler.DIRECTOR_FILES if director else sampler.NODE_FILES
            self._samplers[host] = await sampler.start(self._nodes[host], files)
        return self._samplers[host]

    async def _forget(self, host: str) -> None:
        if (watch := self._samplers.pop(host, None)) is not None:
            await watch.end()
        if (node := self._nodes.pop(host, None)) is not None:
            await node.close()


class LiveLoad:
    """h2load on every client."""

    def __init__(self, now: Callable[[], float], lasts_s: float) -> None:
        self._now = now
        self._processes: dict[str, Process] = {}
        self._lasts_s = lasts_s
        self._started: dict[str, float] = {}

    @property
    def began_s(self) -> float:
        """When the last client began."""
        return max(self._started.values())

    async def begin(self, nodes: Sequence[Node], scripts: Sequence[str]) -> None:
        """Bring each client its script, and tell all to go once all are ready."""
        # All are waited for, so that `end` knows every one that did start.
        await _together(self._prepare(*each) for each in zip(nodes, scripts, strict=True))
        await _together(self._go(host) for host in self._processes)

    async def finish(self) -> tuple[tuple[ClientResult, ...], dict[str, str]]:
        """Wait for the generators; one that died is a result with an error."""
        hosts = tuple(self._processes)
        found = await _together(self._result(host) for host in hosts)
        raw = {f"{host}.txt": text for host, (_, text) in zip(hosts, found, strict=True)}
        return tuple(result for result, _ in found), raw

    async def end(self) -> None:
        """End the process groups that are left."""
        await _together(process.end() for process in self._processes.values())

    async def _prepare(self, node: Node, script: str) -> None:
        process = await node.start(script, guarded=False)
        self._processes[node.name] = process
        said = await process.line(timeout_s=_READY_S)
        if said != "ready":
            raise TrialError(f"{node.name}: {said}")

    async def _go(self, host: str) -> None:
        process = self._processes[host]
        await process.send("go\n")
        await process.line(timeout_s=_READY_S)
        self._started[host] = self._now()

    async def _result(self, host: str) -> tuple[ClientResult, str]:
        began, text = self._started[host], ""
        try:
            done = await self._processes[host].finish(timeout_s=self._lasts_s + _LATE_S)
            text = done.stdout
            said, _, log = text.partition(f"{_LOG}\n")
            replies = tuple(h2load.parse_log(log.splitlines()))
            return ClientResult(host, began, h2load.parse_summary(said), replies), text
        except (NodeUnreachable, ParseError) as error:
            return ClientResult(host, began, error=str(error)), text


class LiveProbe:
    """The probes of the director's own dirtune."""

    def __init__(self, process: Process, seconds: float) -> None:
        self._process = process
        self._seconds = seconds

    async def loaded(self) -> None:
        """Wait until the probes are loaded; `NotPossible` carries its complaint."""
        await self._heard(_LOADED)

    async def begin(self) -> None:
        """Tell it to open its window, and wait until it has."""
        await self._process.send("\n")
        await self._heard(_MEASURING)

    async def finish(self) -> Profile:
        """Return what it says of the window; `NotPossible` if it printed none."""
        done = await self._process.finish(timeout_s=self._seconds + _PROBE_LOAD_S)
        text = done.stdout[max(done.stdout.find("{"), 0) :]
        try:
            return msgspec.json.decode(text, type=Profile)
        except msgspec.DecodeError as error:
            raise NotPossible("the director's dirtune printed no profile; is it ours?") from error

    async def _heard(self, word: str) -> None:
        line = ""
        while line.strip() != word:
            line = await self._process.line(timeout_s=_PROBE_LOAD_S)
            if line.startswith("dirtune: "):
                raise NotPossible(f"the director's {line}")

    async def end(self) -> None:
        """End it if it still runs."""
        await self._process.end()


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[LiveRig]:
    """Open a rig and close it again, whatever happens."""
    rig = LiveRig(plan)
    try:
        yield rig
    finally:
        await rig.close()
