"""Comparisons with two planned looks on a simulated director: what is run, and what is on disk."""

import asyncio
import json

import msgspec
import pytest
from scipy import stats
from simulated import Director, planned

from dirtune.analyse import compare, looks
from dirtune.analyse.arms import arms_of
from dirtune.bench import campaign, judge, store
from dirtune.bench.trial import Result
from dirtune.jobs import benches

PLAN = planned(settle_s=1, rates=[50], warmup=0.1, window=4, duration=4.1, pairs=8, at_most=16)
METRIC = "cpu_us_per_connection"


class Cut(Exception):
    """Stands for whatever ends dirtune in the middle of a run."""


class Costs:
    """Measures a connection's cost: *before* a trial of arm A, and times a pair's ratio in B."""

    def __init__(self, ratios, *, cut=None, noisy=()):
        self.ratios, self.cut, self.noisy = list(ratios), cut, noisy
        self.ids, self.rule = [], []
        self.kept = None

    async def __call__(self, rig, plan, order):
        if len(self.ids) == self.cut:
            raise Cut
        self.rule.append(json.loads((self.kept.folder / "run.json").read_text())["looks"])
        self.ids.append(order.id)
        # A pair is noisy as a whole, so the other pairs keep their ratios.
        ratio = self.ratios[(order.pair - 1) % len(self.ratios)]
        cost = 1000.0 * (ratio if order.arm == "B" else 1.0)
        trial = judge.failed(order, "", plan, "")
        valid = {"validity": "noisy"} if order.pair in self.noisy else {"validity": "valid"}
        changes = {**valid, "reason": None, "metrics": {METRIC: cost}, "offered_rate": 50.0}
        return Result(msgspec.structs.replace(trial, **changes), {})


def begun(tmp_path, plan=PLAN):
    return benches.new(plan, tmp_path, aa=True)


def go_on(kept, costs, monkeypatch, plan=PLAN):
    """Run what is missing, as `bench run --aa` and `--resume` do."""
    costs.kept = kept
    plain = campaign.pairs

    async def pairs(*args, **kwargs):
        return await plain(*args, **kwargs, measure=costs)

    with monkeypatch.context() as patch:
        patch.setattr(campaign, "pairs", pairs)
        asyncio.run(benches.run_pairs(plan, kept, Director(plan)))
    benches._judge_noise(plan, kept)
    return kept.run


# Ratios of the pairs in turn: all better; better by 4 % +- 6 %; 0 on the whole.
CLEAR = (0.9, 0.89)
SOME = (0.9, 1.02)
NONE = (0.94, 1.0638)


@pytest.mark.parametrize(
    ("ratios", "pairs", "results", "verdict"),
    [
        (CLEAR, 8, ["decided"], "improved"),
        ((1.001, 0.999), 8, ["decided"], "equivalent"),
        (NONE, 8, ["futile"], "inconclusive"),
        (SOME, 16, ["go on", "decided"], "improved"),
        ((0.93, 1.02), 16, ["go on", "undecided"], "inconclusive"),
    ],
)
def test_a_run_goes_on_only_if_the_first_look_does_not_decide(
    tmp_path, monkeypatch, ratios, pairs, results, verdict
):
    costs = Costs(ratios)
    run = go_on(begun(tmp_path), costs, monkeypatch)

    assert len(costs.ids) == 2 * pairs
    assert [look.result for look in run.looks.taken] == results
    (found,) = run.comparisons
    assert (found.pairs, found.verdict, round(found.level, 4)) == (pairs, verdict, 0.9706)
    assert found.design == looks.described(run.looks)


def test_the_rule_is_on_disk_before_the_first_trial_and_each_look_before_the_next(
    tmp_path, monkeypatch
):
    costs = Costs(SOME)
    go_on(begun(tmp_path), costs, monkeypatch)

    rule = {"at": [8, 16], "alpha": 0.0294, "futile_above": 0.5}
    assert costs.rule[0] == {**rule, "taken": []}
    assert [len(each["taken"]) for each in costs.rule] == [0] * 16 + [1] * 16
    first = costs.rule[16]["taken"][0]
    assert (first["pairs"], first["result"]) == (8, "go on")


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 21, 31])
def test_an_interrupted_run_looks_where_it_was_planned(tmp_path, monkeypatch, cut):
    """At 10 pairs, say, nobody looks: the first look is on disk, the second one is at 16."""
    kept = begun(tmp_path)
    with pytest.raises(Cut):
        go_on(kept, Costs(SOME, cut=cut), monkeypatch)
    resumed = store.Store(kept.folder, store.load(kept.folder))
    run = go_on(resumed, Costs(SOME), monkeypatch)

    assert [(look.pairs, look.result) for look in run.looks.taken] == [
        (8, "go on"),
        (16, "decided"),
    ]


