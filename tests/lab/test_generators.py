"""Every generator on a real director, and what goes wrong in a trial: one boot for all.

Expected values come from the director's own text of ip_vs_stats, from the generators' own words,
and from generators run by hand.
"""

import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from dirtune.lab import state

pytestmark = pytest.mark.lab

DIRTUNE = (sys.executable, "-m", "dirtune")
URL = "http://198.18.0.100:80/"
COMMAND = """
[load.command]
run = "h2load --h1 -n {connections} -c {connections} -r 1 --rate-period=40ms -T {timeout}s {url}"
replies = ', (\\d+) succeeded'
elapsed = 'finished in ([\\d.]+)s'
open_loop = true
"""


def dirtune(*words, ok=(0,)):
    done = subprocess.run([*DIRTUNE, *words], capture_output=True, text=True, check=False)
    assert done.returncode in ok, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def on(node, command, ok=(0,)):
    return dirtune("lab", "exec", node, "--", command, ok=ok)


def plan(tmp_path, clients=4, more="", **load):
    """The lab's plan with its first *clients* and other values under [load]."""
    text = state.folder().plan.read_text()
    text = text.replace('"ssh_config"', f'"{state.folder().ssh_config}"')
    for number in range(clients + 1, 5):
        text = text.replace(f'[[clients]]\nhost = "c{number}"\n', "")
    given = {"warmup": 2, "window": 5, "repeats": 1, "rates": [100], **load}
    for key, value in given.items():
        text = re.sub(rf"^{key} = .*\n", "", text, flags=re.MULTILINE)
        text = text.replace("[load]\n", f"[load]\n{key} = {json.dumps(value)}\n")
    # What the director costs is not asked here, and a busy machine may keep it from rest.
    text = re.sub(r'^max = "60s"', 'max = "8s"', text, flags=re.MULTILINE)
    path = tmp_path / "plan.toml"
    path.write_text(text + more)
    return str(path)


def bench(tmp_path, *args, **plan_values):
    """Run a plan and return its trials and the texts of its generators."""
    dirtune("bench", "run", plan(tmp_path, **plan_values), "--out", str(tmp_path), *args)
    (run,) = tmp_path.glob("*/run.json")
    texts = [path.read_text() for path in sorted(tmp_path.glob("*/raw/*/*.txt"))]
    trials = json.loads(run.read_text())["trials"]
    run.rename(tmp_path / "seen.json")
    return trials, texts


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
    folder = tmp_path_factory.mktemp("generators") / "lab"
    os.environ["DIRTUNE_LAB"] = str(folder)
    os.environ["DIRTUNE_SSH_CONFIG"] = str(folder / "ssh_config")
    try:
        dirtune("lab", "up", "--scenario", "separate")
        yield
    finally:
        dirtune("lab", "down")
        del os.environ["DIRTUNE_LAB"], os.environ["DIRTUNE_SSH_CONFIG"]


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
    preflight = 4
    assert counted() - before == pytest.approx(made + preflight, rel=0.005)
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
    had = on("c2", "ulimit -Sn; ulimit -Hn").split()
    on("c2", "prlimit --pid 1 --nofile=20:20")
    stopped = " ".join(on("rs1", "pgrep nginx").split())
    try:
        with under_load(lambda: on("rs1", f"kill -STOP {stopped}")):
            (trial,), _ = bench(tmp_path, rates=[400])
    finally:
        on("rs1", f"kill -CONT {stopped}")
        on("c2", f"prlimit --pid 1 --nofile={':'.join(had)}")

    assert trial["validity"] == "client_limited"
    assert "could not begin" in trial["reason"]
    assert trial["unsent"]["could not connect to host"] > 0
    assert trial["failed"]["timeout"] > 100, "rs1 answered nothing"


