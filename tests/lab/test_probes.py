"""The probes on a real director with two CPUs: one boot of the crowded line, used by every test.

Expected values come from a second tool on the director (cat, vmstat, mpstat, ipvsadm) or from the
number of packets sent.
"""

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import time

import pytest

from dirtune.lab import state

pytestmark = pytest.mark.lab

DIRTUNE = (sys.executable, "-m", "dirtune")
DIRECTOR = "198.18.0.1"
NIC, PARTNERS = "enp0s16", {"i801_smbus": 1, "sym53c8xx": 4}
DATAGRAMS = 97
SEND = f"""\
python3 -c "
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range({DATAGRAMS}):
    s.sendto(b'x', ('{DIRECTOR}', 9))
    time.sleep(0.02)
"
"""
BEGIN = "echo go >/tmp/go; until grep -q measuring /tmp/said; do sleep 0.1; done"
# The programs that the kernel holds in memory show as symbols of the module `bpf`.
PROGRAMS = "grep -c '_irq_exit.*.bpf.' /proc/kallsyms || true"


def dirtune(*words, ok=(0,)):
    done = subprocess.run([*DIRTUNE, *words], capture_output=True, text=True, check=False)
    assert done.returncode in ok, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def on(node, command):
    return dirtune("lab", "exec", node, "--", command)


def line_10():
    (row,) = re.findall(r"^ *10: +([\d ]+?) +XT-PIC", on("lb1", "cat /proc/interrupts"), re.M)
    return sum(map(int, row.split()))


def profile(*words):
    """A profile by the director's own dirtune."""
    argv = " ".join(("dirtune profile --max-overhead 90 --format json", *words))
    text = on("lb1", f"{argv} 2>/tmp/said")
    return json.loads(text[text.index("{") :])


@contextlib.contextmanager
def told(words):
    """A profile whose probes are loaded, and that waits for `BEGIN`."""
    script = (
        "rm -f /tmp/go /tmp/said; mkfifo /tmp/go; (dirtune profile --told --format json"
        f" {words} </tmp/go >/tmp/profile 2>/tmp/said & echo $! >/tmp/pid);"
        " (sleep 300 >/tmp/go 2>/dev/null & echo $! >/tmp/keeper);"
        " until grep -q loaded /tmp/said; do sleep 0.2; done"
    )
    on("lb1", script)
    try:
        yield
    finally:
        on("lb1", "kill $(cat /tmp/pid /tmp/keeper) 2>/dev/null || true")


def ended():
    """The profile that was told to begin, once it is there."""
    on("lb1", "while kill -0 $(cat /tmp/pid) 2>/dev/null; do sleep 0.3; done")
    return json.loads(on("lb1", "cat /tmp/profile"))


@contextlib.contextmanager
def load(tmp_path, seconds):
    """Connections through the director, from before the context's body until its end."""
    text = state.folder().plan.read_text()
    text = text.replace('"ssh_config"', f'"{state.folder().ssh_config}"')
    for key, value in {"window": f'"{seconds}s"', "repeats": 1}.items():
        text = re.sub(rf"^{key} = .*\n", "", text, flags=re.MULTILINE)
        text = text.replace("[load]\n", f"[load]\n{key} = {value}\n")
    (tmp_path / "plan.toml").write_text(text)
    argv = [*DIRTUNE, "bench", "run", str(tmp_path / "plan.toml"), "--out", str(tmp_path)]
    bench = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not on("c1", "pgrep -f 'h2load.*[r]ate-period' || true").strip():
            assert time.monotonic() < end, "no load"
        yield
    finally:
        bench.terminate()
        bench.wait(30)
        end = time.monotonic() + 30
        while on("c1", "pgrep -x h2load || true").strip():
            assert time.monotonic() < end, "h2load still runs"


