"""The director booted anew for the cells of a matrix: the standard kernel and rt, one CPU and two.

Expected values are the director's own: uname(1) and nproc(1) while a cell is measured.
"""

import json
import subprocess
import time

import pytest
from benches import DIRTUNE, hang_up, in_lab, on, plan

from dirtune.lab import state

TWO_SERVERS = ("separate", "--real-servers", "2")
pytestmark = [pytest.mark.long, pytest.mark.usefixtures("booted"), in_lab(TWO_SERVERS)]

MATRIX = """
[matrix]
kernel = ["standard", "rt"]
cpus = [1, 2]
"""
CELLS = {f"kernel={kernel},cpus={cpus}" for kernel in ("standard", "rt") for cpus in (1, 2)}


def test_each_cell_is_measured_on_the_director_it_names(tmp_path):
    asked = plan(tmp_path, more=MATRIX, rates=[100], retries=2)
    argv = [*DIRTUNE, "bench", "run", asked, "--out", str(tmp_path), "--format", "json"]
    # Into files: nobody reads a pipe before the run is over, and this is more than one holds.
    with (tmp_path / "run").open("w") as printed, (tmp_path / "said").open("w") as said:
        bench = subprocess.Popen(argv, stdout=printed, stderr=said)
        seen = watched(bench, tmp_path / "said")
    run = json.loads((tmp_path / "run").read_text())

    assert bench.returncode == 0
    trials = {t["cell"]: t for t in run["trials"] if t["kind"] == "judged"}
    print(json.dumps({cell: figures(trial) for cell, trial in trials.items()}, indent=1))
    assert trials.keys() == CELLS
    assert {t["cell"] for t in run["trials"] if t["kind"] == "observed"} == CELLS
    for cell, trial in trials.items():
        assert trial["validity"] == "valid", trial["reason"]
        assert trial["reply_rate"] == pytest.approx(100, rel=0.1)
        assert seen[cell] == ("kernel=rt" in cell, cell[-1])
    assert state.folder().spec().cpus == 1, "the lab is again what it was"
    hang_up("lb1")
    assert "-rt-" not in on("lb1", "uname -r")


def watched(bench, said):
    """While a cell is measured, whether its kernel is rt and how many CPUs it has, by cell."""
    seen = {}
    while bench.poll() is None:
        cell = next((r[:-1] for r in reversed(rows(said)) if r[:-1] in CELLS), None)
        if cell is not None and cell not in seen and loads():
            hang_up("lb1")  # it was booted meanwhile
            kernel, cpus = on("lb1", "uname -r; nproc").split()
            seen[cell] = ("-rt-" in kernel, cpus)
        time.sleep(1)
    return seen


def rows(path):
    return path.read_text().splitlines()


def loads():
    argv = [*DIRTUNE, "lab", "exec", "c1", "--", "pgrep -f '^h2load.*[r]ate-period'"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def figures(trial):
    names = ("cpu_us_per_connection", "interrupts_per_connection", "director_idle_percent")
    known = {name: round(trial["metrics"][name], 2) for name in names}
    return {"reply_rate": trial["reply_rate"], "p50_ms": trial["latency"]["p50_ms"], **known}
