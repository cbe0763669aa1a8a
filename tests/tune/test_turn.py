"""The closed loop's decisions, on trials and windows written by hand."""

import itertools
import json
import math
import random
import statistics

import msgspec
import pytest
from click.testing import CliRunner

from dirtune.analyse.handlers import HandlerCalls, HandlerWindow
from dirtune.analyse.probed import NotProbed, Probed
from dirtune.analyse.profile import Profile
from dirtune.analyse.run import Trial
from dirtune.analyse.verdict import sentence
from dirtune.bench.trial import Result
from dirtune.cli import main
from dirtune.errors import NoVerdict, TrialError
from dirtune.host import RecordedHost
from dirtune.plan.metrics import METRICS
from dirtune.render.blocks import Table
from dirtune.render.report_document import comparison
from dirtune.snapshot import take
from dirtune.tune import turn
from tests.plans import plan_of

PLAN = plan_of(director="lb1", rates=[200])
INTERRUPTS = """\
           CPU0
 10:       4000    XT-PIC      aic7xxx, eth0
 11:        500    XT-PIC      uhci_hcd:usb1
"""
# 4,000 interrupts, at each of which the SCSI driver spent 5 us for nothing: 20 ms.
WINDOW = HandlerWindow(
    seconds=20.0,
    handlers=(
        HandlerCalls(10, "eth0", 4000, 0, 0, 24_000_000, 0, 9000),
        HandlerCalls(10, "aic7xxx", 4000, 4000, 0, 20_000_000, 20_000_000, 7000),
    ),
    line_counts={"10": 4000},
)
TRIAL = Trial(
    id="",
    arm="A",
    kind="judged",
    pair=None,
    started="",
    offered_rate=200,
    window_s=15,
    intended=0,
    attempted=0,
    replied=0,
    failed={},
    reply_rate=200,
    latency=None,
    validity="valid",
    reason=None,
    metrics={},
    counters={},
    settle_s=3,
    settled=True,
)


def trial(name, **changes):
    return msgspec.structs.replace(TRIAL, id=name, **changes)


def test_the_forecast_is_the_needless_time_of_a_connection():
    snapshot = take(RecordedHost({"/proc/interrupts": INTERRUPTS}, {}))
    profiled = trial("profile-A", kind="profiled", counters={"connections": 1000})
    quiet = trial("first", kind="baseline", metrics={"cpu_us_per_connection": 200.0})

    found = turn.foreseen(snapshot, WINDOW, profiled, quiet)

    assert (found.irqs, found.handlers) == ((10,), ("aic7xxx",))
    assert found.wasted_us_per_connection == pytest.approx(20)  # 20 ms over 1,000 connections
    assert found.ratio == pytest.approx(0.9)  # 20 of 200 us
    assert found.wasted_cpu_percent == pytest.approx(0.1)  # 20 ms of 20 s


def test_a_director_without_the_probe_says_what_it_lacks():
    lacks = NotProbed("irq", "no headers of kernel 6.1", "apt install linux-headers-6.1", "")
    profile = Profile(20.0, (), probed=Probed(20.0, missing=(lacks,)))

    said = turn._why_not(Result(trial("profile-A"), {}, profile))

    assert said == "no headers of kernel 6.1: apt install linux-headers-6.1"
    assert turn._why_not(Result(trial("x", reason="c1 was lost"), {}, None)) == "c1 was lost"


def kept(tmp_path, trials, primary="cpu_us_per_connection", rates=(), still=()):
    compare = msgspec.structs.replace(PLAN.compare, primary=primary, rates=rates)
    asked = msgspec.structs.replace(PLAN, compare=compare)
    trying = turn.Trying(
        asked, ("irq/shared-with-nic",), "A title", "dirtune tune", still=tuple(still)
    )
    store = turn.begin(trying, tmp_path)
    for each in trials:
        store.keep(Result(each, {}))
    turn.judged(trying, store)
    return store.run


def aa(wild, rate=200.0):
    """An A/A run whose arms are apart by +-*wild* (a share) in each metric, to and fro."""
    for each in pairs(1000, 1000):
        apart = 1 + wild * (-1) ** each.pair * (each.arm == "B")
        metrics = {"cpu_us_per_connection": 1000 * apart, "reply_rate": 200 * apart}
        changes = {"id": f"{rate}-{each.id}", "pair": int(rate) + each.pair}
        yield msgspec.structs.replace(each, metrics=metrics, offered_rate=rate, **changes)


