"""bench, profile and compare on the command line."""

import fcntl
import gc
import json
import math
import os
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from dirtune import plan as plans
from dirtune.analyse.run import Run, Trial
from dirtune.bench import ports_and_duration, store
from dirtune.cli import main
from dirtune.jobs import benches
from tests.render.inputs import READY

CPU = "cpu_us_per_connection"


def invoke(*args):
    return CliRunner().invoke(main, args)


def trial(pair, arm, value, kind="judged"):
    blank = {"window_s": 10, "intended": 1, "attempted": 1, "replied": 1, "failed": {}}
    return Trial(
        id=f"p{pair:02}-{arm}",
        arm=arm,
        kind=kind,
        pair=pair,
        started="",
        offered_rate=150,
        reply_rate=150,
        latency=None,
        validity="valid",
        reason=None,
        metrics={CPU: value},
        counters={},
        settle_s=3,
        settled=True,
        **blank,
    )


def kept(out, name, trials, **plan):
    text = dict.fromkeys(("started", "command", "version", "title"), "")
    nothing = dict.fromkeys(("finished", "scenario", "forecast", "verdict"))
    empty = {key: {} for key in ("inventory", "audits", "handlers")}
    run = Run(
        id=name,
        plan_document=plan,
        primary_metric=CPU,
        trials=tuple(trials),
        comparisons=(),
        steps=(),
        **text,
        **nothing,
        **empty,
    )
    return str(store.create(out, run).folder)


@pytest.fixture
def run_folder(tmp_path):
    def make(name, ratio, pairs=8, **plan):
        spread = (-0.01, 0.01)
        trials = [trial(n, "A", 1000.0) for n in range(pairs)]
        trials += [trial(n, "B", 1000 * (ratio + spread[n % 2])) for n in range(pairs)]
        return kept(tmp_path, name, trials, **plan)

    return make


def test_the_example_is_a_plan_that_can_be_read():
    assert plans.parse(invoke("bench", "example").output).load.pairs == 8


def test_no_plan_says_where_one_comes_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dirtune.lab.plan_path", lambda: None)

    result = invoke("profile", "--during-bench")

    assert result.exit_code == 2
    assert "dirtune bench example" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_node_that_cannot_be_reached_is_named_and_the_rest_is_printed(tmp_path):
    (tmp_path / "config").write_text("Host *\n  ProxyCommand false\n")
    plan = tmp_path / "plan.toml"
    matrix = '[matrix]\nscheduler = ["rr", "wlc"]\nforwarding = ["dr", "nat"]\n'
    looks = plans.EXAMPLE.replace("# at_most", "at_most")
    text = 'ssh_config = "config"\n' + looks.replace('"lb1"', '"local"')
    plan.write_text(text + matrix)

    result = invoke("bench", "check", str(plan), "--format", "json")

    found = json.loads(result.stdout)
    assert result.exit_code == 2
    assert found["schema"] == "dirtune/bench-check/1"
    assert "c1: " in found["nodes"]["c1"]
    assert list(found["nodes"]) == ["local", "rs1", "rs2", "c1", "c2"]
    # 2 schedulers, 2 rates, 3 times each, of dr alone; and a look at the nodes in each cell.
    # A trial is 201 s of load, 120 s until the table has drained, and 8 s more.
    assert (found["sweep_trials"], found["sweep_s"]) == (12, 14 * 329)
    # A first look after 8 pairs of trials, and a second one after 16.
    assert (found["pairs"], found["pairs_s"]) == (8, 16 * 329)
    assert (found["at_most"], found["pairs_at_most_s"]) == (16, 32 * 329)
    (warning,) = found["warnings"]
    assert warning.startswith("matrix.forwarding: ")


def test_who_is_ready_and_how_many_ports_a_client_has():
    # 400/s over two clients; 28,232 and 64,512 ports over 120 s
    found = ports_and_duration.tuple_budget(plans.parse(plans.EXAMPLE))
    assert (found.each, round(found.default), round(found.widest)) == (200, 235, 538)

    alone = msgspec.structs.replace(READY, nodes={"lb1": None})
    assert not READY.ready
    assert not alone.ready, "others use the service"
    assert msgspec.structs.replace(alone, forced=True).ready


def test_forcing_another_vip_is_refused(tmp_path):
    (tmp_path / "plan.toml").write_text(plans.EXAMPLE)

    result = invoke("bench", "run", str(tmp_path / "plan.toml"), "--force", "198.18.0.9")

    assert result.exit_code == 2
    assert result.stderr == (
        "dirtune: load.force: 198.18.0.9 is not the vip of the service (198.18.0.100)\n"
    )


