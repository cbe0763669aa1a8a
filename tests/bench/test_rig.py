"""Real h2load from this machine against a web server in this process, on the loopback."""

import asyncio
import http.server
import os
import re
import shutil
import signal
import threading
import time
import types

import msgspec
import pytest

from dirtune import plan as plans
from dirtune import remote
from dirtune.bench import director_table, foreign_use, live_probe, rig
from dirtune.errors import NodeUnreachable, NotPossible, PlanError, TrialError
from dirtune.plan.generators import schedule
from tests.plans import plan_of

pytestmark = pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")


def planned(port=80, **changes):
    here = {"service": {"vip": "127.0.0.1", "port": port}, "clients": ["local"], "timeout": 5}
    return plan_of(**{**here, **changes})


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen += 1
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        server.seen = 0
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def with_rig(port, use):
    async def body():
        async with rig.opened(planned(port)) as nodes:
            await nodes.ready()
            return await use(nodes)

    return asyncio.run(body())


def test_a_load_sends_what_was_planned(server):
    async def use(nodes):
        await nodes.preflight()
        load = await nodes.load((schedule(100, 0.5),))
        return load.began_s, await load.finish()

    began_s, (clients, raw) = with_rig(server.server_port, use)

    (client,) = clients
    (report,) = client.reports
    assert (client.error, report.replied, len(report.replies)) == (None, 50, 50)
    assert server.seen == 51  # and the preflight's
    # The shell says when it began; the first request comes once h2load has been started.
    assert 0 < client.started_s - began_s < 5
    # 50 connections, one each 10 ms, the first at once: 0.49 s. A busy machine may be late with
    # the first or the last; sent all at once they would take some milliseconds.
    starts = sorted(reply.start_us for reply in report.replies)
    assert 0.2e6 < starts[-1] - starts[0] < 10e6
    assert "requests: 50 total" in raw["local.txt"]


def test_no_reply_stops_before_the_load():
    async def use(nodes):
        await nodes.preflight()

    with pytest.raises(TrialError, match=r"local got no valid reply from http://127\.0\.0\.1:1/"):
        with_rig(1, use)


def test_a_generator_that_is_ended_leaves_an_error_and_no_process(server):
    async def use(nodes):
        load = await nodes.load((schedule(10, 60),))
        process = load._processes["local"]
        await load.end()
        clients, _ = await load.finish()
        with pytest.raises((NotPossible, NodeUnreachable)):
            await nodes._nodes["local"].run(f"kill -0 -- -{process.group}")
        return clients

    (client,) = with_rig(server.server_port, use)

    assert client.reports == ()
    assert re.search("without a report|printed nothing", client.error)


