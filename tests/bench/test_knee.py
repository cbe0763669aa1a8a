"""The search for the knee on a simulated director whose capacity is known."""

import asyncio
import random
import statistics

import msgspec
import pytest
from saturating import PLAN, Saturating

from dirtune.analyse import capacity
from dirtune.bench import knee, search
from dirtune.bench.knee import Ask, Bounds, Seen, Space
from dirtune.bench.matrix import Cell
from dirtune.bench.search import Search
from dirtune.errors import PlanError
from dirtune.plan.tables import Knee

GOAL = 1e-4


def searched(director, *, goal=GOAL, done=(), plan=PLAN, **asked):
    plan = msgspec.structs.replace(
        plan, knee=Knee(warmup=0.2, trial=2, **({"highest": 400.0} | asked))
    )
    director.plan = plan
    kept = {trial.id: trial for trial in done}

    def keep(result):
        kept[result.trial.id] = result.trial

    found = asyncio.run(Search(director, Cell("", plan), goal, keep, tuple(kept.values())).run())
    return found, kept


def test_100_noisy_directors():
    ratios = []
    for seed in range(100):
        truth = random.Random(seed).uniform(60, 380)
        found, _ = searched(Saturating(truth, noise=0.02, seed=seed))
        assert (found.limit, found.above > found.rate) == ("system", True)
        ratios.append(found.rate / truth)

    assert statistics.median(ratios) == pytest.approx(1, abs=0.02)
    assert sum(abs(ratio - 1) <= 0.05 for ratio in ratios) >= 95


@pytest.mark.parametrize("clients", [60, 150, 250, 390])
def test_the_clients_limit_is_never_the_directors(clients):
    found, kept = searched(Saturating(1000, clients=clients))

    assert found.limit == "clients"
    assert found.rate <= clients
    assert found.above is None
    assert f">= {found.rate:.5g}/s (client-limited)" in capacity.in_words(found)
    assert found.invalid == sum(t.validity == "client_limited" for t in kept.values()) > 0
    # On the way down no rate is tried twice: the clients would not make it then either.
    assert not any("+" in name for name in kept)


def test_the_searchs_trials_have_no_ramp_and_the_confirming_ones_have():
    load = msgspec.structs.replace(PLAN.load, ramp=5)
    _, kept = searched(Saturating(300), plan=msgspec.structs.replace(PLAN, load=load))

    # 0.2 s of warm-up, half of the trial's 2 s at first, and 1 s more.
    assert kept["k0.0001-01"].intended == 880  # of 400 a second
    # 5 + 0.5 + 2 + 1 s, in which a fifth more begins each second: 2 s of the rate are missing,
    # give or take a tick of each of the five that begin.
    steady = kept["k0.0001-x0.95"]
    assert steady.intended == pytest.approx(steady.offered_rate * (8.5 - 2), rel=0.02)


def test_a_knee_below_what_the_clients_can_make_is_the_directors():
    found, kept = searched(Saturating(100, clients=300))

    assert found.limit == "system"
    assert found.rate == pytest.approx(100, rel=0.03)
    assert kept["k0.0001-01"].validity == "client_limited"


def test_clients_that_fail_below_a_rate_they_made_end_the_search():
    class Tiring(Saturating):
        async def load(self, ticks):
            self.clients = None if self.trials < 2 else 10
            return await super().load(ticks)

    found, _ = searched(Tiring(300))

    assert (found.limit, found.above) == ("clients", None)
    assert found.rate == pytest.approx(297, rel=0.02)


def test_a_director_that_never_saturates_has_no_upper_bound():
    found, _ = searched(Saturating(1e6))

    assert (found.limit, found.above, found.confirmed) == ("range", None, True)
    assert found.rate == pytest.approx(400, rel=0.01)


def test_a_director_that_fails_the_lowest_rate_has_no_knee():
    found, _ = searched(Saturating(10))

    assert (found.rate, found.confirmed) == (None, None)


def test_the_knee_is_confirmed_around_it():
    director = Saturating(300)
    found, kept = searched(director)

    assert found.confirmed
    below, above = kept["k0.0001-x0.95"], kept["k0.0001-x1.05"]
    assert (below.kind, below.window_s) == ("confirm", 2)
    assert below.offered_rate == pytest.approx(0.95 * found.rate, rel=0.02)
    assert above.replied < above.attempted