def test_profile_of_this_machine():
    result = invoke("profile", "--probes", "none", "--format", "json", "--", "sleep", "0.9")

    found = json.loads(result.stdout)
    assert found["schema"] == "dirtune/profile/1"
    (node,) = found["nodes"]
    assert node["source"] == "/proc/stat"
    names = ("user", "system", "idle", "iowait", "steal")
    assert sum(node["states"][name]["mean"] for name in names) == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(
    ("ratio", "verdict", "status"), [(0.9, "improved", 0), (1.1, "regressed", 1)]
)
def test_one_run_compares_its_arms(run_folder, ratio, verdict, status):
    result = invoke("compare", run_folder("one", ratio), "--format", "json")

    found = json.loads(result.stdout)
    assert result.exit_code == status
    assert found["verdict"] == verdict
    assert found["ratio"] == pytest.approx(ratio, abs=0.001)
    wanted = {
        "schema",
        "metric",
        "unit",
        "better",
        "before",
        "after",
        "pairs",
        "ratio",
        "interval",
    }
    wanted |= {"test", "p", "noise_floor", "minimum_detectable_effect", "verdict", "reason"}
    assert wanted <= set(found)
    assert (found["schema"], found["pairs"]) == ("dirtune/comparison/1", 8)


def test_arms_by_name_and_turned_round(run_folder):
    folder = run_folder("one", 0.9)

    forth = json.loads(invoke("compare", f"{folder}:A", f"{folder}:B", "--format", "json").stdout)
    back = json.loads(invoke("compare", f"{folder}:B", f"{folder}:A", "--format", "json").stdout)

    assert (forth["verdict"], back["verdict"]) == ("improved", "regressed")
    assert forth["pairs"] == back["pairs"] == 8
    assert back["ratio"] == pytest.approx(1 / forth["ratio"])


def test_two_runs_are_not_paired(run_folder):
    before, after = run_folder("one", 1.0), run_folder("two", 0.8)

    result = invoke("compare", f"{before}:A", f"{after}:B", "--format", "json")

    found = json.loads(result.stdout)
    assert (found["pairs"], found["test"], found["verdict"]) == (0, "mann-whitney", "improved")


RULE = (
    "Two looks at the results were planned before the first trial: after 8 pairs, and after 16 if "
    "the first gave no verdict (alpha 0.0294 each, so that false verdicts stay at or below 5 %)."
)


def with_looks(folder, *taken):
    """Write into the run that two looks were planned, and these taken."""
    path = Path(folder) / "run.json"
    looks = {"at": [8, 16], "alpha": 0.0294, "futile_above": 0.5, "taken": list(taken)}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"looks": looks}))
    return folder


FIRST = {"pairs": 8, "p": 0.0078, "result": "decided"}
ON = {"pairs": 8, "p": 0.2, "result": "go on"}


@pytest.mark.parametrize("form", ["table", "markdown", "json"])
@pytest.mark.parametrize("arms", [("{}",), ("{}", "--all"), ("{}:A", "{}:B")])
def test_a_run_is_judged_by_the_rule_that_it_carries(run_folder, arms, form):
    folder = with_looks(run_folder("one", 0.9), FIRST)
    words = [word.format(folder) for word in arms]

    result = invoke("compare", *words, "--format", form)

    assert result.exit_code == 0
    stop = "Stopped after 8 pairs: the look at the results gave a verdict (p = 0.008)."
    assert result.stdout.count(f"{RULE} {stop}") == 1
    if form == "json":
        found = json.loads(result.stdout)
        found = found.get("comparisons", [found])[0]
        assert found["level"] == pytest.approx(0.9706)
        # Differences of +-0.01 about 0.9 in turn: t(7) at 98.53 % is 2.72 (2.365 at 97.5 %).
        wide = math.log(found["interval"][1] / found["interval"][0]) / 2
        error = math.log(0.91 / 0.89) / 2 * math.sqrt(8 / 7) / math.sqrt(8)
        assert wide / error == pytest.approx(2.724, abs=0.01)
    else:
        assert "(97.06 % interval 0." in result.stdout
        assert "95 %" not in result.stdout


@pytest.mark.parametrize(
    ("pairs", "taken", "problem"),
    [
        (17, (ON, FIRST), "has 17 valid pairs, but by the rule .* ends after 16"),
        (9, (FIRST,), "has 9 valid pairs, but by the rule .* ends after 8"),
        (
            10,
            (ON,),
            "next look at the results is planned after 16 valid pairs, and it has 10.*--resume",
        ),
    ],
)
def test_more_pairs_than_planned_are_not_judged(run_folder, pairs, taken, problem):
    result = invoke("compare", with_looks(run_folder("one", 0.9, pairs), *taken))

    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.search(problem, result.stderr)


