"""What the probes cost on a real director, beside bcc's own tools; prints, asserts nothing.

Run by `make bench`, as root. One boot of the crowded line; load at a fixed rate. Nanoseconds per
run of a program are the kernel's own count (bpf_enable_stats()), of both on the same load in turn.
`bench_lab.py pairs` compares reply rate and CPU per connection with all probes on against off, as
interleaved pairs; some ten minutes. Rows are named `prices`, `locks`, `pairs`.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import msgspec
from plans import lab_plan_text

from dirtune import plan as plans
from dirtune import remote
from dirtune.analyse import compare
from dirtune.analyse.arms import arms_of
from dirtune.bench import campaign, rig
from dirtune.lab import state

DIRTUNE = (sys.executable, "-m", "dirtune")
ROUNDS = 3
WINDOW_S = 8
PAIRS = 6
PEERS = {"irq": "hardirqs-bpfcc", "softirq": "softirqs-bpfcc"}
ALONE = ("cpu", "drops", "ipvs")
# Two CPUs set IPVS's timeouts to what they are: each takes __ip_vs_mutex for it. Nice, for probes
# are compiled meanwhile.
CONTEND = """\
cat >/tmp/contend.py <<'END'
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    s.setsockopt(socket.IPPROTO_IP, 1152 + 10, bytes(12))
END
for cpu in 0 1; do
  nice -n 19 taskset -c $cpu python3 /tmp/contend.py {seconds} >/dev/null 2>&1 </dev/null & echo $!
done
"""
# Runs a tool of bcc's for some seconds of measuring, and prints what its programs cost.
BESIDE = """\
import ctypes, os, pathlib, subprocess, sys, time
bpf = ctypes.CDLL("libbpf.so.1")
bpf.bpf_enable_stats(0)
tool = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
def costs():
    found = {}
    for path in pathlib.Path(f"/proc/{tool.pid}/fdinfo").glob("*"):
        try:
            rows = dict(row.split(":", 1) for row in path.read_text().splitlines())
        except (OSError, ValueError):
            continue
        if "run_cnt" in rows:
            found[rows["prog_id"]] = int(rows["run_time_ns"]), int(rows["run_cnt"])
    return [sum(each) for each in zip(*found.values())] if found else [0, 0]
end = time.monotonic() + 120
while not costs()[1] and tool.poll() is None and time.monotonic() < end:
    time.sleep(0.2)
before = costs()
time.sleep(float(sys.argv[1]))
after = costs()
tool.kill()
said = tool.stderr.read().decode().strip().splitlines()
print(after[0] - before[0], after[1] - before[1], said[-1] if said else "")
"""


def dirtune(*words):
    """Run a command of ours and return what it printed."""
    return subprocess.run([*DIRTUNE, *words], stdout=subprocess.PIPE, text=True, check=True).stdout


def on(node, command):
    """Run *command* on a node of the lab."""
    return dirtune("lab", "exec", node, "--", command)


@contextmanager
def lab(*options):
    """Boot the crowded line and take it down again."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DIRTUNE_LAB"] = f"{folder}/lab"
        os.environ["DIRTUNE_SSH_CONFIG"] = f"{folder}/lab/ssh_config"
        try:
            dirtune("lab", "up", "--scenario", "crowded", *options)
            on("lb1", f"cat >/tmp/beside.py <<'END'\n{BESIDE}END")
            yield Path(folder)
        finally:
            dirtune("lab", "down")


@contextmanager
def load(folder, seconds):
    """Let the plan's load run while the context does."""
    (folder / "plan.toml").write_text(lab_plan_text(window=seconds, repeats=1))
    argv = [*DIRTUNE, "bench", "run", str(folder / "plan.toml"), "--out", str(folder / "out")]
    bench = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not on("c1", "pgrep -f 'h2load.*[r]ate-period' || true").strip():
            time.sleep(0.5)
        yield
    finally:
        bench.terminate()
        bench.wait(30)


def ours(probe):
    """Return nanoseconds and runs of our probe's programs, and the seconds until it measured."""
    argv = f"dirtune profile --duration {WINDOW_S} --probes {probe} --max-overhead 90"
    began = time.monotonic()
    text = on("lb1", f"{argv} --format json 2>/dev/null")
    took = time.monotonic() - began - WINDOW_S
    (cost,) = json.loads(text)["probed"]["costs"]
    return cost["ns"], cost["events"], took