def pairs(before, after, count=8):
    for number in range(1, count + 1):
        for arm, cost in (("A", before), ("B", after)):
            # the same wobble in both arms of a pair
            metrics = {"cpu_us_per_connection": cost + number, "reply_rate": 200.0}
            yield trial(f"p{number:02}-1-{arm}", arm=arm, pair=number, metrics=metrics)


def test_an_effect_in_every_pair_is_the_verdict(tmp_path):
    run = kept(tmp_path, pairs(1000, 900), still=aa(0.034))

    primary, replies = run.comparisons
    assert (primary.metric, primary.verdict, primary.noise_floor) == (
        "cpu_us_per_connection",
        "improved",
        # t(7; 0.975) = 2.365 by the deviation of 8 times +-x, 1.069 x, over the root of 8.
        pytest.approx(0.0304, abs=1e-3),
    )
    assert (replies.metric, replies.verdict, replies.noise_floor) == (
        "reply_rate",
        "equivalent",
        primary.noise_floor,
    )
    assert run.verdict == sentence(primary)


def test_of_several_rates_the_first_decides_and_the_others_are_told(tmp_path):
    slower = [
        msgspec.structs.replace(each, id=f"+{each.id}", pair=100 + each.pair, offered_rate=301.0)
        for each in pairs(1000, 1100)
    ]
    still = [*aa(0.034), *aa(0.056, 301.0)]
    run = kept(tmp_path, [*pairs(1000, 900), *slower], rates=(200.0, 300.0), still=still)

    assert [(c.metric[:5], c.rate, c.verdict, c.pairs) for c in run.comparisons] == [
        ("cpu_u", 200.0, "improved", 8),
        ("reply", 200.0, "equivalent", 8),
        ("cpu_u", 300.0, "regressed", 8),
        ("reply", 300.0, "equivalent", 8),
    ]
    floors = [pytest.approx(floor, abs=2e-3) for floor in (0.0304, 0.0304, 0.05, 0.05)]
    assert [c.noise_floor for c in run.comparisons] == floors
    first, _, second, _ = run.comparisons
    assert run.verdict == f"{sentence(first)} {sentence(second)}"
    blocks = comparison(run.comparisons, "")
    header = next(block for block in blocks if isinstance(block, Table)).header
    assert [cell.split()[-1] for cell in header[1:4:2]] == ["200/s", "300/s"]


def test_an_effect_below_the_noise_floor_is_none(tmp_path):
    assert (
        kept(tmp_path, pairs(1000, 975), still=aa(0.034)).comparisons[0].verdict == "inconclusive"
    )


def test_without_an_a_a_run_the_runs_own_neighbours_are_the_floor_of_tune_and_compare(tmp_path):
    """In A B, B A, A B, what follows each other in one arm was measured with nothing changed."""
    costs = [1000, 900, 918, 1003, 1021, 905, 899, 990, 1004, 911, 893, 1012, 1001, 902, 915, 1008]
    arms = "ABBA" * 4
    run = kept(
        tmp_path,
        (
            trial(
                f"t{n}", arm=arm, pair=n // 2 + 1, metrics={"cpu_us_per_connection": float(cost)}
            )
            for n, (arm, cost) in enumerate(zip(arms, costs, strict=True))
        ),
    )

    (primary,) = run.comparisons
    # B B, A A, B B and so on: the later by the earlier, and then the other way round.
    close = [
        (900, 918),
        (1021, 1003),
        (905, 899),
        (1004, 990),
        (911, 893),
        (1001, 1012),
        (902, 915),
    ]
    logs = [math.log(after / before) for before, after in close]
    half = 2.447 * statistics.stdev(logs) / math.sqrt(7)  # t(6; 0.975), of any table
    low, high = (math.exp(statistics.fmean(logs) + side * half) for side in (-1, 1))
    assert primary.noise_floor == pytest.approx(max(high - 1, 1 - low), rel=1e-3)
    assert primary.own_floor
    assert primary.verdict == "improved"
    assert f"the noise floor of this run is {100 * primary.noise_floor:.1f} %" in run.verdict
    words = ["compare", str(tmp_path / run.id), "--format", "json"]
    said = json.loads(CliRunner().invoke(main, words).stdout)
    assert said == json.loads(msgspec.json.encode(primary))
    table = CliRunner().invoke(main, ["compare", str(tmp_path / run.id)]).stdout
    assert "noise floor (this run)" in table


