"""What `dirtune lvs` takes beside ipvsadm on a director: 1,000 services, 10,000 real servers.

Run by tests/bench_suite.py, or alone while no lab is up. Both sides are whole programs, from their
start to their end, in turn; prints ratios, asserts nothing.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
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
ROWS = (
    ("apply / ipvsadm -R", "apply", "ipvsadm -R", "3, aim 1.2"),
    ("show / ipvsadm -Ln", "show", "ipvsadm -Ln", "3"),
    ("plan, nothing to do / ipvsadm -Ln", "plan", "ipvsadm -Ln", "3"),
    ("the same plan as TOML / ipvsadm -Ln", "plan, TOML", "ipvsadm -Ln", "-"),
)


def dirtune(*words):
    return subprocess.run([*DIRTUNE, *words], capture_output=True, text=True, check=True).stdout


def text():
    """Return the table as `ipvsadm -R` reads it."""
    lines = []
    for number in range(SERVICES):
        high, low = divmod(number, 250)
        name = f"-t 10.0.{high}.{low + 1}:80"
        lines.append(f"-A {name} -s rr")
        lines += (f"-a {name} -r 172.16.{n}.{low + 1}:80 -m -w 1" for n in range(EACH))
    return "\n".join(lines) + "\n"


def put(share):
    """Give the director the same table in each form."""
    (share / "many.txt").write_text(text())
    plan = dirtune("lvs", "import", str(share / "many.txt"))
    (share / "many.toml").write_text(plan)
    (share / "many.json").write_text(json.dumps(tomllib.loads(plan)))
    (share / "timer.py").write_text(TIMER)


def measure():
    """Return the seconds of each step, round by round."""
    taken = {name: [] for name, _, _ in STEPS}
    for _ in range(ROUNDS):
        for name, before, command in STEPS:
            argv = f"python3 /mnt/timer.py '{before}' '{command}'"
            taken[name].append(float(dirtune("lab", "exec", "lb1", "--", argv)))
    return taken


def rows():
    """Bring a lab up, print a row for each ratio, and take it down."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["DIRTUNE_LAB"] = f"{place}/lab"
        try:
            dirtune("lab", "up", "--scenario", "separate")
            put(state.folder().share)
            taken = measure()
        except subprocess.CalledProcessError as error:
            print(f"the configurator: {error.stderr.strip()}")
            return
        finally:
            dirtune("lab", "down")
            del os.environ["DIRTUNE_LAB"]
    for name, ours, yardstick, bound in ROWS:
        found = sorted(a / b for a, b in zip(taken[ours], taken[yardstick], strict=True))
        median = statistics.median(found)
        seconds = f"{statistics.median(taken[ours]):.1f} s"
        print(
            f"{name:44} {median:6.2f}  ({found[0]:.2f} to {found[-1]:.2f}; {seconds}; aim {bound})"
        )


if __name__ == "__main__":
    rows()