def theirs(tool):
    """Return the same of bcc's tool, and its complaint if it did not run."""
    interval = {"klockstat-bpfcc": f"-d {2 * WINDOW_S}"}.get(tool, f"{10 * WINDOW_S} 1")
    said = on("lb1", f"/usr/bin/python3 /tmp/beside.py {WINDOW_S} {tool} {interval}")
    ns, runs, complaint = said.split(" ", 2)
    return int(ns), int(runs), complaint.strip()


def beside(probe, tool):
    """Print the costs of our probe and of bcc's tool, in turn on one load, and their ratios."""
    mine, peers, loads, complaint = (0, 0), (0, 0), [], ""
    for _ in range(ROUNDS):
        ns, runs, took = ours(probe)
        mine = mine[0] + ns, mine[1] + runs
        loads.append(took)
        ns, runs, complaint = theirs(tool)
        peers = peers[0] + ns, peers[1] + runs
    print(f"{probe}: loaded and attached in {min(loads):.1f} s (emulated)")
    if not mine[1] or not peers[1]:
        silent = tool if mine[1] else f"the {probe} probe (nothing happened)"
        print(f"{probe}: no ratio: {silent} measured nothing {complaint}".rstrip())
        return
    of_run = [ns / runs for ns, runs in (mine, peers)]
    of_second = [ns / (ROUNDS * WINDOW_S * 1e3) for ns, _ in (mine, peers)]
    for name, (one, other), unit in (("run", of_run, "ns"), ("second", of_second, "us")):
        label = f"{probe}: {unit} per {name} / {tool}"
        print(f"{label:44} {one / other:6.2f}  ({one:.0f} / {other:.0f} {unit})")


async def pairs(folder):
    """Print reply rate and CPU per connection with all probes on (B) against off (A)."""
    plan = plans.read(state.folder().plan)
    plan = msgspec.structs.replace(
        plan,
        settle=msgspec.structs.replace(plan.settle, max="10s"),
        load=msgspec.structs.replace(plan.load, pairs=PAIRS),
    )
    kept, probes = {}, []

    def keep(result):
        trial = kept[result.trial.id] = result.trial
        print(f"{trial.id} {trial.arm} {trial.validity}: {trial.reason}", file=sys.stderr)

    async with rig.opened(plan) as nodes:
        await nodes.ready()
        config = Path(plan.ssh_config)
        async with await remote.connect(plan.director.host, ssh_config=config) as director:

            async def switch(arm):
                while probes:
                    await probes.pop().end()
                if arm == "B":
                    script = "dirtune profile --duration 3600 --max-overhead 90 2>&1"
                    process = await director.start(script)
                    probes.append(process)
                    while (await process.line(timeout_s=180)).strip() != "measuring":
                        pass

            await campaign.pairs(nodes, plan, switch, keep)
            await switch("A")
    for metric in ("reply_rate", "cpu_us_per_connection"):
        arms = arms_of(tuple(kept.values()), metric)
        found = compare.compare(metric, arms, threshold=0.01)
        print(
            f"{f'probes on / off, {metric}':44} {found.ratio:6.3f}  "
            f"({found.interval[0]:.3f} to {found.interval[1]:.3f}, {found.pairs} pairs, "
            f"{found.verdict})"
        )


def one_cpu(wanted):
    """Print what a director with one CPU shows."""
    with lab() as folder:
        if "pairs" in wanted:
            asyncio.run(pairs(folder))
        if "prices" in wanted:
            with load(folder, 900):
                prices()


def prices():
    """Print what every probe costs, and those that have a peer of bcc's beside it."""
    for probe, tool in PEERS.items():
        beside(probe, tool)
    for probe in ALONE:
        ns, runs, took = ours(probe)
        of_run = f"{ns / runs:.0f} ns a run" if runs else "nothing happened"
        print(f"{probe}: loaded and attached in {took:.1f} s (emulated), {of_run}")


def locks():
    """Print what the locks probe costs where two CPUs want one mutex."""
    with lab("--cpus", "2"):
        pids = on("lb1", CONTEND.format(seconds=900)).split()
        beside("locks", "klockstat-bpfcc")
        on("lb1", f"kill {' '.join(pids)}")


def main():
    """Run the rows that are named, or all but the pairs."""
    sys.stdout.reconfigure(line_buffering=True)
    wanted = sys.argv[1:] or ["prices", "locks"]
    if {"pairs", "prices"} & set(wanted):
        one_cpu(wanted)
    if "locks" in wanted:
        locks()


if __name__ == "__main__":
    main()