def test_an_older_run_is_judged_as_before(run_folder):
    folder = run_folder("one", 0.9, 17)
    path = Path(folder) / "run.json"
    older = json.loads(path.read_text())
    del older["looks"]
    path.write_text(json.dumps(older))

    found = json.loads(invoke("compare", folder, "--format", "json").stdout)

    assert (found["pairs"], found["level"], found["design"]) == (17, 0.95, None)


def test_an_aa_run_gives_the_noise_floor(run_folder):
    noise = run_folder("aa", 1.0)

    result = invoke("compare", run_folder("one", 0.97), "--noise", noise, "--format", "json")

    assert 0 < json.loads(result.stdout)["noise_floor"] < 0.02


def test_an_aa_run_at_several_rates_gives_each_a_floor_of_its_own(run_folder, tmp_path):
    def pair(n, rate, apart):
        for arm, cost in (("A", 1000), ("B", 1000 * (1 + apart * (-1) ** n))):
            changes = {"pair": n, "offered_rate": rate, "id": f"{rate}-{n}-{arm}"}
            yield msgspec.structs.replace(trial(n, arm, cost), **changes)

    calm = [each for n in range(8) for each in pair(n, 150.0, 0.01)]
    wild = [each for n in range(10, 18) for each in pair(n, 301.0, 0.1)]
    folder = kept(tmp_path, "aa", [*calm, *wild])
    plan = plans.parse(f"{plans.EXAMPLE}".replace("[compare]", "[compare]\nrates = [150, 300]"))
    aa = store.resume(Path(folder))
    benches._judge_noise(plan, aa)

    # t(7; 0.975) = 2.365; the deviation of 8 times +-x is 1.069 x, over the root of 8: 0.894 x.
    floors = {c.rate: c.noise_floor for c in aa.run.comparisons}
    assert floors == {150: pytest.approx(0.0089, abs=2e-4), 300: pytest.approx(0.0947, abs=8e-3)}
    for rate in ("150", "301"):
        found = invoke("compare", folder, "--noise", folder, "--rate", rate, "--format", "json")
        assert json.loads(found.stdout)["noise_floor"] == floors[round(int(rate), -1)]
        own = invoke("compare", folder, "--rate", rate, "--format", "json")
        assert json.loads(own.stdout)["noise_floor"] == floors[round(int(rate), -1)]


def test_a_run_that_shows_no_noise_floor_is_refused(run_folder):
    noise = run_folder("aa", 1.0, pairs=4)

    result = invoke("compare", run_folder("one", 0.97), "--noise", noise)

    assert result.exit_code == 2
    assert f"{noise}: The A/A run has too few valid trials" in result.stderr
    assert CPU in result.stderr


def test_what_the_plan_says_would_matter_is_what_matters(run_folder):
    folder = run_folder("one", 0.95, compare={"threshold": 10})

    found = json.loads(invoke("compare", folder, "--format", "json").stdout)

    # 0.94 to 0.96, all within 1 / 1.1 to 1.1.
    assert found["verdict"] == "equivalent"


def test_one_arm_alone_is_compared_with_nothing(run_folder):
    folder = run_folder("one", 0.9)

    result = invoke("compare", f"{folder}:A")

    assert result.exit_code == 2
    assert f"{folder}:A is a single arm" in result.stderr


def test_every_metric_is_printed_and_the_others_corrected(run_folder):
    result = invoke("compare", run_folder("one", 0.9), "--all", "--format", "json")

    found = json.loads(result.stdout)
    assert found["schema"] == "dirtune/comparisons/1"
    # The trials measured nothing but this.
    assert [c["metric"] for c in found["comparisons"]] == [CPU]


def test_cells_of_one_run(tmp_path):
    def cell(name, cost):
        found = [trial(n, "A", cost + n) for n in range(6)]
        return [msgspec.structs.replace(t, id=f"{name}/{t.id}", cell=name) for t in found]

    folder = kept(tmp_path, "m", [*cell("kernel=rt", 900.0), *cell("kernel=standard", 700.0)])
    result = invoke("compare", f"{folder}:kernel=standard", f"{folder}:kernel=rt")

    assert result.exit_code == 1
    assert result.stdout.startswith("Regressed: ")
    assert "6 and 6 trials" in result.stdout
    pairs = [trial(n, arm, 700.0 + n * (arm == "B")) for n in range(8) for arm in "AB"]
    pairs = [msgspec.structs.replace(t, cell="scheduler=rr") for t in pairs]
    worse = [trial(n, arm, 2000.0 if arm == "B" else 700.0) for n in range(8) for arm in "AB"]
    both = kept(tmp_path, "p", [*worse, *pairs])
    assert invoke("compare", f"{both}:scheduler=rr").stdout.startswith("Equivalent: ")
    wrong = invoke("compare", f"{folder}:kernel=r", f"{folder}:kernel=rt")
    assert (
        "has no arm or cell kernel=r. Choose one of A, kernel=rt, kernel=standard." in wrong.stderr
    )


