"""`dirtune tune`: what is asked of a session, what it prints, and how it says what is wrong."""

import json
import sys

import msgspec
import pytest
from click.testing import CliRunner

from dirtune.bench.trial import Result
from dirtune.cli import main
from dirtune.tune import decide, session, turn
from dirtune.tune.decide import Attempt, Trying
from tests.tune.test_decide import COMPARISON
from tests.tune.test_turn import PLAN, pairs

DIRECTOR = '[director]\nhost = "lb1"\n[[services]]\nvip = "198.18.0.100"\nport = 80\n'
LOAD = '[[clients]]\nhost = "c1"\n[load]\nrates = [200]\npairs = 12\n'


@pytest.fixture
def asked(monkeypatch):
    """What a session was begun with; it is over at once, with a fix that made it worse."""
    seen = {}

    async def begin(tune, wanted):
        seen.update(tune=tune, wanted=wanted)
        found = decide.Session("x", "now", wanted.command, "0", "lb1", {}, ())
        folder = tune.out / "x-tune"
        folder.mkdir(parents=True)
        return session.Kept(folder, found)

    async def go_on(tune, kept):
        worse = msgspec.structs.replace(COMPARISON, verdict="regressed", ratio=1.2)
        over = Attempt(("nic/x",), outcome="taken back", why="`regressed` is not kept")
        failed = Attempt(("nic/y",), outcome="failed", why="lb1: dirtune: irq 10: goes to CPU 1")
        over = msgspec.structs.replace(over, comparison=worse, sentence="Regressed: ...")
        kept.save(
            msgspec.structs.replace(
                kept.session, attempts=(over, failed)[: seen.get("attempts", 1)]
            )
        )
        return seen.get("done", True)

    monkeypatch.setattr(session, "begin", begin)
    monkeypatch.setattr(session, "go_on", go_on)
    return seen


def tune(*words):
    done = CliRunner().invoke(main, ["tune", *words])
    assert "Traceback" not in done.output
    return done


def plan(tmp_path, text=DIRECTOR + LOAD):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return str(path)


def test_a_regression_is_exit_status_1_and_the_report_lies_beside_the_session(asked, tmp_path):
    out = tmp_path / "out"

    done = tune(
        plan(tmp_path), "--out", str(out), "--check", "nic/ring-below-max", "--keep-equivalent"
    )

    assert done.exit_code == 1
    assert "1.200" in done.stdout
    assert "Regressed: ..." in (out / "x-tune/report.md").read_text()
    wanted, given = asked["wanted"], asked["tune"]
    assert (wanted.wishes.words, wanted.keep_equivalent) == (("nic/ring-below-max",), True)
    assert (given.plan.load.pairs, given.boots, given.boot) == (12, 5, None)


def test_json_is_the_session_and_a_wait_for_a_boot_is_said(asked, tmp_path):
    told = json.loads(
        tune(plan(tmp_path), "--out", str(tmp_path / "a"), "--format", "json").stdout
    )
    assert (told["schema"], told["attempts"][0]["outcome"]) == ("dirtune/tune/1", "taken back")

    asked["done"] = False
    done = tune(plan(tmp_path), "--out", str(tmp_path / "b"))
    assert "boot lb1, then run the same command with --resume" in done.stdout


def test_a_fix_that_could_not_be_tried_is_exit_status_2(asked, tmp_path):
    asked["attempts"] = 2

    done = tune(plan(tmp_path), "--out", str(tmp_path / "out"))

    assert done.exit_code == 2
    assert "goes to CPU 1" in done.stdout


def test_live_traffic_needs_no_load_in_the_plan(asked, tmp_path):
    done = tune(plan(tmp_path, DIRECTOR), "--live", "30", "--out", str(tmp_path / "out"))

    assert done.exit_code == 1, done.output
    found = asked["tune"].plan
    assert (found.load.window_s, found.load.pairs, found.hosts) == (30, 8, ("lb1",))
    assert asked["wanted"].wishes.live
    done = tune(plan(tmp_path, DIRECTOR), "--out", str(tmp_path / "other"))
    assert done.exit_code == 2, "without --live it does"


