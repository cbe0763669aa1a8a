"""The whole demonstration with its A/A run and its reboots; most of an hour."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.long


def test_the_full_demo_judges_pairs_noise_and_boots(tmp_path):
    argv = [sys.executable, "-m", "dirtune", "lab", "demo", "--full", "--out", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    runs = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*/run.json"))]
    noise, pairs, boots = runs
    assert noise["title"].startswith("A/A")
    assert noise["comparisons"][0]["noise_floor"] > 0
    assert pairs["comparisons"][0]["pairs"] in {7, 14}
    assert {trial["arm"] for trial in pairs["trials"] if trial["kind"] == "peak"} == {"A", "B"}
    assert "Peak on the director's clock" in pairs["verdict"]
    assert pairs["comparisons"][0]["noise_floor"] == noise["comparisons"][0]["noise_floor"]
    partners = {h["handler"] for h in pairs["handlers"]["before"]["handlers"] if h["irq"] == 10}
    assert partners == {"enp0s16", "i801_smbus", "sym53c8xx"}
    after = {h["handler"] for h in pairs["handlers"]["after"]["handlers"] if h["irq"] == 10}
    assert after == {"enp0s16"}
    (boot,) = [each for each in boots["comparisons"] if each["metric"] == "cpu_us_per_connection"]
    assert (len(boot["before"]), len(boot["after"])) == (5, 5)
    assert boot["interval"][0] < boot["ratio"] < boot["interval"][1]
    for run in runs:
        assert (tmp_path / run["id"] / "report.html").exists()
        assert run["verdict"] in done.stdout
