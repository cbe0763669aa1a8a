"""What `dirtune lvs` takes beside ipvsadm on a director: 1,000 services, 10,000 real servers.

Run by tests/bench_suite.py, or alone. Both sides are whole programs, from start to end, in turn;
prints ratios, asserts nothing. The lab's director is emulated, so what a plan takes on a real
machine is measured on this one, with the answers of the director's kernel played back.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib

from dirtune.lab import state

SERVICES, EACH = 1000, 10
ROUNDS = 3
DIRTUNE = (sys.executable, "-m", "dirtune")
# Runs on the director: name, and what to do before it untimed.
STEPS = (
    ("ipvsadm -R", "ipvsadm -C", "ipvsadm -R < /mnt/many.txt"),
    ("ipvsadm -Ln", ":", "ipvsadm -Ln > /dev/null"),
    ("show", ":", "dirtune lvs show > /dev/null"),
    ("plan", ":", "dirtune lvs plan /mnt/many.json > /dev/null"),
    ("plan, TOML", ":", "dirtune lvs plan /mnt/many.toml > /dev/null"),
    ("apply", "ipvsadm -C", "dirtune lvs apply /mnt/many.json --force vip > /dev/null"),
)
TIMER = """
import subprocess, sys, time
before, command = sys.argv[1:]
subprocess.run(before, shell=True, check=True)
began = time.monotonic()
subprocess.run(command, shell=True, check=True)
print(time.monotonic() - began)
"""
# On the director: what its kernel answers to every question that a reader asks.
RECORD = """
import pickle, sys
from dirtune.host import LiveHost
from dirtune.lvs import kernel
from dirtune.netlink import genl

said, dump, get = {}, genl.Socket.dump, genl.Socket.get
genl.Socket.dump = lambda *asked: said.setdefault(asked[1:], dump(*asked))
genl.Socket.get = lambda *asked: said.setdefault(asked[1:], get(*asked))
with kernel.opened(LiveHost()) as ipvs:
    ipvs.read()
pickle.dump(said, open("/mnt/said.pickle", "wb"))
"""
# Here: the same program with those answers.
REPLAY = """
import pickle, sys
from dirtune.cli import main
from dirtune.lvs import kernel
from dirtune.netlink import genl

said = pickle.load(open(sys.argv.pop(1), "rb"))
class Played:
    def __init__(self, *_): pass
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def dump(self, *asked): return said[asked]
    def get(self, *asked): return said[asked]
genl.Socket = Played
kernel.loaded = lambda host: True
main()
"""
SIZES = (1, 4)
"""The whole table and a quarter, for whether what is taken grows as it does."""
ROWS = (
    ("apply / ipvsadm -R", "apply", "ipvsadm -R", "3, aim 1.2"),
    ("show / ipvsadm -Ln", "show", "ipvsadm -Ln", "3"),
    ("plan, nothing to do / ipvsadm -Ln", "plan", "ipvsadm -Ln", "3"),
    ("the same plan as TOML / ipvsadm -Ln", "plan, TOML", "ipvsadm -Ln", "-"),
)


def dirtune(*words):
    return subprocess.run([*DIRTUNE, *words], capture_output=True, text=True, check=True).stdout


def text(services=SERVICES):
    """Return the table as `ipvsadm -R` reads it."""
    lines = []
    for number in range(services):
        high, low = divmod(number, 250)
        name = f"-t 10.0.{high}.{low + 1}:80"
        lines.append(f"-A {name} -s rr")
        # Direct routing: behind NAT a plan would look at this machine's routes and settings too.
        lines += (f"-a {name} -r 172.16.{n}.{low + 1}:80 -g -w 1" for n in range(EACH))
    return "\n".join(lines) + "\n"


def put(share):
    """Give the director the same table in each form."""
    (share / "many.txt").write_text(text())
    plan = dirtune("lvs", "import", str(share / "many.txt"))
    (share / "many.toml").write_text(plan)
    (share / "many.json").write_text(json.dumps(tomllib.loads(plan)))
    (share / "timer.py").write_text(TIMER)
    (share / "record.py").write_text(RECORD)
    for part in SIZES[1:]:
        (share / f"part{part}.txt").write_text(text(SERVICES // part))
        plan = dirtune("lvs", "import", str(share / f"part{part}.txt"))
        (share / f"part{part}.json").write_text(json.dumps(tomllib.loads(plan)))


def measure():
    """Return the seconds of each step, round by round."""
    taken = {name: [] for name, _, _ in STEPS}
    for _ in range(ROUNDS):
        for name, before, command in STEPS:
            taken[name].append(timed(before, command))
    return taken


def on(command):
    return dirtune("lab", "exec", "lb1", "--", command)


def timed(before, command):
    return float(on(f"python3 /mnt/timer.py '{before}' '{command}'"))


def parts():
    """Return the seconds of an apply and a show of each part of the table, by part."""
    found = {}
    for part in SIZES:
        plan = "many" if part == 1 else f"part{part}"
        apply = timed("ipvsadm -C", f"dirtune lvs apply /mnt/{plan}.json --force vip > /dev/null")
        found[part] = (apply, timed(":", "dirtune lvs show > /dev/null"))
    return found


def native(share):
    """Return the seconds that a plan with nothing to do takes here, the best of three."""
    on("ipvsadm -C; ipvsadm -R < /mnt/many.txt; python3 /mnt/record.py")
    argv = (sys.executable, "-c", REPLAY, share / "said.pickle", "lvs", "plan")
    took = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        done = subprocess.run(
            (*argv, share / "many.json"), capture_output=True, text=True, check=False
        )
        took.append(time.monotonic() - began)
        if done.stdout != "nothing to do\n":
            raise SystemExit(f"the answers played back are another table: {done}")
    return min(took)


def rows():
    """Bring a lab up, print a row for each ratio, and take it down."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["DIRTUNE_LAB"] = f"{place}/lab"
        try:
            dirtune("lab", "up", "--scenario", "separate")
            share = state.folder().share
            put(share)
            taken, sizes = measure(), parts()
            printed(taken, sizes)
            print(f"{'plan, nothing to do, on this machine, s':44} {native(share):6.2f}  (aim 1)")
        except subprocess.CalledProcessError as error:
            print(f"the configurator: {error.stderr.strip()}")
            return
        finally:
            dirtune("lab", "down")
            del os.environ["DIRTUNE_LAB"]


def printed(taken, sizes):
    """Print the ratios of what the director took."""
    for name, ours, yardstick, bound in ROWS:
        found = sorted(a / b for a, b in zip(taken[ours], taken[yardstick], strict=True))
        median = statistics.median(found)
        seconds = f"{statistics.median(taken[ours]):.1f} s"
        print(
            f"{name:44} {median:6.2f}  ({found[0]:.2f} to {found[-1]:.2f}; {seconds}; aim {bound})"
        )
    for place, name in enumerate(("apply", "show")):
        whole, quarter = (sizes[part][place] for part in SIZES)
        title = f"{name} of the whole / 4 times that of a quarter"
        print(f"{title:44} {whole / (4 * quarter):6.2f}  (1 is linear; less: its start counts)")


if __name__ == "__main__":
    rows()
