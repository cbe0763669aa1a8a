"""`dirtune doctor` answers on any machine, in each format."""

import json

from click.testing import CliRunner

from dirtune.cli import main
from dirtune.probes.prebuilt import HERE

PROBES = {path.name.partition(".")[0] for path in HERE.glob("*.bpf.c")}
FEATURES = ["audit", "probe", "remote", "bench", "lvs", "report", "lab"]


def doctor(*args):
    result = CliRunner().invoke(main, ["doctor", *args])
    assert result.exit_code == 0, result.output
    return result.output


def test_json_names_its_schema_and_every_feature():
    answer = json.loads(doctor("--format", "json"))

    assert answer["schema"] == "dirtune/doctor/1"
    assert [f["name"] for f in answer["features"]] == FEATURES
    # What works has no obstacle, and what does not has one with a remedy.
    assert all(f["works"] is not bool(f["obstacles"]) for f in answer["features"])
    assert all(o["why"] and o["remedy"] for f in answer["features"] for o in f["obstacles"])
    assert {ladder["probe"] for ladder in answer["probes"]} == PROBES
    for ladder in answer["probes"]:  # what is used is the first rung that nothing is in the way of
        free = [rung["source"] for rung in ladder["rungs"] if not rung["obstacles"]]
        assert ladder["uses"] == (free or [None])[0]


def test_table_has_a_line_for_each_feature():
    lines = doctor().splitlines()

    assert [line.split()[0] for line in lines if not line.startswith((" ", "kernel"))] == FEATURES


def test_markdown_is_a_table():
    assert doctor("--format", "markdown").startswith("| feature")
