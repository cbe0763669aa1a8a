"""The report of a capture: names in it are shown, and obeyed by nobody."""

from collections import Counter

from dirtune.render.watch import metrics, report
from dirtune.watch.documents import Counts, Evidence, FiringDocument, Second, sentence
from tests.cli.test_hostile_names import EVIL, clean, inert


def firing(condition, name, value, unit="/s"):
    return FiringDocument("drops", condition, name, value, unit, 1.0)


def evidence(fired, *missing):
    return Evidence("2026-12-01T03:00:00.000+00:00", EVIL, "1", "6.1", fired, ("x",), (), missing)


def test_a_line_names_each_condition_with_its_largest_value():
    fired = (firing("a > 0/s on any", "1", 5), firing("a > 0/s on any", "3", 50))
    fired += (firing("b > 1 s", "", 1.5, "s"),)

    line = sentence(fired, {"a > 0/s on any": "CPU", "b > 1 s": "process"})

    assert line == "a > 0/s on any: 50/s on CPU 3 and 1 more; b > 1 s: 1.5 s"


def test_a_report_obeys_no_name():
    fired = (firing("net.rx_dropped > 0/s on any", EVIL, 5),)
    before = [Second("t", 0.0, 1.0, 50.0, watched={"net.rx_dropped": {"": 5.0, EVIL: 5.0}})]
    said = sentence(fired, {"net.rx_dropped > 0/s on any": "interface"})

    text = report(evidence(fired, f"the audit: {EVIL}"), said, before, None, None)

    clean(text)
    inert(text)
    assert "| firing | 50" in " ".join(text.split())


def test_what_did_not_fire_is_counted_as_zero():
    counts = Counts(Counter({"drops": 3}), captures=1, failed=0, last_s=1_800_000_000.0)

    rows = set(metrics(("drops", "overload"), counts).decode().splitlines())

    assert {
        'dirtune_watch_fired_total{when="drops"} 3.0',
        'dirtune_watch_fired_total{when="overload"} 0.0',
        'dirtune_watch_captures_total{result="kept"} 1.0',
        'dirtune_watch_captures_total{result="failed"} 0.0',
        "dirtune_watch_last_fired_timestamp_seconds 1.8e+09",
    } <= rows
    assert metrics(("drops",), Counts()).decode().count("timestamp") == 0
