"""What a session says: a row for each fix, the rule, and what comes next."""

from dirtune.analyse.run import Comparison
from dirtune.render import tune

FOUND = Comparison(
    metric="cpu_us_per_connection",
    unit="us",
    better="lower",
    before=(),
    after=(),
    pairs=8,
    ratio=0.8123,
    interval=(0.79, 0.8345),
    test="sign-flip",
    p=0.008,
    noise_floor=None,
    minimum_detectable_effect=0.02,
    verdict="improved",
    reason=None,
)
KEPT = tune.Row(
    "nic/ring-below-max",
    "disruptive",
    "kept",
    "`improved` is kept",
    "../20260101-000000",
    ("give eth0 rx 4096 instead of 256",),
    FOUND,
    "Improved: CPU time per connection went to 0.812 times what it was.",
    journal="20260101T000000.000000Z",
)
OUT = tune.Row("irq/xtpic-mode", "reboot", "left out", "takes boots to judge", None)
OPEN = tune.Row("ipvs/sysctl-lost", "safe", None, "", None)
TOLD = tune.Told("lb1", "lb1", "2026-01-01", "dirtune tune", None, (KEPT, OUT, OPEN), ("a note",))


def test_a_row_for_each_fix_and_how_to_keep_it_over_a_boot():
    head, kept, out, open_, sentence, after = tune.table(TOLD).splitlines()

    assert head.split()[:2] == ["fix", "risk"]
    assert kept.split()[:3] == ["nic/ring-below-max", "disruptive", "0.812"]
    assert "0.790 to 0.835" in kept
    assert out.split()[-5:] == ["out", "takes", "boots", "to", "judge"]
    assert open_.split() == ["ipvs/sysctl-lost", "safe", "-", "-", "-", "not", "over", "-"]
    assert sentence == KEPT.sentence
    assert after.endswith(
        "on lb1: `dirtune rollback 20260101T000000.000000Z && "
        "dirtune fix apply nic/ring-below-max --persist`"
    )


def test_what_it_waits_for_is_said_and_nothing_is_said_too():
    told = tune.Told("lb1", "lb1", "", "", None, (OPEN,), waits="boot lb1, then --resume")

    assert tune.table(told).splitlines()[-1] == "boot lb1, then --resume"
    assert "nothing to do" in tune.table(tune.Told("lb1", "lb1", "", "", None, ()))


def test_the_report_leads_to_each_runs_own():
    text = tune.markdown(TOLD)

    assert text.startswith("# lb1\n\n2026-01-01 · `dirtune tune`\n\n| fix ")
    assert "- give eth0 rx 4096 instead of 256" in text
    assert "Kept: `improved` is kept." in text
    assert "(../20260101-000000/report.md)" in text
    assert text.endswith("- a note\n")