def test_a_rate_that_does_not_hold_is_not_confirmed():
    class Weary(Saturating):
        async def load(self, ticks):
            if self.confirming:
                self.capacity = 200
            return await super().load(ticks)

    director = Weary(300)
    director.confirming = False
    found, kept = searched(director)
    director.confirming = True
    steady = {k: t for k, t in kept.items() if t.kind == "search"}
    found, _ = searched(director, done=tuple(steady.values()))

    assert found.confirmed is False
    assert "0.95" in found.reason.split()


def test_a_rate_above_which_nothing_is_lost_either_is_not_confirmed():
    class Waking(Saturating):
        confirming = False

        async def load(self, ticks):
            if self.confirming:
                self.capacity = 400
            return await super().load(ticks)

    director = Waking(300)
    _, kept = searched(director)
    director.confirming = True
    found, _ = searched(director, done=[t for t in kept.values() if t.kind == "search"])

    assert found.confirmed is False
    assert "1.05" in found.reason.split()


def test_a_range_without_room_names_its_key():
    with pytest.raises(PlanError, match=r"knee\.lowest .*500.*400"):
        searched(Saturating(300), lowest=500.0)


def test_noise_is_tried_again_and_counted():
    class Noisy(Saturating):
        async def load(self, ticks):
            self.spread_s = 0.5 if self.trials == 3 else 0.001
            return await super().load(ticks)

    found, kept = searched(Noisy(300))

    assert [i for i, t in kept.items() if t.validity == "noisy"] == ["k0.0001-04"]
    assert kept["k0.0001-04+2"].validity == "valid"
    assert found.invalid == 1


def test_clients_that_stumble_once_are_tried_again():
    class Stumbling(Saturating):
        async def load(self, ticks):
            self.clients = 10 if self.trials == 3 else None
            return await super().load(ticks)

    found, kept = searched(Stumbling(300))

    assert kept["k0.0001-04"].validity == "client_limited"
    assert kept["k0.0001-04+2"].validity == "valid"
    assert (found.limit, found.invalid) == ("system", 1)


def test_a_search_whose_trials_never_count_is_given_up():
    director = Saturating(300)
    director.leak = 0.5
    found, kept = searched(director)

    assert (found.rate, found.limit, found.trials) == (None, "trials", 0)
    assert found.invalid == len(kept) == 4  # the plan allows three more
    assert "k0.0001-01+4" in found.reason


@pytest.mark.parametrize("cut", [1, 5, 9])
def test_a_search_goes_on_from_what_is_on_disk(cut):
    whole, kept = searched(Saturating(300))
    director = Saturating(300)
    again, all_of_them = searched(director, done=tuple(kept.values())[:cut])

    assert again == whole
    assert list(all_of_them) == list(kept)
    assert director.trials == len(kept) - cut


def test_goals_of_different_rigour():
    # 2 % may be lost: 300 of 306 offered come back.
    found, _ = searched(Saturating(300), goal=0.02)

    assert found.rate == pytest.approx(306, rel=0.02)


def test_unsent_is_no_loss():
    space = Space(lowest=10, highest=100, width=0.02, trial_s=10)
    # All that was attempted was answered, though far from all was attempted.
    seen = [Seen(attempted=500, replied=500)] * 4

    assert knee.following(space, 0, seen) == Bounds(100.0, None, "range")


def test_the_search_asks_for_the_highest_rate_first_and_lower_while_the_clients_cannot():
    space = Space(lowest=10, highest=100, width=0.02, trial_s=10)
    limited = Seen(700, 700, limited=True)

    assert knee.following(space, 0, []) == Ask(100, 5)
    assert knee.following(space, 0, [limited]).rate == pytest.approx(80)
    assert knee.following(space, 0, [limited] * 11) == Bounds(None, None, "clients")


def test_the_ceiling_is_80_per_cent_of_what_the_clients_make_of_their_own():
    plan = msgspec.structs.replace(PLAN, knee=Knee(highest=400.0))
    _, kept = searched(Saturating(300))
    some = next(t for t in kept.values() if t.replied == t.attempted)

    def null(rate, **changes):
        changes |= {"cell": "null_server", "offered_rate": float(rate)}
        return msgspec.structs.replace(some, **changes)

    limited = null(500, validity="client_limited")
    assert search.ceiling(plan, [null(200), null(250), limited]) == 200
    assert search.ceiling(plan, [null(200), null(250)]) == 400
    assert search.ceiling(plan, []) == 400


def test_too_few_attempts_for_the_goal_are_said():
    # Rule of three: 3 / 1e-4 = 30,000, or -ln 0.05 / 1e-4 = 29,957 less a little.
    assert capacity.attempts_for(1e-4) == 29956
    found, _ = searched(Saturating(300))

    assert {"0.01", "29,956"} <= set(found.reason.split())