def test_export_to_pyperf_and_back(run_folder, tmp_path):
    pyperf = pytest.importorskip("pyperf", reason="exchange with pyperf needs the extra `bench`")
    folder = run_folder("one", 0.9)
    files = {}
    for arm in "AB":
        files[arm] = tmp_path / f"{arm}.json"
        files[arm].write_text(invoke("bench", "export", folder, "--arm", arm).stdout)

    (bench,) = pyperf.BenchmarkSuite.load(str(files["A"])).get_benchmarks()
    assert bench.get_name() == "director CPU time per connection (150/s offered)"
    assert (bench.get_nrun(), bench.get_unit()) == (8, "second")
    assert bench.get_values() == pytest.approx((0.001,) * 8)
    said = invoke("compare", str(files["A"]), str(files["B"]), "--metric", CPU)
    assert said.stdout.startswith("Improved: ")
    assert "holds two arms" in invoke("bench", "export", folder).stderr


RECORDED = Path(__file__).parents[3] / "shared/data/generators"


@pytest.mark.skipif(not RECORDED.exists(), reason="the shared recordings are not here")
def test_what_pyperf_wrote_is_compared():
    # Recorded: seconds per connection of a director before and after, five runs each.
    arms = ("before", "after")
    before, after = (str(RECORDED / f"pyperf_{arm}_secperconn.json") for arm in arms)

    found = json.loads(invoke("compare", before, after, "--format", "json").stdout)

    # 1 / 0.0001519271964874432; exact Mann-Whitney of five above five: 2 / 252.
    assert found["before"][0] == pytest.approx(6582.1, abs=0.05)
    assert (found["verdict"], found["p"]) == ("improved", pytest.approx(2 / 252))


def test_what_pyperf_cannot_read_is_named(tmp_path):
    (tmp_path / "x.json").write_text('{"benchmarks": [{"runs": 3}]}')
    result = invoke("compare", str(tmp_path / "x.json"), str(tmp_path / "x.json"))

    assert result.exit_code == 2
    assert "x.json: pyperf cannot read" in result.stderr