@pytest.mark.parametrize("turns", [1, 5, 50])
def test_a_cancelled_start_leaves_no_process(server, turns):
    async def use(nodes):
        task = asyncio.create_task(nodes.load((schedule(10, 61),)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            load = await task
        except asyncio.CancelledError:
            pass
        else:  # on a busy machine all may have begun before the cancellation came
            await load.end()
        await asyncio.sleep(0.1)
        return await nodes._nodes["local"].run("pgrep -fc '[h]2load.* -n 610 ' || true")

    assert int(with_rig(server.server_port, use)) == 0


def test_no_failure_of_works_done_together_is_unheard():
    heard = []

    async def fail(number):
        await asyncio.sleep(number / 100)
        heard.append(number)
        raise NodeUnreachable(f"c{number}: the connection was lost")

    with pytest.raises(NodeUnreachable, match="c1"):
        asyncio.run(remote.together(fail(number) for number in (1, 2, 3)))

    assert heard == [1, 2, 3], "the others were waited for"


class Table:
    """A director whose table is, second by second, what a list of (connections, entries) says.

    It is a client as well, without an address of its own.
    """

    name = "lb1"

    def __init__(self, *seconds, whose="0A000001"):
        self.seconds = list(seconds)
        self.whose = whose
        self.asked = 0
        self.read = 0

    async def run(self, argv, **_):
        if argv[-1] == "/proc/net/ip_vs":
            self.now = self.seconds[min(self.asked, len(self.seconds) - 1)]
            self.asked += 1
            return (
                "IP Virtual Server version 1.2.1 (size=4096)\n\n\nTCP  7F000001:0050 rr\n"
                f"  -> 7F000002:0050      Route   1      0          {self.now[1]}\n"
            )
        if argv[-1] == "/proc/net/ip_vs_conn":
            self.read += 1
            row = f"TCP {self.whose} A9DC 7F000001 0050 7F000002 0050 FIN_WAIT 55\n"
            return f"Pro FromIP FPrt ToIP TPrt DestIP DPrt State Expires\n{row * self.now[1]}"
        if argv[-1] == "/proc/net/ip_vs_stats_percpu":
            return (
                "Total Incoming\nCPU Conns Packets Packets Bytes Bytes\n"
                f"  0 {self.now[0]:X} 0 0 0 0\n"
            )
        assert "ip -o route get 127.0.0.1" in argv
        return "src 10.0.0.2\n"


class Clock:
    """The time of a rig, which passes only when it sleeps."""

    def __init__(self, monkeypatch):
        self.now_s = 0.0
        monkeypatch.setattr(
            foreign_use, "time", types.SimpleNamespace(monotonic=lambda: self.now_s)
        )
        monkeypatch.setattr(foreign_use, "asyncio", types.SimpleNamespace(sleep=self.sleep))

    async def sleep(self, seconds):
        self.now_s += seconds


@pytest.mark.parametrize(
    ("seconds", "whose", "found", "asked", "read"),
    [
        ([(7, 0)], "0A000001", None, 2, 0),
        ([(7, 20)], "0A000001", "20 from 10.0.0.1", 2, 1),
        ([(7, 20)], "0A000002", None, 2, 1),  # of an earlier run
        ([(7, 0), (9, 0)], "0A000001", "2 new connections in 1 s", 2, 0),
        ([(7, 99), (7, 98), (7, 50)], "0A000002", None, 3, 1),  # read when it is small
        ([(7, 99)], "0A000002", "the connection table has 99 entries, too many to check", 4, 0),
    ],
)
def test_who_else_uses_the_service(monkeypatch, seconds, whose, found, asked, read):
    monkeypatch.setattr(director_table, "WATCH_S", 1)
    monkeypatch.setattr(director_table, "LOOK_MAX", 50)
    clock = Clock(monkeypatch)
    director, plan = Table(*seconds, whose=whose), planned()

    assert asyncio.run(foreign_use.foreign({"local": director}, plan, patience_s=3)) == found
    assert (director.asked, director.read, clock.now_s) == (asked, read, asked - 1)


def test_a_service_that_others_use_is_refused_unless_it_is_named(monkeypatch):
    monkeypatch.setattr(director_table, "WATCH_S", 1)
    Clock(monkeypatch)
    plan = planned()
    nodes = rig.LiveRig(plan)
    nodes._nodes["local"] = Table((7, 0), (9, 0))

    with pytest.raises(PlanError, match=r"127\.0\.0\.1 carries connections.*--force 127\.0\.0\.1"):
        asyncio.run(nodes._refuse_foreign())

    named = rig.LiveRig(plans.forced(plan, "127.0.0.1"))
    named._nodes["local"] = Table((7, 0), (9, 0))
    asyncio.run(named._refuse_foreign())
    assert named._nodes["local"].asked == 0
    assert (nodes.alone, named.alone) == (False, True)


def test_clients_that_are_idle_in_a_cell_are_not_others(monkeypatch):
    both = planned(clients=["local", "c2"])
    half = msgspec.structs.replace(both, clients=both.clients[:1])
    closed, asked = [], []

    class Idle:
        async def close(self):
            closed.append(self)

    async def foreign(nodes, plan):
        asked.append((sorted(nodes), [c.host for c in plan.clients]))

    async def connected(plan, hosts):
        return {host: Idle() for host in hosts}, {}

    monkeypatch.setattr(foreign_use, "foreign", foreign)
    monkeypatch.setattr(rig, "connect", connected)
    nodes = rig.LiveRig(half, clients=both.clients)
    nodes._nodes = {host: Idle() for host in half.hosts}
    asyncio.run(nodes._refuse_foreign())

    assert asked == [(sorted(both.hosts), [c.host for c in both.clients])]
    assert (nodes.alone, len(closed), len(nodes._nodes)) == (True, 1, len(half.hosts))


def test_a_host_of_two_roles_is_asked_once():
    class Watch:
        asked = 0

        async def sample(self):
            Watch.asked += 1
            mine = Watch.asked
            await asyncio.sleep(0)
            return mine

    clients, servers = ["c1", {"host": "h", "name": "c2"}], [{"host": "h", "name": "rs1"}]
    nodes = rig.LiveRig(planned(clients=clients, servers=servers))
    nodes._samplers = {host: Watch() for host in ("local", "c1", "h")}

    found = asyncio.run(nodes.sample_peers())

    assert found.keys() == {"rs1", "c1", "c2"}
    assert found["rs1"] == found["c2"] != found["c1"]
    assert Watch.asked == 2


def test_a_node_that_stops_answering_is_lost_and_closing_does_not_hang(monkeypatch):
    """As a paused guest does: its shell is there and says nothing."""
    monkeypatch.setattr(rig.sampler, "SAMPLE_S", 1)
    monkeypatch.setattr(remote.node, "_GRACE_S", 0.2)

    async def use(nodes):
        group = nodes._samplers["local"]._process.group
        os.killpg(group, signal.SIGSTOP)
        with pytest.raises(NodeUnreachable, match=r"local: .*answer in time"):
            await nodes.sample()
        return group

    began = time.monotonic()
    group = with_rig(80, use)

    assert time.monotonic() - began < 20
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


class Said:
    """A process on the director that says these lines and ends."""

    def __init__(self, *lines):
        self.lines = list(lines)

    async def line(self, *, timeout_s):
        if not self.lines:
            raise NodeUnreachable("lb1: its command ended before it was told to")
        return self.lines.pop(0)


def test_a_notice_of_the_directors_dirtune_does_not_end_the_probe():
    said = Said("dirtune: 2026.journal is taken back in 99 s", "  compiling", "  loaded")

    asyncio.run(live_probe.LiveProbe(None, said, 5).loaded())

    assert said.lines == []


def test_a_complaint_before_the_end_is_the_reason():
    said = Said("dirtune: no such probe", "  and more")

    with pytest.raises(NotPossible, match=r"The director.s dirtune .*: no such probe"):
        asyncio.run(live_probe.LiveProbe(None, said, 5).loaded())
