"""Campaigns on a simulated director: order, repetition, resumption, and what stands on disk."""

import asyncio
import json

import msgspec
import pytest
from simulated import PLAN, Director

from dirtune.analyse import compare
from dirtune.analyse.arms import arms_of
from dirtune.analyse.run import Run, TrialKind
from dirtune.bench import campaign, judge, store
from dirtune.bench.outcome import Order
from dirtune.bench.trial import Result
from dirtune.errors import NodeUnreachable, ParseError, SourceMissing, TrialError


def planned(**changes):
    load = {k: v for k, v in changes.items() if k in {"pairs", "rates", "repeats"}}
    validity = {k: v for k, v in changes.items() if k not in load}
    return msgspec.structs.replace(
        PLAN,
        load=msgspec.structs.replace(PLAN.load, **load),
        validity=msgspec.structs.replace(PLAN.validity, **validity),
    )


class Kept(dict):
    """Stands for the store: trials by id, in order."""

    def __call__(self, result):
        self[result.trial.id] = result.trial


def campaigned(director, plan, *, effect=1.0, done=()):
    kept, switched = Kept({t.id: t for t in done}), []
    cost = director.cost_us

    async def switch(arm):
        switched.append(arm)
        director.cost_us = cost * (effect if arm == "B" else 1)

    valid = asyncio.run(campaign.pairs(director, plan, switch, kept, done=done))
    return valid, kept, switched


class Rates:
    """Measures pairs at any rate; of *invalid* ones no trial counts."""

    def __init__(self, *invalid):
        self.invalid = invalid
        self.asked = []

    async def __call__(self, rig, plan, order):
        self.asked.append((order.rate, order.id[-1]))
        trial = judge.failed(order, "", plan, "noise")
        validity = "noisy" if order.rate in self.invalid else "valid"
        # What the clients offered is not quite what was asked.
        offered = order.rate * 1.02
        return Result(msgspec.structs.replace(trial, validity=validity, offered_rate=offered), {})

    def pairs(self, *, done=(), **changes):
        plan = planned(**changes)
        at = msgspec.structs.replace(plan.compare, rates=(200.0, 100.0))
        plan, kept = msgspec.structs.replace(plan, compare=at), Kept({t.id: t for t in done})
        made = campaign.pairs(Director(), plan, campaign.stay, kept, done=done, measure=self)
        return asyncio.run(made), kept


def test_rates_take_turns_and_each_has_its_own_order():
    rates = Rates()
    valid, kept = rates.pairs(pairs=2)

    assert valid == 2
    pairs = [(200.0, "A"), (200.0, "B"), (100.0, "A"), (100.0, "B")]
    pairs += [(200.0, "B"), (200.0, "A"), (100.0, "B"), (100.0, "A")]
    assert rates.asked == pairs
    assert [trial.pair for trial in kept.values()] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_rate_at_which_nothing_counts_takes_nothing_from_the_others():
    rates = Rates(200.0)
    valid, kept = rates.pairs(pairs=2, retries=3)

    assert valid == 0
    assert [pair for pair in rates.asked if pair[0] == 100.0] == [
        *((100.0, "A"), (100.0, "B")),
        *((100.0, "B"), (100.0, "A")),
    ]
    assert {trial.pair for trial in kept.values()} == set(range(1, 8))  # 2 x 2 and 3 retries


def test_pairs_of_several_rates_go_on_where_they_were_cut_off():
    first = Rates()
    _, kept = first.pairs(pairs=2)
    cut = tuple(kept.values())[:5]  # in the middle of the third pair
    rest = Rates()
    rest.pairs(pairs=2, done=cut)

    # The third is begun anew, behind one at the rate that has had only one.
    assert [rate for rate, _ in rest.asked] == [100.0, 100.0, 200.0, 200.0]


def test_pairs_alternate_and_switch_only_when_the_arm_changes():
    valid, kept, switched = campaigned(Director(), planned(pairs=3))

    assert valid == 3
    assert list(kept) == ["p01-1-A", "p01-2-B", "p02-1-B", "p02-2-A", "p03-1-A", "p03-2-B"]
    assert switched == ["A", "B", "A", "B"]


def run_of(trials):
    text = dict.fromkeys(("started", "command", "version", "title", "primary_metric"), "")
    nothing = dict.fromkeys(("finished", "scenario", "forecast", "verdict"))
    empty = {name: {} for name in ("plan_document", "inventory", "audits", "handlers")}
    return Run(id="r1", trials=tuple(trials), comparisons=(), steps=(), **text, **nothing, **empty)


@pytest.mark.parametrize(("effect", "verdict"), [(0.9, "improved"), (1.1, "regressed")])
def test_from_trials_to_a_verdict(effect, verdict):
    director = Director(noise=0.01)
    _, kept, _ = campaigned(director, planned(pairs=8), effect=effect)

    arms = arms_of(tuple(kept.values()), "cpu_us_per_connection")
    found = compare.compare("cpu_us_per_connection", arms)

    assert found.verdict == verdict
    assert found.ratio == pytest.approx(effect, rel=0.03)
    assert found.interval[0] < effect < found.interval[1] or found.ratio == pytest.approx(
        effect, rel=0.01
    )


