"""A director that exists as arithmetic, behind the interface of real nodes."""

import random

import msgspec

from dirtune.analyse.cpu import Sample
from dirtune.analyse.profile import Profile
from dirtune.bench.outcome import ClientResult
from dirtune.collect.processes import Process
from dirtune.collect.stat import CpuTimes, Stat
from dirtune.plan.generators import Reply, Report
from tests.plans import plan_of

STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def planned(settle_s=3, **changes):
    """Return the plan of two clients and one real server that these tests run, with *changes*."""
    usual = {
        "clients": ["c1", "c2"],
        "servers": ["rs1"],
        "rates": [150],
        "warmup": 2,
        "window": 10,
    }
    return plan_of(f"[settle]\nseconds = {settle_s}\nmax = 20\n", **{**usual, **changes})


PLAN = planned()


class Director:
    """Simulated nodes: every connection costs CPU, and time passes only when someone waits."""

    def __init__(self, plan=PLAN, *, cost_us=2000.0, noise=0.0, seed=1, busy_until_s=0.0):
        self.plan = plan
        self.cost_us = cost_us
        self.noise = noise
        self.chance = random.Random(seed)
        self.clock_s = 1000.0
        self.when = []
        self.busy_until_s = 1000.0 + busy_until_s
        self.connections = 0.0
        self.busy_ticks = 0.0
        self.rate = 0.0
        self.cost_now_us = cost_us
        self.log = Log(self)
        self.steal_percent = 0.0
        self.stolen_s = 0.0
        self.pace = 1.0  # seconds of the director's clock in a second of the controller's
        self.guest = False
        self.leak = 0.0
        self.spread_s = 0.001
        self.late_s = 0.0
        self.unsent = 0
        self.dies = None
        self.lost = None
        self.lacks = {}  # what the clients could not begin, by what they lacked
        self.failed = {}  # of each client, by class
        self.lost_before = 0  # of `failed`, those that never reached the director
        self.served = {}  # each destination's part of an even share
        self.net = {}  # node -> counters per second
        self.busy = {}  # node -> per cent
        self.running = ()  # on the director: name, whether it is the kernel's, per cent of a CPU
        self.stall_at_s = None
        self.shares_stale = 0  # how often only a part of them is copied yet
        self.inactive = None
        self.says = {}  # of each report, what is otherwise
        self.client_says = {}  # host -> of this client's report, what is otherwise
        self.delays_s = {}  # host -> seconds by which this client starts later than the load

    # What a Rig gives.

    def now(self):
        return self.clock_s

    def utc(self):
        return "2026-01-01T00:00:00+00:00"

    async def sleep_until(self, moment_s):
        self.pass_time(max(0.0, moment_s - self.clock_s))

    async def ready(self):
        if self.lost is not None:
            raise self.lost

    async def preflight(self):
        self.log.append("preflight")

    async def sample(self):
        self.log.append("sample")
        return self.counters()

    async def sample_all(self):
        self.log.append("sample all")
        return {name: self.counters() for name in self.roles()}

    async def sample_peers(self):
        self.log.append("sample peers")
        return {name: self.peer(name) for name in list(self.roles())[1:]}

    async def shares(self):
        even = self.connections * (1 - self.leak) / max(1, len(self.served))
        if self.shares_stale:
            self.shares_stale -= 1
            even *= 0.6
        return {name: round(even * part) for name, part in self.served.items()}

    async def programs(self):
        return tuple(
            Process(pid, name, kernel, round(self.clock_s * percent), 0, "other", 0)
            for pid, (name, kernel, percent) in enumerate(self.running, 1)
        )

    def roles(self):
        return {"local": "director", "rs1": "real server", "c1": "client", "c2": "client"}

    def host_times(self):
        return {"user": self.clock_s - self.stolen_s, "idle": 0.0, "steal": self.stolen_s}

    def guest_stolen_s(self):
        return self.stolen_s if self.guest else None

    async def load(self, ticks):
        self.log.append("load")
        return Load(self, ticks)

    async def probe(self, seconds, probes):
        self.log.append(f"probe {seconds:g} {','.join(probes)}")
        return Probe(self)

    # The arithmetic.

    def pass_time(self, seconds):
        self.clock_s += seconds
        self.connections += self.rate * seconds
        self.busy_ticks += self.rate * seconds * self.cost_now_us / 1e4
        self.stolen_s += seconds * self.steal_percent / 100
        if self.clock_s <= self.busy_until_s:
            self.busy_ticks += 100 * seconds

    def peer(self, name):
        """Return a node's counters: those of `net` run from the beginning of time."""
        total = round(self.clock_s * 100)
        busy = round(total * self.busy.get(name, 10) / 100)
        cpu = CpuTimes(0, 0, 0, busy, total - busy, 0, 0, 0, 0)
        times = CpuTimes(None, *(getattr(cpu, f) for f in STATES))
        return Sample(self.clock_s, Stat(times, (cpu,), None), net=self.counted(name))

    def counted(self, name):
        return {n: round(each * self.clock_s) for n, each in self.net.get(name, {}).items()}

    def counters(self):
        total = self.clock_s * 100
        busy = round(self.busy_ticks)
        times = CpuTimes(None, 0, 0, busy, round(total) - busy, 0, 0, 0, 0)
        seen = round(self.connections * (1 - self.leak))
        return Sample(
            self.clock_s * self.pace,
            Stat(times, (), None),
            lines={"10": 6 * seen},
            ip_vs={"connections": seen, "packets_in": 5 * seen, "packets_out": 0},
            inactive=self.inactive,
            net=self.counted("local"),
        )


