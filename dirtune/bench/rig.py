"""Connect a trial to the real nodes of a plan over SSH."""

import asyncio
import math
import shlex
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
import psutil

from dirtune import remote
from dirtune.analyse.cpu import Sample
from dirtune.analyse.run import Role
from dirtune.bench import client, director_table, foreign_use, sampler
from dirtune.bench.client import LiveLoad
from dirtune.bench.connecting import connect
from dirtune.bench.live_probe import LiveProbe
from dirtune.bench.sampler import Sampler
from dirtune.collect import processes
from dirtune.errors import (
    NotPossible,
    PlanError,
    TrialError,
)
from dirtune.fetch import parse_sample, sample_script
from dirtune.plan.configuration import Peer
from dirtune.plan.generators import Schedule
from dirtune.plan.tables import Plan
from dirtune.remote import Node, together
from dirtune.remote.far_dirtune import FarDirtune

_PREFLIGHT_S = 20
# The first request of a client also waits for ARP.
_REQUEST_MORE_S = 1


class LiveRig:
    """The real nodes of a plan, connected over SSH. Use `opened` to open and close a rig."""

    def __init__(self, plan: Plan, *, alone: bool = False, clients: tuple[Peer, ...] = ()) -> None:
        self._plan = plan
        self._clients = clients or plan.clients
        self._nodes: dict[str, Node] = {}
        self._samplers: dict[str, Sampler] = {}
        self.alone = alone
        """Whether the rig takes for granted that nobody else uses the service."""

    def of_plan(self, plan: Plan) -> "LiveRig":
        """Return a rig for another *plan* of the same nodes, which shares the connections."""
        other = LiveRig(plan, alone=self.alone, clients=self._clients)
        other._nodes, other._samplers = self._nodes, self._samplers
        return other

    def now(self) -> float:
        """Return the monotonic clock of this machine, in seconds."""
        return time.monotonic()

    def utc(self) -> str:
        """Return the time of day in UTC as an ISO 8601 text."""
        return datetime.now(UTC).isoformat(timespec="seconds")

    async def sleep_until(self, moment_s: float) -> None:
        """Sleep until this machine's monotonic clock shows *moment_s* seconds."""
        await asyncio.sleep(max(0.0, moment_s - self.now()))

    async def ready(self) -> None:
        """Connect to all nodes that are not connected yet, and start a sampler on each of them."""
        gone = [host for host in self._plan.hosts if not self._alive(host)]
        for host in gone:
            await self._forget(host)
        nodes, lost = await connect(self._plan, gone)
        self._nodes |= nodes
        for error in lost.values():
            raise error
        await together(self._sampler(host) for host in self._plan.hosts)
        if not self.alone:
            await self._refuse_foreign()

    async def preflight(self) -> None:
        """Send one request from each client through the virtual service."""
        script = client.request(self._plan, request_timeout_s(self._plan))
        hosts = [each.host for each in self._plan.clients]
        texts = await together(
            self._nodes[host].run(script, timeout_s=_PREFLIGHT_S) for host in hosts
        )
        for host, text in zip(hosts, texts, strict=True):
            if client.reply(text) is client.Reply.BAD:
                raise TrialError(f"{host} got no valid reply from {self._plan.url}")

    async def _refuse_foreign(self) -> None:
        """Raise `PlanError` if others use the service, unless the plan sets `load.force`."""
        found = None if self._plan.load.force else await self._foreign()
        if found is not None:
            vip = self._plan.service.vip
            raise PlanError(
                f"{vip} carries connections that dirtune did not open ({found}). Use another VIP, "
                f"or allow this one: --force {shlex.quote(str(vip))}"
            )
        self.alone = True

    async def _foreign(self) -> str | None:
        """Describe who else uses the service; None if nobody else does.

        Clients of the run that send no load at the moment do not count as others.
        """
        plan = msgspec.structs.replace(self._plan, clients=self._clients)
        idle, _ = await connect(self._plan, [h for h in plan.hosts if h not in self._nodes])
        try:
            return await foreign_use.foreign(self._nodes | idle, plan)
        finally:
            await together(node.close() for node in idle.values())

    async def sample(self) -> Sample:
        """Return the current counters of the director."""
        return await (await self._sampler(self._plan.director.host)).sample()

    async def sample_all(self) -> dict[str, Sample]:
        """Return the current counters of every node, taken at about the same time, by node."""
        return await self._samples(self._hosts())

    async def sample_peers(self) -> dict[str, Sample]:
        """Return the current counters of real servers and clients, by node."""
        director = self._plan.director.host
        return await self._samples({n: h for n, h in self._hosts().items() if n != director})

    async def _samples(self, hosts: Mapping[str, str]) -> dict[str, Sample]:
        # A host with two roles has one sampler, which takes one sample at a time.
        watches = {host: await self._sampler(host) for host in hosts.values()}
        samples = await together(watch.sample() for watch in watches.values())
        by_host = dict(zip(watches, samples, strict=True))
        return {name: by_host[host] for name, host in hosts.items()}

    async def shares(self) -> dict[str, int]:
        """Return the number of connections to each real server so far."""
        director = self._plan.director
        script = director_table.STATS_SCRIPT.format(dirtune=shlex.join(director.dirtune.split()))
        try:
            text = await self._nodes[director.host].run(script, most_bytes=remote.DOCUMENT_BYTES)
        except NotPossible:
            return {}
        return director_table.shares(text, self._plan)

    async def programs(self) -> tuple[processes.Process, ...]:
        """Return the director's processes; empty if its host is also a client or a real server."""
        host = self._plan.director.host
        if host in {each.host for each in (*self._plan.real_servers, *self._plan.clients)}:
            return ()
        text = await self._nodes[host].run(
            sample_script(processes.SOURCES), most_bytes=sampler.SAMPLE_BYTES
        )
        return processes.read_processes(parse_sample(text))

    def roles(self) -> dict[str, Role]:
        """Return the role of each node, by the node's name, the director first."""
        plan = self._plan
        return {
            plan.director.host: Role.DIRECTOR,
            **{server.label: Role.REAL_SERVER for server in plan.real_servers},
            **{client.label: Role.CLIENT for client in plan.clients},
        }

    def host_times(self) -> Mapping[str, float]:
        """Return the CPU times of the machine that runs dirtune, in seconds, by state."""
        times: dict[str, float] = psutil.cpu_times()._asdict()
        return times

    def guest_stolen_s(self) -> float | None:
        """Return the CPU seconds stolen since boot from the director's CPUs on this machine.

        The plan names these CPUs in `director.host_cpus`; the result is None if the plan names no
        CPUs.
        """
        cpus = self._plan.director.host_cpus
        if not cpus:
            return None
        times = psutil.cpu_times(percpu=True)
        return sum(float(times[cpu].steal) for cpu in cpus)

    async def load(self, ticks: Sequence[Schedule]) -> LiveLoad:
        """Start the load on all clients at the same time, each by its own clock."""
        nodes = [self._nodes[each.host] for each in self._plan.clients]
        load = LiveLoad(self._plan, self.now)
        try:
            await load.begin(nodes, ticks)
        except BaseException:
            await load.end()
            raise
        return load

    async def probe(self, seconds: float, probes: Sequence[str]) -> LiveProbe:
        """Start `dirtune profile` on the director, and wait until its probes are loaded."""
        director = self._plan.director
        far = FarDirtune(self._nodes[director.host], director.dirtune)
        words = (
            *("profile", f"--duration={seconds:g}", "--told"),
            *(f"--probes={','.join(probes)}", f"--max-overhead={director.max_overhead:g}"),
        )
        await far.ready()
        # No guard is needed: the process waits for the start on its standard input, and ends by
        # itself.
        process = await far.node.start(f"{far.script(words)} 2>&1", guarded=False)
        probe = LiveProbe(far, process, seconds)
        try:
            await probe.loaded()
        except BaseException:
            await probe.end()
            raise
        return probe

    async def close(self) -> None:
        """End the samplers, and close all connections."""
        for host in tuple(self._nodes):
            await self._forget(host)

    def _hosts(self) -> dict[str, str]:
        peers = (*self._plan.real_servers, *self._plan.clients)
        return {self._plan.director.host: self._plan.director.host} | {
            peer.label: peer.host for peer in peers
        }

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


def request_timeout_s(plan: Plan) -> int:
    """Return the time limit for the request that each client sends before a trial, in seconds."""
    return math.ceil(plan.load.timeout_s) + _REQUEST_MORE_S


@asynccontextmanager
async def opened(
    plan: Plan, *, alone: bool = False, clients: tuple[Peer, ...] = ()
) -> AsyncIterator[LiveRig]:
    """Open a rig, and close it at the end of the context, even after an error.

    *alone* is True if the run has already checked that nobody else uses the service; otherwise the
    rig checks this. *clients* are all clients of the run, of which *plan* may use only a part.
    """
    rig = LiveRig(plan, alone=alone, clients=clients)
    try:
        yield rig
    finally:
        await rig.close()
