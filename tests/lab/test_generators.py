"""Every generator on a real director, and what goes wrong in a trial: one boot for all.

Expected values come from the director's own text of ip_vs_stats and from the generators' words.
"""

import contextlib
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from benches import DIRTUNE, bench, dirtune, lab_of, on, plan

from dirtune.lab import state

# Seven minutes, and not yet seen to pass as a whole: `make test-long`, not CI.
pytestmark = pytest.mark.long

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


def qemu():
    keeper = psutil.Process(state.folder().record().keeper.pid)
    found = [p for p in keeper.children(recursive=True) if p.name().startswith("qemu-system")]
    return found[0]


@pytest.fixture(scope="module", autouse=True)
def _lab(tmp_path_factory):
    with lab_of("separate", tmp_path_factory.mktemp("generators")):
        yield


@pytest.mark.parametrize(
    ("generator", "more", "said"),
    [
        ("h2load", "", r", (\d+) succeeded"),
        ("httperf", "", r"Reply status: .* 2xx=(\d+)"),
        ("command", COMMAND, r", (\d+) succeeded"),
    ],
)
def test_connections_agree_with_the_director(tmp_path, generator, more, said):
    before = counted()
    (trial,), texts = bench(tmp_path, generator=generator, more=more)

    made = sum(int(re.search(said, text)[1]) for text in texts)
    every = [path.read_text() for path in tmp_path.glob("*/raw/*/*.txt")]
    preflight = 8
    assert len(every) == 2 * len(texts) == 8, "its trial, and the look at all nodes"
    connections = sum(int(re.search(said, text)[1]) for text in every)
    assert counted() - before == pytest.approx(connections + preflight, rel=0.005)
    assert (trial["validity"], trial["reason"]) == ("valid", None)
    assert trial["generator"] == generator
    assert trial["replied"] == made
    assert trial["attempted"] == trial["intended"]
    assert sum(trial["shares"].values()) == pytest.approx(made, rel=0.005)
    assert trial["shares"].keys() == {"rs1", "rs2", "rs3", "rs4"}
    assert trial["reply_rate"] == pytest.approx(100, rel=0.03)
    assert trial["metrics"]["start_spread_ms"] < 50
    assert "short" in trial["labels"]


@contextlib.contextmanager
def under_load(act):
    """Do *act* as soon as c1's generator runs; what it raises is raised here."""
    with ThreadPoolExecutor(1) as pool:
        acted = pool.submit(lambda: (loads(), act()))
        yield
        acted.result()


def loads():
    """Wait for c1's generator; its one request before the load is not it."""
    end = time.monotonic() + 90
    while not on("c1", "pgrep -f '^h2load.*[r]ate-period' || true").strip():
        assert time.monotonic() < end, "no load"


def test_a_client_without_descriptors_is_the_limit(tmp_path):
    """A real server hangs, so connections pile up; c2 may have few open, and says so."""
    # Of its sshd, and so of what that starts from now on.
    had = on("c2", "ulimit -Sn").strip()
    on("c2", "prlimit --pid 1 --nofile=20:")
    stopped = " ".join(on("rs1", "pgrep nginx").split())
    try:
        with under_load(lambda: on("rs1", f"kill -STOP {stopped}")):
            (trial,), _ = bench(tmp_path, rates=[400])
    finally:
        on("rs1", f"kill -CONT {stopped}")
        on("c2", f"prlimit --pid 1 --nofile={had}:")

    assert trial["validity"] == "client_limited"
    assert "could not begin" in trial["reason"]
    assert trial["unsent"]["could not connect to host"] > 0
    assert trial["failed"]["timeout"] > 100, "rs1 answered nothing"


def test_a_burner_on_the_clients_cpus_makes_them_the_limit(tmp_path):
    # Five steps of niceness: else the scheduler may give h2load the little that it needs.
    one = "nice -n -5 sh -c 'while :; do :; done' & echo $!"
    burn = f"for n in $(seq 40); do {one}; done; exec >&-; wait"
    argv = [*DIRTUNE, "lab", "exec", "c3", "--", burn]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as burner:
        pids = [burner.stdout.readline().strip() for _ in range(40)]
        try:
            (trial,), _ = bench(tmp_path, rates=[2000])
        finally:
            on("c3", f"kill {' '.join(pids)}")

    assert trial["validity"] == "client_limited", trial["reason"]


def test_a_killed_real_server_is_named(tmp_path):
    servers = " ".join(on("rs2", "pgrep nginx").split())
    command = on("rs2", "tr '\\0' ' ' < /proc/$(pgrep -o nginx)/cmdline")
    try:
        with under_load(lambda: on("rs2", f"kill -9 {servers}")):
            (trial,), _ = bench(tmp_path)
    finally:
        config = re.search(r"-c (\S+)", command)[1]
        on("rs2", f"nginx -c {config} </dev/null >/dev/null 2>&1 &")

    assert trial["validity"] == "setup_error"
    assert re.match(r"rs2 refused \d+ connections", trial["reason"])


def test_a_paused_guest_is_lost_and_nothing_hangs(tmp_path):
    process = qemu()
    try:
        with under_load(lambda: process.send_signal(signal.SIGSTOP)):
            (trial,), _ = bench(tmp_path)
    finally:
        process.send_signal(signal.SIGCONT)

    assert trial["validity"] == "setup_error"
    assert trial["reason"].startswith("lb1: ")
    assert not on("c1", "pgrep -x h2load || true").strip()


def test_others_on_the_vip_are_refused_unless_it_is_named(tmp_path):
    """c4 keeps one connection to the service open, as anybody's client might."""
    hold = "exec 3<>/dev/tcp/198.18.0.100/80; echo $$; exec sleep 100"
    path = plan(tmp_path)
    run = [*DIRTUNE, "bench", "run", path, "--out", str(tmp_path)]
    argv = [*DIRTUNE, "lab", "exec", "c4", "--", f"bash -c '{hold}'"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        pid = holder.stdout.readline().strip()
        try:
            refused = subprocess.run(run, capture_output=True, text=True, check=False)
            checked = dirtune("bench", "check", path, ok=(2,))
            (trial,), _ = bench(tmp_path)
        finally:
            on("c4", f"kill {pid}")

    assert refused.returncode == 2
    said = [row for row in refused.stderr.splitlines() if row.startswith("dirtune: ")]
    assert len(said) == 1
    assert re.search(r"198.18.0.100 carries connections .* \(\d+ established", said[0])
    assert "vip: carries connections" in checked
    assert trial["validity"] == "valid"


def test_wrk_probes_the_peak_and_compares_nothing(tmp_path):
    """The last: what it cuts off at its end stays established in the table for 15 minutes."""
    before = counted()
    (trial,), texts = bench(tmp_path, generator="wrk", connections=5)

    requests = sum(int(re.search(r"(\d+) requests in", text)[1]) for text in texts)
    cut_off, preflight = 4 * 5, 4
    new = counted() - before - preflight
    assert requests <= new <= 1.005 * requests + cut_off
    assert (trial["kind"], trial["validity"]) == ("peak", "valid")
    assert trial["labels"][0].startswith("closed loop")
    assert trial["reply_rate"] > 200
    aa = [*DIRTUNE, "bench", "run", plan(tmp_path, generator="wrk"), "--aa", "--force"]
    refused = subprocess.run(
        [*aa, "198.18.0.100", "--out", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "wrk is a closed loop and compares nothing" in refused.stderr
