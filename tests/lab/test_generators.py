"""Every generator on a real director, and what goes wrong in a trial: one boot for all.

Expected values come from the director's own text of ip_vs_stats and from the generators' words.
"""

import contextlib
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
from benches import DIRTUNE, SEPARATE, dirtune, in_lab, on, plan, trial

from dirtune.lab import state

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("booted"), in_lab(SEPARATE)]

BURN = """
import time
end = time.monotonic() + 4
while time.monotonic() < end:
    pass
"""
H2LOAD = (r"requests: (\d+) total", r", (\d+) succeeded")
# A client's port that is used again meets the IPVS entry of a connection that a test cut off, and
# is then not counted as new.
COUNTS_DIFFER = 0.01
COMMAND = """
[load.command]
run = "h2load --h1 -n {connections} -c {connections} -r 1 --rate-period=40ms -T {timeout}s {url}"
replies = ', (\\d+) succeeded'
elapsed = 'finished in ([\\d.]+)s'
open_loop = true
"""


def counted():
    """The director's connections since boot: hexadecimal, the first of the third row."""
    time.sleep(2.5)  # copied every two seconds
    return int(on("lb1", "cat /proc/net/ip_vs_stats").splitlines()[2].split()[0], 16)


def nothing_loads():
    """No client's generator is left of a trial that was disturbed."""
    end = time.monotonic() + 60
    for client in ("c1", "c2", "c3", "c4"):
        while on(client, "pgrep -x 'h2load|wrk' || true").strip():
            assert time.monotonic() < end, f"a generator still runs on {client}"
            time.sleep(0.5)


def qemu():
    keeper = psutil.Process(state.folder().record().keeper.pid)
    found = [p for p in keeper.children(recursive=True) if p.name().startswith("qemu-system")]
    return found[0]


@pytest.mark.parametrize(
    ("generator", "more", "began", "answered"),
    [
        ("h2load", "", *H2LOAD),
        ("httperf", "", r"Total: connections (\d+)", r"Reply status: .* 2xx=(\d+)"),
        # It is h2load again, by a command of the plan's own.
        pytest.param("command", COMMAND, *H2LOAD, marks=pytest.mark.long),
    ],
)
def test_connections_agree_with_the_director(tmp_path, generator, more, began, answered):
    before, tried = counted(), []

    found, texts = trial(
        tmp_path, tries=3, meanwhile=lambda: tried.append(1), generator=generator, more=more
    )

    assert (found.validity, found.reason) == ("valid", None)
    assert found.generator == generator
    made, good = (
        sum(int(re.search(said, text)[1]) for text in texts.values()) for said in (began, answered)
    )
    preflight = 4
    # Each trial is the same; the director counted those that were had again too.
    assert counted() - before == pytest.approx(len(tried) * (made + preflight), rel=0.005)
    assert (len(texts), found.attempted, found.replied) == (4, made, good)
    assert found.attempted == found.intended
    assert sum(found.shares.values()) == pytest.approx(made, rel=0.005)
    assert found.shares.keys() == {"rs1", "rs2", "rs3", "rs4"}
    assert found.reply_rate == pytest.approx(100, rel=0.1)
    assert found.metrics["start_spread_ms"] < 50
    assert "short" in found.labels


def test_ten_requests_of_a_connection_are_one_to_the_director(tmp_path):
    found, texts = trial(tmp_path, tries=3, keepalive=10)

    assert (found.validity, found.reason) == ("valid", None)
    answered = sum(int(re.search(H2LOAD[1], text)[1]) for text in texts.values())
    assert answered == pytest.approx(10 * found.attempted, rel=0.005)
    assert found.counters["connections_total"] == pytest.approx(found.attempted, rel=0.005)
    assert found.reply_rate == pytest.approx(100, rel=0.1)


def test_clients_without_descriptors_are_the_limit(tmp_path):
    """A real server hangs, so connections pile up; clients may have few open, and say so.

    All of them: in turn with the others, one may never be sent to that real server.
    """
    clients = ("c1", "c2", "c3", "c4")
    # Of its sshd, and so of what that starts from now on.
    had = {client: on(client, "ulimit -Sn").strip() for client in clients}
    for client in clients:
        on(client, "prlimit --pid 1 --nofile=20:")
    stopped = " ".join(on("rs1", "pgrep nginx").split())
    try:
        found, _ = trial(
            tmp_path, meanwhile=lambda: on("rs1", f"kill -STOP {stopped}"), rates=[400]
        )
    finally:
        on("rs1", f"kill -CONT {stopped}")
        for client, limit in had.items():
            on(client, f"prlimit --pid 1 --nofile={limit}:")

    assert found.validity == "client_limited"
    assert "could not start" in found.reason
    assert found.unsent["could not connect to host"] > 0
    assert found.failed["timeout"] > 100, "rs1 answered nothing"


@pytest.mark.long  # clients that are the limit for want of descriptors are above
def test_a_burner_on_the_clients_cpus_makes_them_the_limit(tmp_path):
    """Of the real-time class, for a scheduler gives an ordinary h2load the little it needs."""
    argv = f"chrt -f 1 {sys.executable} -c '{BURN}'"
    found, _ = trial(tmp_path, meanwhile=lambda: on("c3", argv), rates=[400], window=6)

    assert found.validity == "client_limited", found.reason
    assert re.search(r"took [\d.]+ s instead of|did not start", found.reason)


