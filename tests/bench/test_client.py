"""Clients on this machine: clocks, the agreed moment, ramps and descriptors that run out."""

import asyncio
import http.server
import shutil
import subprocess
import threading
import time

import pytest

from dirtune import remote
from dirtune.bench import client
from dirtune.bench.client import LiveLoad
from dirtune.errors import TrialError
from dirtune.plan.generators import Schedule, schedule
from tests.plans import plan_of

pytestmark = pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")


def planned(port=80, **load):
    return plan_of(service={"vip": "127.0.0.1", "port": port}, clients=["local"], **load)


class Slow(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        time.sleep(self.server.wait_s)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"ok")
        self.close_connection = True

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    wait_s = 0.0

    def handle_error(self, *args):
        """A client that went away is no news."""


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Slow) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def loaded(server, ticks, nodes=1, **load):
    """Run a load on *nodes* shells of this machine and return its results and the load."""
    plan = planned(server.server_port, **load)

    async def body():
        names = [remote.Node("local") for _ in range(nodes)]
        for number, node in enumerate(names):
            node.name = f"c{number}"
        load = LiveLoad(plan, time.monotonic)
        try:
            await load.begin(names, [ticks] * nodes)
            return load, (await load.finish())[0]
        finally:
            await load.end()

    return asyncio.run(body())


class Far:
    """A client whose clock is *ahead_s* ahead and a word to which takes *way_s* each way."""

    now_s = 50.0  # of all of them

    def __init__(self, name, ahead_s, way_s):
        self.name, self.ahead_s, self.way_s = name, ahead_s, way_s

    async def start(self, script, *, guarded):
        return self

    async def send(self, text):
        word, _, at = text.strip().partition(" ")
        if word == "go":  # all are told at once, so that no time passes here
            self.began_s = max(Far.now_s + self.way_s, int(at) / 1e9 - self.ahead_s)
        else:
            Far.now_s += self.way_s
            self.asked_s = Far.now_s
            Far.now_s += self.way_s

    async def line(self, *, timeout_s):
        if not hasattr(self, "asked_s"):
            return "ready"
        return str(int((getattr(self, "began_s", self.asked_s) + self.ahead_s) * 1e9))


def test_clients_of_different_clocks_begin_at_one_moment():
    """By arithmetic: each does what it is told by its own clock, and the way there takes time."""
    far = [Far("c1", 0, 0.001), Far("c2", 3600, 0.02), Far("c3", -7, 0.3)]
    load = LiveLoad(planned(), lambda: Far.now_s)

    asyncio.run(load.begin(far, [schedule(50, 0.5)] * 3))

    moments = [each.began_s for each in far]
    assert max(moments) - min(moments) < 1e-3
    assert min(moments) > Far.now_s + 0.3, "the slowest has heard of it by then"
    assert load.began_s == pytest.approx(moments[0])
    assert list(load._started.values()) == [pytest.approx(moments[0])] * 3


def test_several_clients_of_this_machine_begin_at_one_moment(server, monkeypatch):
    """However busy it is: here the moment lies far ahead, and a second apart is a fault."""
    monkeypatch.setattr(client, "_LEAD_S", 0.4)
    before = time.monotonic()
    load, results = loaded(server, schedule(50, 0.2), nodes=3)

    assert [result.error for result in results] == [None] * 3
    starts = [result.started_s for result in results]
    assert max(starts) - min(starts) < 1
    # One clock for all, and each was told a moment that lay ahead.
    assert all(
        abs(ahead - (time.time() - time.monotonic())) < 1 for ahead, _ in load._offsets.values()
    )
    assert min(load._started.values()) > before + 0.4, "nobody begins before the moment"


def test_an_offset_is_that_of_the_quickest_round_trip():
    """A clock 1000 s ahead; the answer of the second trip is on its way for 0.1 s each way."""
    waits = [(0.5, 0.1), (0.1, 0.1), (0.1, 0.9), (0.3, 0.3), (0.2, 0.4)]

    class Fickle:
        now_s = 50.0

        async def send(self, text):
            there, self.back_s = waits.pop(0)
            self.now_s += there
            self.said = str(int((self.now_s + 1000) * 1e9))

        async def line(self, *, timeout_s):
            self.now_s += self.back_s
            return self.said

    far = Fickle()
    ahead_s, trip_s = asyncio.run(client.offset(far, lambda: far.now_s))

    assert (ahead_s, trip_s) == (pytest.approx(1000), pytest.approx(0.2))