def test_live_traffic_is_compared_as_the_plan_says(asked, tmp_path):
    compare = '[compare]\nprimary = "cpu_us_per_packet"\nthreshold = 5\n'
    path, out = plan(tmp_path, DIRECTOR + compare), str(tmp_path / "out")

    assert tune(path, "--live", "30", "--out", out).exit_code == 1
    found = asked["tune"].plan.compare
    assert (found.primary, found.threshold) == ("cpu_us_per_packet", 5)

    for metric, said in {
        "latency_p99_ms": "compare.primary: latency_p99_ms cannot be used with --live",
        "cpu": "compare.primary: cpu is not a metric. Choose one of cpu_us_per_connection, ",
    }.items():
        path = plan(tmp_path, DIRECTOR + compare.replace("cpu_us_per_packet", metric))
        done = tune(path, "--live", "30", "--out", out)
        assert (done.exit_code, said in done.stderr) == (2, True), done.stderr
    done = tune(plan(tmp_path, f"{DIRECTOR}{compare}rates = [200]\n"), "--live", "30")
    assert "compare.rates cannot be used with --live" in done.stderr


@pytest.fixture
def aa(tmp_path):
    """An A/A run at 200/s and 400/s, twice as wild there."""
    trials = []
    for rate, wild in ((200, 0.01), (400, 0.02)):
        for each in pairs(1000, 1000):
            value = 1000 * (1 + wild * (-1) ** each.pair * (each.arm == "B"))
            own = {"id": f"{rate}-{each.id}", "pair": rate + each.pair, "offered_rate": rate}
            metrics = {"cpu_us_per_connection": value}
            trials.append(msgspec.structs.replace(each, metrics=metrics, **own))
    store = turn.begin(turn.Trying(PLAN, (), "A/A", "dirtune bench run --aa"), tmp_path / "aa")
    for each in trials:
        store.keep(Result(each, {}))
    return str(store.folder)


@pytest.mark.parametrize(
    ("words", "planned"),
    [
        ((), (12, 24)),
        (("--pairs", "10"), (10, None)),
        (("--pairs", "10", "--at-most", "20"), (10, 20)),
        (("--at-most", "24"), (12, 24)),
        (("--live", "30"), (8, None)),
        (("--live", "30", "--at-most", "16"), (8, 16)),
    ],
)
def test_the_looks_of_the_plan_and_of_the_options(asked, tmp_path, words, planned):
    path = plan(tmp_path, f"{DIRECTOR}{LOAD}at_most = 24\n")
    done = tune(path, *words, "--out", str(tmp_path / "out"))

    load = asked["tune"].plan.load
    assert (done.exit_code, load.pairs, load.at_most) == (1, *planned)


@pytest.mark.parametrize("words", [("--pairs", "10"), ("--live", "30"), ()])
def test_a_second_look_at_another_number_is_refused(asked, tmp_path, words):
    done = tune(plan(tmp_path), *words, "--at-most", "18", "--out", str(tmp_path / "out"))

    assert done.exit_code == 2
    assert "load.at_most: 18 is not twice load.pairs" in done.stderr
    assert not asked


def noise_floors(tune):
    trying = Trying(tune.plan, (), "", "", still=tune.still)
    return {
        rate: trying.noise_floor("cpu_us_per_connection", rate) for rate in tune.plan.compared_at
    }


def test_each_rate_has_the_noise_floor_that_an_aa_run_has_for_it(asked, tmp_path, aa):
    several = plan(tmp_path, f"{DIRECTOR}{LOAD}[compare]\nrates = [200, 400]\n")
    assert tune(several, "--noise", aa, "--out", str(tmp_path / "a")).exit_code == 1
    # t(7; 0.975) = 2.365 by the deviation of 8 times +-x, 1.069 x, over the root of 8.
    floors = {200: pytest.approx(0.0089, abs=2e-4), 400: pytest.approx(0.018, abs=5e-4)}
    assert noise_floors(asked["tune"]) == floors

    assert tune(plan(tmp_path), "--noise", aa, "--out", str(tmp_path / "b")).exit_code == 1
    assert noise_floors(asked["tune"]) == {None: floors[200]}

    other = plan(tmp_path, f"{DIRECTOR}{LOAD}[compare]\nrates = [200, 300]\n")
    done = tune(other, "--noise", aa, "--out", str(tmp_path / "c"))
    assert done.exit_code == 2
    assert done.stderr == (
        f"dirtune: {aa}: No trial ran at 300 connections/s. The trials ran at 200, 400. "
        "Make an A/A run of this plan with `dirtune bench run --aa`.\n"
    )


def test_what_reports_need_is_missed_before_anything_starts(asked, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dirtune.render.report", None)

    done = tune(plan(tmp_path), "--out", str(tmp_path / "out"))

    assert done.exit_code == 2
    assert "-m pip install jinja2" in done.stderr
    assert asked == {}, "no session was begun"


def test_nothing_to_go_on_with_is_one_line(tmp_path):
    done = tune(plan(tmp_path), "--resume", "--out", str(tmp_path / "none"))

    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "holds no unfinished session" in done.stderr