def test_a_killed_real_server_is_named(tmp_path):
    servers = " ".join(on("rs2", "pgrep nginx").split())
    command = on("rs2", "tr '\\0' ' ' < /proc/$(pgrep -o nginx)/cmdline")
    try:
        found, _ = trial(tmp_path, meanwhile=lambda: on("rs2", f"kill -9 {servers}"), window=8)
    finally:
        config = re.search(r"-c (\S+)", command)[1]
        on("rs2", f"nginx -c {config} </dev/null >/dev/null 2>&1 &")

    assert found.validity == "setup_error"
    assert re.match(r"rs2 refused \d+ connections", found.reason)


def test_a_killed_client_is_named(tmp_path):
    found, _ = trial(tmp_path, meanwhile=lambda: on("c2", "kill -9 $(pgrep -x h2load)"))

    assert found.validity == "setup_error"
    assert found.reason.startswith("c2: ")
    assert found.replied > 300, "what the other three measured is kept"
    for client in ("c1", "c2", "c3", "c4"):
        assert not on(client, "pgrep -x h2load || true").strip()


def test_a_paused_guest_is_lost_and_nothing_hangs(tmp_path):
    process = qemu()
    began = time.monotonic()
    try:
        found, _ = trial(tmp_path, meanwhile=lambda: process.send_signal(signal.SIGSTOP))
    finally:
        process.send_signal(signal.SIGCONT)

    assert time.monotonic() - began < 90
    assert found.validity == "setup_error"
    assert found.reason.startswith("lb1: ")
    assert not on("c1", "pgrep -x h2load || true").strip()


def test_one_run_after_the_other_and_others_on_the_vip(tmp_path):
    """What runs of ours left in the table is no reason to refuse; others' connections are."""
    nothing_loads()
    time.sleep(3)  # the estimator copies ipvsadm's counters every two seconds
    path, before = plan(tmp_path), connections()
    dirtune("bench", "run", path, "--out", str(tmp_path))
    time.sleep(3)
    new = connections() - before
    texts = [text.read_text() for text in tmp_path.glob("*/raw/*/c*.txt")]
    assert len(texts) == 8, "of the sweep's one trial, and of the look at all nodes"
    made, preflight = sum(int(re.search(H2LOAD[1], text)[1]) for text in texts), 8
    assert new == pytest.approx(made + preflight, rel=COUNTS_DIFFER)
    left = on("lb1", "cat /proc/net/ip_vs_conn").splitlines()
    with somebody():
        foreign = refused(path, tmp_path)
        checked = dirtune("bench", "check", path, ok=(2,))
    with holding("0.0.0.0", "ip", "netns", "exec", "c4"):
        held = refused(path, tmp_path)

    assert len(left) > 100, "of connections that have just ended"
    assert (
        "198.18.0.100 carries connections that dirtune did not open (1 from 198.18.0.99)"
        in foreign
    )
    assert re.search(r"vip: .*1 from 198\.18\.0\.99", checked)
    assert "(1 held open by c4)" in held


def connections():
    """The service's connections, as ipvsadm(8) has them."""
    table = on("lb1", "ipvsadm -Ln --stats --exact")
    return int(re.search(r"^TCP +198.18.0.100:80 +(\d+)", table, re.M)[1])


HOLD = """
import socket, time
held = socket.create_connection(("198.18.0.100", 80), 20, ("{}", 0))
print("held", flush=True)
time.sleep(100)
"""


@contextlib.contextmanager
def somebody():
    """A machine that is no node of the lab, plugged into its switch, holds a connection open."""
    address = ("198.18.0.99/16", "dev", "br-load")
    subprocess.run([*switch(), "ip", "addr", "add", *address], check=True)
    try:
        with holding("198.18.0.99"):
            yield
    finally:
        subprocess.run([*switch(), "ip", "addr", "del", *address], check=True)


def switch():
    """The command that enters the lab's own network, outside of its nodes."""
    return ("nsenter", "--net", "--mount", "--target", str(state.folder().record().keeper.pid))


@contextlib.contextmanager
def holding(source, *enter):
    argv = [*switch(), *enter, sys.executable, "-c", HOLD.format(source)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            yield
        finally:
            holder.terminate()


def refused(path, out):
    argv = [*DIRTUNE, "bench", "run", path, "--out", str(out)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (said,) = [row for row in done.stderr.splitlines() if row.startswith("dirtune: ")]
    return said


def test_wrk_probes_the_peak_and_compares_nothing(tmp_path):
    nothing_loads()
    for _ in range(3):
        before = counted()
        found, texts = trial(tmp_path, generator="wrk", connections=5)
        if found.validity == "valid":
            break

    requests = sum(int(re.search(r"(\d+) requests in", text)[1]) for text in texts.values())
    made, cut_off, preflight = requests + sum(found.failed.values()), 4 * 5, 4
    new = counted() - before - preflight
    assert (1 - COUNTS_DIFFER) * requests <= new <= (1 + COUNTS_DIFFER) * made + cut_off
    assert (found.kind, found.validity) == ("peak", "valid")
    assert found.labels[0].startswith("closed loop")
    assert found.reply_rate > 100