def test_a_run_that_stopped_is_not_extended(tmp_path, monkeypatch):
    kept = begun(tmp_path)
    go_on(kept, Costs(NONE), monkeypatch)
    again = Costs(CLEAR)
    run = go_on(kept, again, monkeypatch)

    assert again.ids == []
    assert len(run.trials) == 16
    assert len(run.looks.taken) == 1


def test_a_run_with_too_many_noisy_pairs_ends_at_the_look_that_it_cannot_reach(
    tmp_path, monkeypatch
):
    # The plan repeats three trials.
    run = go_on(begun(tmp_path), Costs(SOME, noisy=range(2, 6)), monkeypatch)

    assert [(look.pairs, look.result) for look in run.looks.taken] == [(7, "undecided")]
    assert "8 were planned, but too many trials did not count" in run.comparisons[0].design


def test_without_at_most_nothing_is_looked_at(tmp_path, monkeypatch):
    fixed = planned(settle_s=1, rates=[50], pairs=8)
    run = go_on(begun(tmp_path, fixed), Costs(SOME), monkeypatch, fixed)

    (found,) = run.comparisons
    assert (run.looks, found.design, found.level, found.pairs) == (None, None, 0.95, 8)


def test_a_sweep_plans_no_looks(tmp_path):
    assert benches.new(PLAN, tmp_path, aa=False).run.looks is None


class Drifting(Director):
    """A connection's cost grows by *drift* (a share) over 32 trials."""

    drift = 0.0
    began = 0

    async def load(self, ticks):
        self.cost_us = 10_000 * self.arm * (1 + self.drift * self.began / 32)
        self.began += 1
        return await super().load(ticks)


def looked(seed, *, effect=1.0, drift=0.0, noise=0.02):
    """The verdict and the pairs of a whole campaign; *noise* is the cv of a trial's cost."""
    director = Drifting(PLAN, noise=noise, seed=seed)
    director.arm, director.drift = 1.0, drift
    trials, rule = {}, looks.planned(8, 16)

    async def switch(arm):
        director.arm = effect if arm == "B" else 1.0

    def keep(result):
        trials[result.trial.id] = result.trial

    while (due := looks.due(rule)) is not None:
        stage = msgspec.structs.replace(
            PLAN, load=msgspec.structs.replace(PLAN.load, pairs=due, at_most=None)
        )
        done = tuple(trials.values())
        asyncio.run(campaign.pairs(director, stage, switch, keep, done=done))
        arms = arms_of(tuple(trials.values()), METRIC)
        found = compare.compare(METRIC, arms, threshold=0, alpha=looks.alpha(rule))
        rule = looks.taken(rule, found)
    return found.verdict, found.pairs


def figures(seeds, **changes):
    results = [looked(seed, **changes) for seed in seeds]
    verdicts = [verdict for verdict, _ in results]
    wrong = verdicts.count("improved") + verdicts.count("regressed")
    return wrong, verdicts.count("improved"), sum(pairs for _, pairs in results) / len(results)


@pytest.mark.parametrize("drift", [0.0, 0.1])
def test_sixty_campaigns_without_an_effect(drift):
    wrong, _, pairs = figures(range(60), drift=drift)

    assert wrong <= stats.binom.ppf(0.99, 60, 0.05)
    assert 10 < pairs < 14


@pytest.mark.long
@pytest.mark.parametrize("drift", [0.0, 0.1])
def test_two_thousand_campaigns_without_an_effect(drift):
    wrong, _, pairs = figures(range(2000), drift=drift)
    print(f"drift {drift}: {wrong} of 2000 verdicts are false, {pairs:.2f} pairs on average")

    # A rule that is wrong in 5 of 100 exceeds this in 1 of 100 such tests.
    assert wrong <= stats.binom.ppf(0.99, 2000, 0.05)
    assert pairs == pytest.approx(11.8, abs=0.4)


@pytest.mark.long
@pytest.mark.parametrize(
    ("noise", "effect", "power"),
    [
        (0.02, 0.97, 0.95),
        (0.02, 0.95, 1.0),
        (0.03, 0.97, 0.67),
        (0.03, 0.95, 0.98),
        (0.03, 0.92, 1.0),
    ],
)
def test_two_thousand_campaigns_with_an_effect(noise, effect, power):
    """The power was simulated by other means: a paired t test of normal log ratios."""
    wrong, found, pairs = figures(range(2000), noise=noise, effect=effect)
    print(f"cv {noise}, effect {effect}: found {found} of 2000, {pairs:.2f} pairs on average")

    assert found / 2000 == pytest.approx(power, abs=0.03)
    assert wrong - found <= 2