class Log(list):
    """What was asked of the director, and when."""

    def __init__(self, director):
        super().__init__()
        self.director = director

    def append(self, what):
        self.director.when.append((self.director.clock_s, what))
        super().append(what)


class Load:
    """150 connections per second, say, of which every one is answered after 4 ms."""

    def __init__(self, director, ticks):
        self.director, self.ticks = director, ticks
        self.ended = False
        director.rate = sum(each.rate for each in ticks)
        director.cost_now_us = director.cost_us * (1 + director.chance.gauss(0, director.noise))
        self.began_s = director.clock_s

    async def finish(self):
        d = self.director
        await d.sleep_until(self.began_s + max(t.connections / t.rate for t in self.ticks))
        d.rate = 0.0
        d.connections -= (d.lost_before + d.unsent + sum(d.lacks.values())) * len(self.ticks)
        results = tuple(self.result(n, c.host) for n, c in enumerate(d.plan.clients))
        return results, {f"{r.host}.txt": "raw" for r in results}

    def result(self, n, host):
        d, ticks = self.director, self.ticks[n]
        started = self.began_s - n * d.spread_s + d.delays_s.get(host, 0.0)
        if host == d.dies:
            return ClientResult(host, started, error="no summary; it ended before its time")
        count = ticks.connections - d.unsent - sum(d.lacks.values())
        good = count - sum(d.failed.values())
        step_us = 1e6 / ticks.rate * (1 + d.late_s / (count / ticks.rate))
        span_s = (count - ticks.batch) * step_us / 1e6
        rows = tuple(Reply(int(1e15 + k * step_us), 200, 4000) for k in range(good))
        report = Report(
            attempted=count,
            replied=good,
            failed=d.failed,
            unsent=d.lacks,
            span_s=span_s,
            connect_ms=1.5,
            replies=tuple(row for row in rows if not self.stalled(row)),
        )
        report = msgspec.structs.replace(report, **d.says, **d.client_says.get(host, {}))
        return ClientResult(host, started, (report,))

    def stalled(self, row):
        """Tell whether *row* falls in the second in which no reply came."""
        at = self.director.stall_at_s
        return at is not None and at <= (row.start_us - 1e15) / 1e6 < at + 1

    async def end(self):
        self.director.log.append("end load")


class Probe:
    """A probe that saw nothing."""

    def __init__(self, director):
        self.director = director

    async def begin(self):
        self.director.log.append("begin probe")

    async def finish(self):
        return Profile(seconds=10.0, nodes=())

    async def end(self):
        self.director.log.append("end probe")