def test_a_dry_run_reaches_nothing(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(plans.EXAMPLE + "[knee]\n")
    result = invoke("bench", "run", str(path), "--dry-run", "--out", str(tmp_path / "runs"))

    # Two clients that drift through each other, one connection in 9 and in 11 ms.
    assert result.output.splitlines()[0] == "r200-1  202.02/s"
    assert "k0.0001  a search for the knee" in result.output
    assert result.output.splitlines()[-1].startswith("6 trials, 1 searches: about ")
    assert not (tmp_path / "runs").exists()


def test_a_run_goes_on_only_with_its_own_plan(run_folder, tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(plans.EXAMPLE)
    plan = msgspec.to_builtins(plans.read(path))
    run = store.load(Path(run_folder("one", 1.0)))
    done = store.create(
        tmp_path, msgspec.structs.replace(run, plan_document=plan, finished="today")
    ).folder
    other = tmp_path / "other.toml"
    other.write_text(plans.EXAMPLE.replace("[200, 400]", "[200]"))

    right = invoke("bench", "run", str(path), "--resume", str(done))
    wrong = invoke("bench", "run", str(other), "--resume", str(done))

    assert wrong.exit_code == 2
    assert "is not the plan of" in wrong.stderr
    # It is finished: nothing is reached, and the run is printed.
    assert right.exit_code == 0
    assert "16 of 16 " in right.stdout


def test_a_run_of_another_version_goes_on_with_no_other_plan(run_folder):
    plan = msgspec.to_builtins(plans.parse(plans.EXAMPLE))
    plan["load"]["haste"] = 3

    done = invoke("bench", "run", "--resume", run_folder("one", 1.0, **plan))

    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)
    assert done.stderr.count("\n") == 1
    assert "haste" in done.stderr


def test_a_run_is_written_again_with_the_keys_of_another_version(run_folder):
    plan = {"load": {"haste": 3}, "colour": "red"}
    run = store.load(Path(run_folder("one", 1.0, **plan)))

    assert run.plan.load.service == 0
    assert json.loads(msgspec.json.encode(run))["plan"] == plan


def test_a_run_is_carried_out_by_one_dirtune_at_a_time(run_folder, tmp_path):
    run = store.load(Path(run_folder("one", 1.0)))
    plan = msgspec.to_builtins(plans.parse(plans.EXAMPLE))
    held = store.create(
        tmp_path, msgspec.structs.replace(run, plan_document=plan, finished="today")
    )

    second = invoke("bench", "run", "--resume", str(held.folder))

    assert second.exit_code == 2
    assert "nother dirtune" in second.stderr


def test_nobody_else_can_hold_a_run(run_folder, tmp_path):
    """A lock can be held by whoever can open what it is of, if only to read it."""
    run = store.load(Path(run_folder("one", 1.0)))
    folder = store.create(tmp_path, run).folder
    gc.collect()
    others = [at for at in (folder, *folder.iterdir()) if at.stat().st_mode & 0o044]
    handles = [os.open(at, os.O_RDONLY) for at in others]
    for handle in handles:
        fcntl.flock(handle, fcntl.LOCK_SH)

    store.resume(folder)

    assert others
    for handle in handles:
        os.close(handle)


def test_a_check_of_a_plan_warns_of_too_few_pairs_for_a_verdict(tmp_path):
    (tmp_path / "config").write_text("Host *\n  ProxyCommand false\n")
    plan = tmp_path / "plan.toml"
    text = plans.EXAMPLE.replace('"lb1"', '"local"').replace("pairs = 8", "pairs = 5")
    plan.write_text(f'ssh_config = "config"\n{text}')

    found = json.loads(invoke("bench", "check", str(plan), "--format", "json").stdout)

    (warning,) = found["warnings"]
    assert "needs 6 valid pairs" in warning
    assert "only 5 pairs are planned" in warning


@pytest.mark.parametrize(("count", "planned"), [(1, "1 pair is"), (5, "5 pairs are")])
def test_an_aa_run_with_too_few_pairs_for_a_noise_floor_is_refused(tmp_path, count, planned):
    path = tmp_path / "plan.toml"
    path.write_text(plans.EXAMPLE.replace("pairs = 8", f"pairs = {count}"))

    result = invoke("bench", "run", str(path), "--aa", "--out", str(tmp_path / "runs"))

    assert result.exit_code == 2
    assert f"only {planned} planned. Set pairs = 6 or more in [load]" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_refused_leaves_no_folder(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(plans.EXAMPLE.replace('"h2load"  ', '"wrk"  ').replace("standard", "ci"))

    result = invoke("bench", "run", str(path), "--aa", "--out", str(tmp_path / "runs"))

    assert result.exit_code == 2
    assert "wrk is a closed loop" in result.stderr
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("begun", "more", "status"),
    [
        ("198.18.0.100", (), 0),  # it stays forced, and the plan is still the same
        (None, ("--force", "198.18.0.100"), 0),  # what a run that was cut off needs to go on
        (None, ("--force", "198.18.0.9"), 2),
    ],
)
def test_a_forced_run_goes_on(run_folder, tmp_path, begun, more, status):
    path = tmp_path / "plan.toml"
    path.write_text(plans.EXAMPLE)
    plan = msgspec.to_builtins(plans.forced(plans.read(path), begun))
    run = store.load(Path(run_folder("one", 1.0)))
    done = store.create(
        tmp_path, msgspec.structs.replace(run, plan_document=plan, finished="today")
    ).folder

    result = invoke("bench", "run", str(path), "--resume", str(done), *more)

    assert (result.exit_code, result.stderr.count("\n")) == (status, 1)


def test_five_pairs_are_too_few(run_folder):
    result = invoke("compare", run_folder("one", 0.5, pairs=5))

    assert result.exit_code == 0
    assert result.stdout.startswith("Inconclusive: ")
    assert "5 pairs are valid" in result.stdout


def test_no_run_is_one_line(tmp_path):
    result = invoke("compare", str(tmp_path / "absent"))

    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_a_run_is_read_as_it_was_written(run_folder, tmp_path):
    folder = run_folder("one", 0.9)

    run = store.load(tmp_path / "one")

    assert run.trials[0].metrics == {CPU: 1000.0}
    assert (
        msgspec.json.decode((tmp_path / "one/run.json").read_bytes())["schema"] == "dirtune/run/1"
    )
    assert folder == str(tmp_path / "one")