def test_a_switch_without_an_effect_shows_none():
    _, kept, _ = campaigned(Director(noise=0.01), planned(pairs=8))

    found = compare.compare(
        "cpu_us_per_connection",
        arms_of(tuple(kept.values()), "cpu_us_per_connection"),
    )

    assert found.verdict in {"equivalent", "inconclusive"}


class Flaky(Director):
    """Its second trial of all loses a client."""

    trials = 0

    async def load(self, ticks):
        self.trials += 1
        self.dies = "c1" if self.trials == 2 else None
        return await super().load(ticks)


def test_a_pair_that_does_not_count_is_repeated_and_stays_in_the_record():
    valid, kept, _ = campaigned(Flaky(), planned(pairs=2))

    assert valid == 2
    assert [t.validity for t in kept.values()] == ["valid", "setup_error"] + ["valid"] * 4
    assert [t.pair for t in kept.values()] == [1, 1, 2, 2, 3, 3]


def test_repetition_is_bounded():
    director = Director()
    director.leak = 0.5

    valid, kept, _ = campaigned(director, planned(pairs=2, retries=3))

    assert valid == 0
    assert len(kept) == 5  # 2 + 3 pairs, each given up after its first trial


@pytest.mark.parametrize("generator", ["h2load", "wrk"])
def test_the_trials_of_a_sweep_are_not_repeated_without_end(generator):
    plan = planned(rates=(100.0, 200.0), repeats=1, retries=3)
    load = msgspec.structs.replace(plan.load, generator=generator)
    director, kept = Director(), Kept()
    director.leak = 0.5

    asyncio.run(campaign.sweep(director, msgspec.structs.replace(plan, load=load), kept))

    assert list(kept) == ["r100-1", "r100-1+2", "r100-1+3", "r100-1+4", "r200-1"]


def test_a_lost_node_stops_the_campaign_where_the_plan_says_so():
    kept = Kept()

    with pytest.raises(TrialError, match=r"trial p01-2-B: c1: no summary.*kept"):
        asyncio.run(
            campaign.pairs(Flaky(), planned(pairs=2, on_lost_node="stop"), campaign.stay, kept)
        )
    assert list(kept) == ["p01-1-A", "p01-2-B"]


class Leaving(Director):
    """Is away when some of its trials, counted from 1, are to begin."""

    def __init__(self, *away):
        super().__init__()
        self.away = away
        self.asked = 0

    async def ready(self):
        self.asked += 1
        if self.asked in self.away:
            raise NodeUnreachable("lb1: no answer in 20 s")


def test_a_sweep_without_its_director_ends_and_leaves_the_retries_to_be_resumed_with():
    plan, kept = planned(rates=(100.0, 200.0, 300.0), repeats=1, retries=1), Kept()

    with pytest.raises(TrialError, match=r"trial r300-1: lb1: no answer in 20 s.*--resume"):
        asyncio.run(campaign.sweep(Leaving(2, 3), plan, kept))

    assert [(t.id, t.validity) for t in kept.values()] == [
        ("r100-1", "valid"),
        ("r200-1", "setup_error"),
        ("r300-1", "setup_error"),
    ]
    done = tuple(kept.values())
    asyncio.run(campaign.sweep(Leaving(), plan, kept, done=done))
    assert [(t.id, t.validity) for t in list(kept.values())[3:]] == [("r200-1+2", "valid")]


def test_a_node_that_comes_back_was_away_for_one_trial():
    plan, kept = planned(rates=(100.0, 200.0, 300.0), repeats=1, retries=3), Kept()

    asyncio.run(campaign.sweep(Leaving(1, 3), plan, kept))

    assert [t.validity for t in kept.values()] == ["setup_error", "valid", "setup_error"]


def test_pairs_without_a_director_end():
    kept = Kept()
    with pytest.raises(TrialError, match=r"trial p03-1-A: lb1: no answer"):
        asyncio.run(campaign.pairs(Leaving(3, 4), planned(pairs=8), campaign.stay, kept))

    assert [t.validity for t in kept.values()] == ["valid", "valid", "setup_error", "setup_error"]


def test_a_campaign_goes_on_where_it_was_interrupted():
    _, first, _ = campaigned(Director(), planned(pairs=2))
    cut = list(first.values())[:3]  # the second pair lacks its A

    valid, kept, _ = campaigned(Director(), planned(pairs=3), done=cut)

    assert valid == 3
    assert list(kept)[3:] == ["p03-1-A", "p03-2-B", "p04-1-B", "p04-2-A"]


def test_a_pair_that_saw_different_steal_is_noisy():
    class Robbed(Director):
        async def load(self, ticks):
            self.steal_percent = 1.5 if self.log.count("load") == 0 else 0.0
            return await super().load(ticks)

    valid, kept, _ = campaigned(Robbed(), planned(pairs=1, pair_steal=1.0))

    assert valid == 1
    assert [t.validity for t in kept.values()] == ["noisy", "noisy", "valid", "valid"]
    assert {"1.5", "0.0"} <= set(kept["p01-1-A"].reason.split())