def test_a_burner_on_the_clients_cpus_makes_them_the_limit(tmp_path):
    burn = "for n in $(seq 40); do sh -c 'while :; do :; done' & echo $!; done; exec >&-; wait"
    burner = subprocess.Popen(
        [*DIRTUNE, "lab", "exec", "c3", "--", burn], stdout=subprocess.PIPE, text=True
    )
    pids = [burner.stdout.readline().strip() for _ in range(40)]
    try:
        (trial,), _ = bench(tmp_path, rates=[2000])
    finally:
        on("c3", f"kill {' '.join(pids)}")
        burner.wait(20)

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


def by_hand(client, generator):
    """Run the generator as anybody would, 50/s for 8 s; return replies/s and the median in ms."""
    if generator == "httperf":
        argv = "--server 198.18.0.100 --port 80 --uri / --rate 50 --num-conns 400 --timeout 1"
        text = on(client, f"httperf {argv}")
        rate = re.search(r"Total: connections \d+ requests \d+ replies (\d+) .* ([\d.]+) s", text)
        median = re.search(r"Connection time \[ms\]: .* median ([\d.]+)", text)
        return int(rate[1]) / float(rate[2]), float(median[1])
    text = on(
        client,
        "h2load --h1 -n 400 -c 400 -r 1 --rate-period=20ms -T 1s -N 1s -H 'Connection: close' "
        f"--log-file=/tmp/log {URL} >/dev/null; cat /tmp/log; rm /tmp/log",
    )
    rows = [[int(cell) for cell in row.split()] for row in text.splitlines()]
    starts = [row[0] for row in rows]
    span_s = (max(starts) - min(starts)) / 1e6
    return (len(rows) - 1) / span_s, statistics.median(row[2] for row in rows) / 1000


@pytest.mark.parametrize("generator", ["h2load", "httperf"])
def test_beside_the_plain_tool(tmp_path, generator):
    ours, theirs = [], []
    for number in range(4):
        place = tmp_path / str(number)
        place.mkdir()
        (trial,), _ = bench(place, clients=1, generator=generator, rates=[50])
        ours.append((trial["reply_rate"], trial["latency"]["p50_ms"]))
        theirs.append(by_hand("c1", generator))
        time.sleep(1)

    print(generator, "ours", ours, "by hand", theirs)
    for place, least in ((0, 0.5), (1, 1.0)):
        a, b = ([pair[place] for pair in runs] for runs in (ours, theirs))
        # Two medians of few runs differ by chance; httperf tells time in steps of 1 ms.
        spread = max(max(a) - min(a), max(b) - min(b), least)
        assert abs(statistics.median(a) - statistics.median(b)) <= spread


def test_others_on_the_vip_are_refused_unless_it_is_named(tmp_path):
    """c4 keeps one connection to the service open, as anybody's client might."""
    hold = "exec 3<>/dev/tcp/198.18.0.100/80; echo held; sleep 60"
    holder = subprocess.Popen(
        [*DIRTUNE, "lab", "exec", "c4", "--", f'bash -c "{hold}"'],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    try:
        path = plan(tmp_path)
        argv = [*DIRTUNE, "bench", "run", path, "--out", str(tmp_path)]
        refused = subprocess.run(argv, capture_output=True, text=True, check=False)
        checked = dirtune("bench", "check", path, ok=(2,))
        (trial,), _ = bench(tmp_path / "forced", "--force", "198.18.0.100")
    finally:
        on("c4", "pkill -f '[d]ev/tcp/198' || true")
        holder.wait(20)

    assert refused.returncode == 2
    said = [row for row in refused.stderr.splitlines() if row.startswith("dirtune: ")]
    assert len(said) == 1
    assert "198.18.0.100 carries connections that are not ours (1 established" in said[0]
    assert "vip: carries connections" in checked
    assert trial["validity"] == "valid"


def test_wrk_probes_the_peak_and_compares_nothing(tmp_path):
    """The last: what it cuts off at its end stays established in the table for 15 minutes."""
    before = counted()
    (trial,), texts = bench(tmp_path, "--force", "198.18.0.100", generator="wrk", connections=5)

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