@pytest.mark.parametrize("still", ["without", "with"])
@pytest.mark.parametrize("rates", [(), (200.0, 300.0)])
def test_compare_says_of_the_same_trials_what_tune_says(tmp_path, still, rates):
    """Every metric, some changed by more than the noise, some by less, one by chance."""
    draw = random.Random(20)
    effects = dict(zip(METRICS, (0.9, 0.97, 1.0, 1.03, 0.99, 0.95, 1.0, 1.02), strict=True))

    def trials(effects, spread):
        offered = (200.0, 301.0)[: len(rates) or 1]
        for rate, number, arm in itertools.product(offered, range(8), "AB"):
            metrics = {
                metric: 100 * (effect if arm == "B" else 1) * draw.uniform(1 - spread, 1 + spread)
                for metric, effect in effects.items()
            }
            changes = {"pair": int(rate) + number, "offered_rate": rate, "metrics": metrics}
            yield trial(f"{rate}-{number}-{arm}", arm=arm, **changes)

    noise = kept(tmp_path / "aa", trials(dict.fromkeys(METRICS, 1.0), 0.02), rates=rates)
    quiet = noise.trials if still == "with" else ()
    run = kept(tmp_path / "run", trials(effects, 0.015), rates=rates, still=quiet)

    for rate in rates or (None,):
        words = ["compare", str(tmp_path / "run" / run.id), "--all", "--format", "json"]
        words += ["--noise", str(tmp_path / "aa" / noise.id)] if quiet else []
        words += ["--rate", f"{rate:g}"] if rate else []
        told = json.loads(CliRunner().invoke(main, words).stdout)["comparisons"]
        own = [json.loads(msgspec.json.encode(c)) for c in run.comparisons if c.rate == rate]
        assert [{**each, "rate": rate} for each in told] == own
        assert {each["metric"] for each in own} == set(METRICS)
        assert {each["noise_floor"] is not None for each in own} == {bool(quiet)}
        assert len({each["verdict"] for each in own}) > 1


def test_a_secondary_effect_below_the_noise_floor_is_none(tmp_path):
    slower = [
        msgspec.structs.replace(
            each, metrics={**each.metrics, "reply_rate": {"A": 200.0, "B": 195.0}[each.arm]}
        )
        for each in pairs(1000, 900)
    ]
    replies = kept(tmp_path, slower, still=aa(0.034)).comparisons[1]

    assert (replies.metric, replies.verdict) == ("reply_rate", "inconclusive")
    assert replies.reason.startswith("the effect is within the noise floor of 3.")


def test_profiled_and_baseline_trials_are_not_judged(tmp_path):
    others = [
        trial("first", kind="baseline", metrics={"cpu_us_per_connection": 1.0}),
        trial("profile-B", kind="profiled", arm="B", metrics={"cpu_us_per_connection": 9999.0}),
    ]

    run = kept(tmp_path, [*others, *pairs(1000, 900)])

    assert run.comparisons[0].before == tuple(1000.0 + n for n in range(1, 9))
    assert len(run.trials) == 18


def test_a_campaign_without_a_measurement_says_where_it_is_kept(tmp_path):
    with pytest.raises(TrialError, match=str(tmp_path)):
        kept(tmp_path, [trial("p01-1-A", pair=1, validity="setup_error")])


def test_nothing_but_the_primary_metric_decides(tmp_path):
    with pytest.raises(NoVerdict, match="No trial measured connect_ms"):
        kept(tmp_path, pairs(1000, 900), primary="connect_ms")


def test_a_primary_metric_is_compared_once(tmp_path):
    run = kept(tmp_path, pairs(1000, 900), primary="reply_rate")

    metrics = [found.metric for found in run.comparisons]
    assert metrics == ["reply_rate", "cpu_us_per_connection"]


def test_each_judged_trial_says_how_long_the_others_will_take(tmp_path, monkeypatch):
    store = turn.begin(turn.Trying(PLAN, ("irq/shared-with-nic",), "T", "dirtune tune"), tmp_path)
    clock = iter([0.0, 30.0, 60.0, 90.0, 120.0])
    monkeypatch.setattr(turn.time, "monotonic", lambda: next(clock))
    lines = []
    keep = turn.keeping(store, lines.append, 4)
    noisy = {"validity": "noisy", "reason": "a program ran"}

    for name, changes in (("p01-1-A", {}), ("p01-2-B", noisy), ("p02-1-A", {}), ("p02-2-B", {})):
        keep(Result(trial(name, arm=name[-1], **changes), {}))

    assert lines[0].endswith("valid  (about 2 min left)")  # three trials of 30 s
    assert lines[1].endswith("noisy: a program ran  (about 3 min left)")  # three of 60 s
    assert lines[2].endswith("valid  (about 2 min left)")  # two of 45 s
    assert lines[3].endswith("valid  (less than 1 min left)")  # one of 40 s