@pytest.mark.parametrize(("limit", "again"), [(40.0, True), (60.0, False), (None, False)])
def test_a_pair_beside_one_of_whose_trials_another_program_ran_is_noisy(limit, again):
    class Shared(Director):
        """Half of its machine rests, but during the first trial."""

        rests, rested_s, looked_s = 0.5, 0.0, 1000.0

        async def load(self, ticks):
            self.rests = 0.0 if self.log.count("load") == 0 else 0.5
            return await super().load(ticks)

        def host_times(self):
            self.rested_s += self.rests * (self.clock_s - self.looked_s)
            self.looked_s = self.clock_s
            return {"user": self.clock_s - self.rested_s, "idle": self.rested_s, "steal": 0.0}

    _, kept, _ = campaigned(Shared(), planned(pairs=1, pair_busy=limit))

    validity = ["noisy", "noisy", "valid", "valid"] if again else ["valid", "valid"]
    assert [t.validity for t in kept.values()] == validity
    if again:
        assert "100.0" in kept["p01-1-A"].reason.split()


def test_a_sweep_runs_all_rates_before_it_repeats_one():
    kept = Kept()
    asyncio.run(campaign.sweep(Director(), planned(rates=(150, 300), repeats=2), kept))

    assert list(kept) == ["r150-1", "r300-1", "r150-2", "r300-2"]
    assert kept["r300-2"].reply_rate == pytest.approx(300, rel=0.01)


def test_a_kept_trial_is_on_disk_with_its_raw_output(tmp_path):
    _, kept, _ = campaigned(Director(), planned(pairs=1))
    first, second = kept.values()
    run = store.create(tmp_path, run_of([]))

    run.keep(Result(first, {"c1.txt": "finished in 1s\n"}))
    run.keep(Result(second, {}))
    run.keep(Result(msgspec.structs.replace(first, validity="noisy"), {}))

    assert store.load(tmp_path / "r1") == run.run
    assert [t.validity for t in store.load(tmp_path / "r1").trials] == ["noisy", "valid"]
    assert (tmp_path / "r1/raw/p01-1-A/c1.txt").read_text() == "finished in 1s\n"
    assert [p.name for p in (tmp_path / "r1").glob(".*")] == [".lock"]


def test_a_host_with_slashes_has_its_raw_output_within_the_run(tmp_path):
    _, kept, _ = campaigned(Director(), planned(pairs=1))
    run = store.create(tmp_path / "runs", run_of([]))

    run.keep(Result(next(iter(kept.values())), {"../../../x.txt": "said\n"}))

    raw = run.folder / "raw" / "p01-1-A"
    assert [path.read_text() for path in raw.iterdir()] == ["said\n"]


def test_a_full_disk_says_so_and_keeps_what_was_there(tmp_path, monkeypatch):
    run = store.create(tmp_path, run_of([]))
    before = (tmp_path / "r1/run.json").read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(TrialError, match=r"run\.json: No space left on device"):
        run.save(run.run)
    monkeypatch.undo()
    assert (tmp_path / "r1/run.json").read_bytes() == before
    assert sorted(p.name for p in (tmp_path / "r1").iterdir()) == [".lock", "run.json"]


def test_what_is_no_run_is_named(tmp_path):
    (tmp_path / "run.json").write_text('{"schema": "dirtune/run/1", "id": 3}')

    with pytest.raises(ParseError, match=r"run\.json: .*id"):
        store.load(tmp_path)
    with pytest.raises(SourceMissing, match=r"no run\.json"):
        store.load(tmp_path / "absent")


@pytest.mark.parametrize(("key", "value"), [("validity", "cold"), ("kind", "warmup")])
def test_a_run_with_a_word_of_another_version_is_refused_by_key(tmp_path, key, value):
    trial = judge.failed(Order("p01-1-A", "A", TrialKind.JUDGED, 100.0), "", PLAN, "broke")
    document = json.loads(msgspec.json.encode(run_of([trial])))
    document["trials"][0][key] = value
    (tmp_path / "run.json").write_text(json.dumps(document))

    with pytest.raises(ParseError, match=rf"run\.json: .*{value}.*trials\[0\]\.{key}"):
        store.load(tmp_path)


def test_two_do_not_carry_out_one_run(tmp_path):
    first = store.create(tmp_path, run_of([]))

    with pytest.raises(TrialError, match=r"nother dirtune .*r1"):
        store.resume(tmp_path / "r1")

    del first
    assert store.resume(tmp_path / "r1").run.id == "r1"


def test_a_run_that_measured_nothing_leaves_no_folder(tmp_path):
    _, kept, _ = campaigned(Director(), planned(pairs=1))
    empty = store.create(tmp_path, run_of([]))
    full = store.create(tmp_path, msgspec.structs.replace(run_of([]), id="r2"))
    full.keep(Result(kept["p01-1-A"], {}))

    empty.drop_if_empty()
    full.drop_if_empty()

    assert [path.name for path in tmp_path.iterdir()] == ["r2"]
    assert store.load(tmp_path / "r2").trials