@pytest.fixture(scope="module", autouse=True)
def _lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes") / "lab"
    os.environ["DIRTUNE_LAB"] = str(folder)
    os.environ["DIRTUNE_SSH_CONFIG"] = str(folder / "ssh_config")
    try:
        dirtune("lab", "up", "--scenario", "crowded", "--cpus", "2")
        yield
    finally:
        dirtune("lab", "down")
        del os.environ["DIRTUNE_LAB"], os.environ["DIRTUNE_SSH_CONFIG"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """All probes in one window of a trial's load, and what vmstat and mpstat said beside them."""
    folder = tmp_path_factory.mktemp("loaded")
    with load(folder, 150), told("--duration 30 --max-overhead 90"):
        beside = (
            "(vmstat -n 1 31 >/tmp/vmstat 2>/dev/null &);"
            " (mpstat -P ALL 1 30 >/tmp/mpstat 2>/dev/null &)"
        )
        on("lb1", f"{beside}; {BEGIN}")
        found = ended()
        return found, on("lb1", "cat /tmp/vmstat"), on("lb1", "cat /tmp/mpstat")


def calls_on_line(found):
    handlers = found["probed"]["handlers"]["handlers"]
    return {h["handler"]: h for h in handlers if h["irq"] == 10}


def test_a_counted_number_of_interrupts_is_that_number_of_calls():
    # The line is quiet but for the datagrams, and both the probe and cat see every one of them.
    with told("--duration 8 --probes irq,softirq --max-overhead 90"):
        before = line_10()
        on("lb1", BEGIN)
        on("c1", SEND)
        found = ended()
        after = line_10()

    interrupts = found["probed"]["handlers"]["line_counts"]["10"]
    assert interrupts >= DATAGRAMS
    assert 0 <= after - before - interrupts <= 5, "what came before and after the window"
    calls = calls_on_line(found)
    assert set(calls) == {NIC, *PARTNERS}
    assert calls[NIC]["calls"] == interrupts
    for name, handlers in PARTNERS.items():
        assert calls[name]["calls"] == calls[name]["none"] == handlers * interrupts
        assert sum(calls[name]["histogram"]) == calls[name]["calls"]
    per_cpu = found["probed"]["handlers"]["per_cpu"]
    assert sum(h["calls"] for h in per_cpu if h["irq"] == 10) == 6 * interrupts
    received = softirq_runs(found)["NET_RX"]
    assert received == found["probed"]["softirqs"]["counted"]["NET_RX"]


def softirq_runs(found):
    runs = {}
    for one in found["probed"]["softirqs"]["softirqs"]:
        runs[one["vector"]] = runs.get(one["vector"], 0) + one["runs"]
    return runs


def test_under_load_calls_and_runs_are_what_the_kernel_counted(loaded):
    found, _, _ = loaded
    interrupts = found["probed"]["handlers"]["line_counts"]["10"]
    calls = calls_on_line(found)

    assert interrupts > 10_000
    assert calls[NIC]["calls"] == pytest.approx(interrupts, rel=0.005)
    for name, handlers in PARTNERS.items():
        assert calls[name]["calls"] == calls[name]["none"]
        assert calls[name]["calls"] == pytest.approx(handlers * interrupts, rel=0.005)
    runs, counted = softirq_runs(found), found["probed"]["softirqs"]["counted"]
    assert runs["NET_RX"] > 5000
    for vector in ("NET_RX", "TIMER"):
        assert runs[vector] == pytest.approx(counted[vector], rel=0.005, abs=3)
    assert found["probed"]["handlers"]["lost"] == found["probed"]["softirqs"]["lost"] == 0


def test_user_system_and_idle_are_those_of_vmstat_and_mpstat(loaded):
    found, vmstat, mpstat = loaded
    (node,) = found["nodes"]
    heads, rows = vmstat.splitlines()[1].split(), vmstat.splitlines()[3:]
    assert len(rows) == 30
    vmstat = {
        head: statistics.fmean(int(row.split()[heads.index(head)]) for row in rows)
        for head in ("us", "sy", "id")
    }
    (average,) = re.findall(r"^Average: +all +(.+)$", mpstat, re.M)
    usr, nice, sys_, iowait, irq, soft, _, _, _, idle = map(float, average.split())

    # Both divide by what the kernel accounted; dirtune by the clock, and calls the difference
    # unaccounted: a part of system that they do not show.
    states = {name: share["mean"] for name, share in node["states"].items()}
    lost = states["unaccounted"]
    seen = {
        "user": states["user"],
        "system": states["system"] - lost,
        "idle": states["idle"],
    }
    seen = {name: 100 * value / (100 - lost) for name, value in seen.items()}
    for name, other in (
        ("user", vmstat["us"]),
        ("system", vmstat["sy"]),
        ("idle", vmstat["id"]),
        ("user", usr + nice),
        ("system", sys_ + irq + soft),
        ("idle", idle),
    ):
        assert seen[name] == pytest.approx(other, abs=2.0), name
    assert iowait < 2
    for cpu, shares in node["per_cpu"].items():
        (row,) = re.findall(rf"^Average: +{cpu[3:]} +(.+)$", mpstat, re.M)
        whole = 100 - shares["unaccounted"]["mean"]
        assert 100 * shares["idle"]["mean"] / whole == pytest.approx(float(row.split()[-1]), abs=2)


def test_packets_and_connections_are_those_of_ipvs(loaded):
    found, _, _ = loaded
    work = found["work"]

    # 200 connections a second are offered, and IPVS sees five to six packets of each.
    assert work["connections"] / work["seconds"] == pytest.approx(201, rel=0.03)
    assert 5 <= work["packets"] / work["connections"] <= 6.5
    # Each packet passes the hook once; the probe's window is the samples' and a little.
    assert found["probed"]["ipvs"]["forwarded"] == pytest.approx(work["packets"], rel=0.03)
    napi = {each["device"]: each for each in found["probed"]["softirqs"]["napi"]}
    assert napi[NIC]["packets"] == pytest.approx(work["packets"], rel=0.03)


def test_stacks_are_those_of_a_director(loaded):
    found, _, _ = loaded
    stacks = found["probed"]["cpu"]["stacks"]
    frames = {frame for stack in stacks for frame in stack["frames"]}

    assert any(frame.startswith("ip_vs_in") for frame in frames)
    assert any(re.match(r"ip_vs_\w*xmit", frame) for frame in frames)
    # 99 samples a second on each of two CPUs.
    assert sum(stack["samples"] for stack in stacks) == pytest.approx(2 * 99 * 30, rel=0.05)
    phases = {phase["name"] for phase in found["work"]["phases"]}
    assert {"driver", "IPVS", "interrupt entry and exit", f"handler {NIC} (irq 10)"} <= phases


def test_the_verdict_names_the_waste_and_its_forecast(loaded):
    found, _, _ = loaded
    (wasted,) = found["work"]["wasted"]

    assert sorted(wasted["handlers"]) == sorted(PARTNERS)
    assert wasted["none"] == wasted["calls"]
    assert found["work"]["forecast"]["irqs"] == [10]
    assert 0 < found["work"]["forecast"]["ratio"] < 1
    assert "irq 10" in found["bottleneck"]["paragraph"]


def test_a_lock_that_two_cpus_want_is_seen(tmp_path):
    edit = (
        "i=0; while [ $i -lt 150 ]; do"
        " taskset -c {cpu} ipvsadm -E -t 198.18.0.100:80 -s {how}; i=$((i+1)); done"
    )
    both = f"({edit.format(cpu=0, how='rr')}) & ({edit.format(cpu=1, how='rr')}) & wait"
    found = profile("--probes locks", "--", "sh", "-c", f"'{both}'")

    waits = {one["lock"]: one for one in found["probed"]["locks"]["locks"]}
    assert "__ip_vs_mutex" in waits
    assert waits["__ip_vs_mutex"]["kind"] == "mutex"
    assert waits["__ip_vs_mutex"]["waits"] > 0


def test_without_lock_tracepoints_kprobes_see_the_spin_locks(tmp_path):
    # A kernel before 5.19, as far as the choice of a way can tell.
    script = (
        "mount -t tmpfs none /sys/kernel/tracing/events/lock;"
        " dirtune profile --duration 5 --probes locks --max-overhead 90 --format json"
    )
    with load(tmp_path, 60):
        text = on("lb1", f"unshare -m sh -c '{script}' 2>/dev/null")
    found = json.loads(text[text.index("{") :])

    (cost,) = found["probed"]["costs"]
    assert cost["way"] == "kprobes on native_queued_spin_lock_slowpath"
    assert found["probed"]["locks"]["lost"] == 0
    assert {one["kind"] for one in found["probed"]["locks"]["locks"]} <= {"spinlock"}


def test_a_budget_is_kept_by_taking_probes_off(tmp_path):
    with load(tmp_path, 90):
        text = on(
            "lb1",
            "dirtune profile --duration 6 --probes irq,softirq --max-overhead 0.01 --format json"
            " 2>/dev/null",
        )
    found = json.loads(text[text.index("{") :])

    assert all(cost["shed"] for cost in found["probed"]["costs"])
    assert all(cost["seconds"] < 5 for cost in found["probed"]["costs"])
    assert "was taken off" in found["bottleneck"]["paragraph"]
    assert found["probed"]["handlers"]["seconds"] < 5


@pytest.mark.parametrize("signal", ["INT", "TERM", "KILL"])
def test_however_it_ends_nothing_stays_attached(signal):
    start = (
        "dirtune profile --duration 300 --probes irq >/tmp/out 2>/tmp/said & echo $! >/tmp/pid;"
        " until grep -q measuring /tmp/said; do sleep 0.2; done"
    )
    # A shell without job control has its background jobs ignore the interrupt.
    on("lb1", f"setsid bash -mc '{start}'")
    assert int(on("lb1", PROGRAMS)) > 0
    on("lb1", f"kill -s {signal} $(cat /tmp/pid)")

    end = time.monotonic() + 30
    while int(on("lb1", PROGRAMS)):
        assert time.monotonic() < end, "its programs are still there"
        time.sleep(0.5)
    assert "Traceback" not in on("lb1", "cat /tmp/said")