def test_a_clock_that_differs_makes_no_difference(server, monkeypatch):
    """The second client's clock is an hour ahead."""
    shell = client.script
    clocks = iter(["", "date() { echo $(($(command date +%s%N) + 3600000000000)); }\n"])
    monkeypatch.setattr(client, "script", lambda *args: next(clocks) + shell(*args))

    load, results = loaded(server, schedule(20, 0.3), nodes=2)

    ahead = [load._offsets[host][0] for host in ("c0", "c1")]
    assert ahead[1] - ahead[0] == pytest.approx(3600, abs=1)
    began = [load._started[host] for host in ("c0", "c1")]
    assert abs(began[1] - began[0]) < 1
    assert results[0].error is None


def test_a_ramp_is_several_processes_with_one_report_each(server):
    _, (result,) = loaded(server, schedule(200, 0.75), ramp=0.5, warmup=0, window=0.2)

    assert len(result.reports) == 5
    # 40/s more at about 0, 0.1, 0.2, 0.3 and 0.4 s, until 0.75 s.
    counts = [report.replied for report in result.reports]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 30
    assert counts[4] == pytest.approx(0.35 * 40, abs=2)
    first = [min(row.start_us for row in report.replies) / 1e6 for report in result.reports]
    assert 0.2 < first[4] - first[0] < 3  # 0.4 s where nothing else runs


def test_descriptors_that_run_out_are_the_clients_lack(server, monkeypatch):
    monkeypatch.setattr(client, "_SCRIPT", "ulimit -n 30\n" + client._SCRIPT)
    server.wait_s = 0.3

    _, (result,) = loaded(server, schedule(400, 0.5))

    (report,) = result.reports
    lacked = report.unsent["could not connect to host"]
    assert lacked > 50
    assert report.attempted == 200 - lacked
    assert report.failed.get("connect", 0) == 0


def test_what_a_client_lacks_is_said_before_it_starts(server, monkeypatch):
    monkeypatch.setattr(client, "program", lambda plan: "h9load")

    with pytest.raises(TrialError, match=r"c0: h9load is not installed\. Install"):
        loaded(server, schedule(10, 1))


@pytest.mark.skipif(shutil.which("httperf") is None, reason="httperf is not installed")
def test_several_httperfs_share_a_clients_schedule(server):
    """100/s x 30 s need 3,000 descriptors: three processes."""
    _, (result,) = loaded(server, Schedule(1, 10, 90), generator="httperf", timeout=30)

    assert [report.attempted for report in result.reports] == [30, 30, 30]
    assert sum(report.replied for report in result.reports) == 90


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (
            "requests: 1 total, 1 started, 1 done, 1 succeeded, 0 failed, 0 errored, 0 timeout",
            True,
        ),
        (
            "requests: 1 total, 1 started, 1 done, 0 succeeded, 1 failed, 0 errored, 0 timeout",
            False,
        ),
        ("Reply status: 1xx=0 2xx=1 3xx=0 4xx=0 5xx=0", True),
        ("Reply status: 1xx=0 2xx=0 3xx=0 4xx=1 5xx=0", False),
        ("Reply status: 204", True),
        ("Reply status: 502", False),
        ("curl: (7) Failed to connect\nReply status: 000", False),
        ("", False),
        ("curl: (1) no tool to ask with\nReply status: 502", False),
    ],
)
def test_the_one_request_of_a_preflight(text, good):
    assert client.reply(text) is (client.Reply.GOOD if good else client.Reply.BAD)


def test_a_client_without_any_tool_says_so():
    script = client.request(plan_of(), 1)
    bare = subprocess.run(
        ["/bin/sh", "-c", script],
        env={"PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert client.reply(bare.stdout) is client.Reply.NO_TOOL
