"""What a fail-over cost, from the reports of the clients; the clients' clocks differ."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from dirtune.bench import failover
from dirtune.bench.outcome import ClientResult
from dirtune.errors import PlanError
from dirtune.plan.generators import Reply, Report
from tests.plans import plan_of

DAY_US = 86_400_000_000


def report(moments_s, ahead_us, *, lost=0, unsent=0, status=200, took_us=1000):
    rows = tuple(
        Reply(round(s * 1e6) + ahead_us, status, took_us) for s in moments_s
    )  # by the client's clock
    return Report(
        attempted=len(rows) + lost,
        replied=len(rows),
        failed={"connect": lost} if lost else {},
        unsent={"ports": unsent} if unsent else {},
        replies=rows,
    )


def prepared(**load):
    return failover.prepared(plan_of(**load), None, 5, 15)


def outcome(*results):
    return failover.outcome(prepared(), results, "true", (1000.0, 1005.0), 400)


def test_the_load_is_steady_and_lasts_as_long_as_asked():
    plan = prepared(rates=[80, 100], ramp="3s", keepalive=4, timeout="2s")

    assert plan.load.rates == (80,)
    assert (plan.load.ramp_s, plan.load.keepalive, plan.load.timeout_s) == (0, 1, 2)
    assert (plan.load.warmup_s, plan.load.window_s, plan.load.load_s) == (5, 15, 20)
    assert failover.prepared(plan_of(), 7, 5, 15).load.rates == (7,)


def test_a_generator_without_a_log_is_refused():
    with pytest.raises(PlanError, match=r"^load.generator: httperf does not log"):
        prepared(generator="httperf")


def test_answers_of_all_clients_count_by_the_controllers_clock():
    one = [n / 10 for n in range(51)] + [9 + n / 10 for n in range(110)]
    two = [0.05 + n / 10 for n in range(50)] + [8.95 + n / 10 for n in range(111)]

    result = outcome(
        ClientResult("c1", 1000.0, (report(one, DAY_US, lost=40),)),
        ClientResult("c2", 1000.05, (report(two, -DAY_US // 2, lost=39),)),
    )

    assert result.silence_s == pytest.approx(3.95)
    assert result.silence_at_s == pytest.approx(5.001)
    assert result.usual_silence_s == pytest.approx(0.05)
    assert (result.attempted, result.replied, result.intended) == (161 + 161 + 79, 322, 400)
    assert (result.lost, result.failed, result.problems) == (79, {"connect": 79}, ())
    assert result.recovered
    assert result.command_s == 5.0


def test_an_error_page_is_no_answer():
    good = [n / 10 for n in range(50)] + [12 + n / 10 for n in range(80)]
    bad = [5 + n / 10 for n in range(70)]

    result = outcome(
        ClientResult("c1", 1000.0, (report(good, 0),)),
        ClientResult("c2", 1005.0, (report(bad, 0, status=503),)),
    )

    assert result.silence_s == pytest.approx(7.1)


def test_a_director_that_nobody_replaces():
    result = outcome(ClientResult("c1", 1000.0, (report([n / 10 for n in range(50)], 0),)))

    assert not result.recovered
    assert result.silence_s == pytest.approx(20 - 4.901)


def test_without_any_answer_the_silence_is_unknown():
    result = outcome(ClientResult("c1", 1000.0, (report([], 0, lost=400),)))

    assert result.silence_s is None
    assert not result.recovered
    assert result.lost == 400


def test_what_a_client_did_not_send_or_report_is_a_problem():
    result = outcome(
        ClientResult("c1", 1000.0, (report([1, 2, 6], 0, unsent=7),)),
        ClientResult("c2", 1000.0, error="it ended early"),
    )

    assert result.attempted is None
    assert result.problems == (
        "c1 could not start 7 connections, which are not counted",
        "c2: it ended early",
    )


SERVER = """
import http.server, os, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *words):
        pass
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page)
open(sys.argv[2], "w").write(str(os.getpid()))
server.serve_forever()
"""


@pytest.fixture
def service(tmp_path):
    """A web server on the loopback interface: its plan, and commands that end and start it."""
    if shutil.which("h2load") is None:
        pytest.skip("h2load is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script, pid = tmp_path / "server.py", tmp_path / "pid"
    script.write_text(SERVER)
    start = f"setsid {sys.executable} {script} {port} {pid} >/dev/null 2>&1 </dev/null &"
    plan = tmp_path / "plan.toml"
    plan.write_text(f"""
[director]
host = "local"
[[services]]
vip = "127.0.0.1"
port = {port}
[[clients]]
host = "local"
[load]
rates = [30]
force = "127.0.0.1"
""")
    subprocess.run(["sh", "-c", start], check=True)
    end = time.monotonic() + 30
    while not (pid.exists() and pid.read_text()) and time.monotonic() < end:
        time.sleep(0.1)
    yield plan, f"kill $(cat {pid})", start
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(pid.read_text()), signal.SIGKILL)


def failed_over(plan, command):
    words = ("bench", "failover", str(plan), "--command", command, "--before", "2")
    argv = [sys.executable, "-m", "dirtune", *words, "--after", "15", "--format", "json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_a_server_that_is_away_for_three_seconds(service):
    plan, stop, start = service

    status, result = failed_over(plan, f"{stop}; sleep 3; {start}")
    if status == 1:
        # A machine that runs other tests too may not start the server again in time. It does so
        # a second time only if something else is wrong.
        subprocess.run(["sh", "-c", f"{stop}; sleep 1; {start}"], check=True)
        time.sleep(5)
        status, result = failed_over(plan, f"{stop}; sleep 3; {start}")

    assert status == 0, result
    assert result["recovered"]
    # The server starts in well under 2 s, unless this machine is very busy.
    assert 2.9 < result["silence_s"] < 10
    assert result["offered_rate"] == pytest.approx(30, rel=0.02)
    lost = sum(result["failed"].values())
    assert lost == pytest.approx(30 * result["silence_s"], rel=0.15)
    assert result["attempted"] == result["replied"] + lost


def test_a_command_that_fails_is_one_line(service):
    plan, _, _ = service
    words = ("bench", "failover", str(plan), "--before", "1", "--after", "2", "--command")
    argv = [sys.executable, "-m", "dirtune", *words, "echo no such director >&2; exit 3"]

    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no such director" in done.stderr
    assert done.stdout == ""
