"""The closed loop on a real director: several fixes, and one that needs boots; a campaign."""

import json

import pytest
from benches import dirtune, hang_up, in_lab, on

from dirtune.lab import state
from tests.plans import lab_plan_text

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("booted"), in_lab(("noapic",))]

WORDS = ("irq/shared-with-nic", "ipvs/sysctl-lost", "irq/xtpic-mode")


@pytest.fixture(scope="module", autouse=True)
def _lost(booted):
    asked = state.folder().share / "etc/sysctl.d/50-lvs.conf"
    asked.write_text("net.ipv4.vs.expire_nodest_conn=1\n")
    on("lb1", "sysctl -qw net.ipv4.vs.expire_nodest_conn=0")


def plan(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(lab_plan_text(warmup=2, window=8, rates=[150], pairs=6))
    return str(path)


def test_fixes_are_gone_through_and_the_director_is_left_as_the_rule_says(tmp_path):
    checks = [word for check in WORDS for word in ("--check", check)]
    told = ("--boots", "1", "--out", str(tmp_path), "--format", "json")

    hang_up("lb1")
    session = json.loads(dirtune("tune", plan(tmp_path), *checks, *told, ok=(0, 1)))

    attempts = {each["checks"][0]: each for each in session["attempts"]}
    assert next(iter(attempts)) == "irq/xtpic-mode", "what needs boots comes first"
    boots = attempts["irq/xtpic-mode"]
    assert (boots["outcome"], boots["comparison"]["verdict"]) == ("taken back", "inconclusive")
    run = json.loads((tmp_path / boots["run"] / "run.json").read_text())
    assert [t["id"] for t in run["trials"]] == [
        f"b{n}-{k}-{a}" for n, a in ((1, "A"), (2, "B")) for k in range(4)
    ]
    lines = [s["note"] for s in run["steps"] if s["note"].startswith("boot ")]
    assert ["noapic" in line for line in lines] == [True, False]
    # One boot more took it back: the line is shared again, and there is a fix to try. The same
    # boots read the file of settings, so that nothing was left to mend there.
    assert "noapic" in on("lb1", "cat /proc/cmdline")
    assert attempts["ipvs/sysctl-lost"]["outcome"] == "gone"
    partners = attempts["irq/shared-with-nic"]
    found = partners["comparison"]
    assert found["pairs"] == 6, found["reason"]
    assert (partners["outcome"] == "kept") == (found["verdict"] == "improved")
    line = on("lb1", "grep ' 10:' /proc/interrupts").split("XT-PIC")[1]
    assert (line.split() == ["enp0s16"]) == (partners["outcome"] == "kept")
    text = next(tmp_path.glob("*-tune/report.md")).read_text()
    for each in (boots, partners):
        assert f"(../{each['run']}/report.md)" in text
        assert (tmp_path / each["run"] / "report.html").exists()
