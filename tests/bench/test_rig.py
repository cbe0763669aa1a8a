"""Real h2load from this machine against a web server in this process, on the loopback."""

import asyncio
import http.server
import shutil
import threading

import pytest

from dirtune.bench import h2load, rig
from dirtune.bench import plan as plans
from dirtune.errors import NodeUnreachable, NotPossible, TrialError

pytestmark = pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")

PLAN = """
[[services]]
vip = "127.0.0.1"
port = {port}
[[clients]]
host = "local"
[load]
rates = [100]
"""


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
        async with rig.opened(plans.parse(PLAN.format(port=port))) as nodes:
            await nodes.ready()
            return await use(nodes)

    return asyncio.run(body())


def test_a_load_sends_what_was_planned(server):
    async def use(nodes):
        await nodes.preflight()
        load = await nodes.load((h2load.schedule(100, 0.5),))
        return load.began_s, await load.finish()

    began_s, (clients, raw) = with_rig(server.server_port, use)

    (client,) = clients
    assert (client.error, client.summary.succeeded, len(client.replies)) == (None, 50, 50)
    assert server.seen == 51  # and the preflight's
    assert client.started_s == began_s
    # 50 connections, one each 10 ms, the first at once: 0.49 s; a busy machine may be later.
    starts = sorted(reply.start_us for reply in client.replies)
    assert 0.45e6 < starts[-1] - starts[0] < 1.5e6
    assert "requests: 50 total" in raw["local.txt"]


def test_no_reply_stops_before_the_load():
    async def use(nodes):
        await nodes.preflight()

    with pytest.raises(TrialError, match=r"local: no good reply from http://127\.0\.0\.1:1/"):
        with_rig(1, use)


def test_a_generator_that_is_ended_leaves_an_error_and_no_process(server):
    async def use(nodes):
        load = await nodes.load((h2load.schedule(10, 60),))
        process = load._processes["local"]
        await load.end()
        clients, _ = await load.finish()
        with pytest.raises((NotPossible, NodeUnreachable)):
            await nodes._nodes["local"].run(f"kill -0 -- -{process.group}")
        return clients

    (client,) = with_rig(server.server_port, use)

    assert client.summary is None
    assert "no summary" in client.error


@pytest.mark.parametrize("turns", [1, 5, 50])
def test_a_cancelled_start_leaves_no_process(server, turns):
    async def use(nodes):
        task = asyncio.create_task(nodes.load((h2load.schedule(10, 61),)))
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
        asyncio.run(rig._together(fail(number) for number in (1, 2, 3)))

    assert heard == [1, 2, 3], "the others were waited for"


def test_a_host_of_two_roles_is_sampled_once_for_both():
    named = (
        '[[clients]]\nhost = "local"\nname = "c1"\n[[real_servers]]\nhost = "local"\nname = "rs1"'
    )
    roles = plans.parse(PLAN.format(port=80).replace('[[clients]]\nhost = "local"', named))

    async def sampled():
        async with rig.opened(roles) as nodes:
            await nodes.ready()
            return await nodes.sample_all()

    found = asyncio.run(sampled())
    assert set(found) == {"local", "c1", "rs1"}
    assert found["c1"] is found["rs1"] is found["local"]
