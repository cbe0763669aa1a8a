"""A whole plan on simulated nodes: order, interruption at any trial, cells that fail."""

import asyncio
import contextlib
import os
import signal

import msgspec
import pytest
from saturating import Saturating

from dirtune.analyse.run import Run
from dirtune.bench import matrix, store, tour
from dirtune.errors import NotPossible, PlanError, TrialError
from dirtune.jobs import benches
from tests.plans import BALANCED, plan_of

SETTLE = "[settle]\nseconds = 1\n"
KNEE = "[knee]\nloss = [1e-3]\nwarmup = 0.2\ntrial = 1\n"
CELLS = "[controls]\ndirect = true\n[matrix]\nreal_servers = [1, 2]\n"
KERNELS = '[matrix]\nkernel = ["a", "b"]\n'


def planned(more=SETTLE + KNEE + CELLS, **load):
    return plan_of(
        more,
        director="local",
        **BALANCED,
        clients=["c1", "c2"],
        **{"rates": [100, 200], "warmup": 0.2, "window": 1, "repeats": 2, **load},
    )


PLAN = planned()


def new(folder, plan=PLAN):
    text = dict.fromkeys(("started", "command", "version", "title", "primary_metric"), "")
    nothing = dict.fromkeys(("finished", "scenario", "forecast", "verdict"))
    empty = {name: {} for name in ("inventory", "audits", "handlers")}
    run = Run(
        id="r1",
        trials=(),
        comparisons=(),
        steps=(),
        plan_document=msgspec.to_builtins(plan),
        **text,
        **nothing,
        **empty,
    )
    return store.create(folder, run)


class Nodes:
    """Directors as their cells have them: one real server serves 80 connections/s."""

    def __init__(self, *, fails=()):
        self.fails = fails
        self.visits = []
        self.kept = []

    @contextlib.asynccontextmanager
    async def visit(self, cell):
        self.visits.append(cell.name)
        if cell.name in self.fails:
            raise NotPossible(f"lb1: {cell.name}: no such thing")
        capacity = 80 * cell.settings.get("real_servers", 1)
        yield Saturating(capacity, plan=cell.plan)

    def tour(self, kept, plan=PLAN, cells=None):
        def keep(result):
            kept.keep(result)
            self.kept.append(result.trial.id)

        cells = matrix.cells(plan) if cells is None else cells
        asyncio.run(tour.carry_out(plan, cells, self.visit, kept, keep))
        return kept.run


ONE, TWO = "real_servers=1", "real_servers=2"
SWEEP = [
    *("direct/r100-1", "direct/r200-1"),
    *(f"{ONE}/r100-1", f"{ONE}/r200-1"),
    *(f"{TWO}/r100-1", f"{TWO}/r200-1"),
    *(f"{TWO}/r100-2", f"{TWO}/r200-2"),
    *(f"{ONE}/r100-2", f"{ONE}/r200-2"),
    *("direct/r100-2", "direct/r200-2"),
]


def test_cells_are_visited_there_and_back(tmp_path):
    nodes = Nodes()
    run = nodes.tour(new(tmp_path))

    assert nodes.kept[: len(SWEEP)] == SWEEP
    # The way back begins where the way there ended; then each is looked at closely.
    assert nodes.visits == ["direct", ONE, TWO, ONE, "direct", "direct", ONE, TWO]
    assert {trial.cell for trial in run.trials} == {"direct", ONE, TWO}
    assert [k.cell for k in run.knees] == [ONE, TWO]
    one, two = (knee.rate for knee in run.knees)
    assert (one, two) == (pytest.approx(80, rel=0.03), pytest.approx(160, rel=0.03))
    assert [t.id for t in run.trials if t.kind == "observed"] == [
        *("direct/observed", f"{ONE}/observed", f"{TWO}/observed")
    ]


def test_a_control_past_the_director_is_not_held_against_its_counters(tmp_path):
    class Elsewhere(Saturating):
        def counters(self):
            now = super().counters()
            return now.__class__(now.at_s, now.stat, ip_vs={"connections": 7, "packets_in": 7})

    class Past(Nodes):
        @contextlib.asynccontextmanager
        async def visit(self, cell):
            yield Elsewhere(300, plan=cell.plan)

    run = Past().tour(new(tmp_path))

    found = {t.cell: t.validity for t in run.trials}
    assert found["direct"] == "valid"
    # What the director did meanwhile is not the cost of connections that never reached it.
    assert all("cpu_us_per_connection" not in t.metrics for t in run.trials if t.cell == "direct")
    assert found[ONE] == "setup_error"


def killed_at(fsync, folder):
    """Tour in a process that is killed at its n-th fsync; return whether it came that far."""
    child = os.fork()
    if child == 0:
        try:
            count, real = 0, os.fsync

            def sync(handle):
                nonlocal count
                count += 1
                if count == fsync:
                    os.kill(os.getpid(), signal.SIGKILL)
                real(handle)

            store.os.fsync = sync
            Nodes().tour(new(folder))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return Nodes().tour(new(tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize("fsync", [4, 9, 10, 11, 12, 37, 60, 95, 118, 160, 190])
def test_a_tour_killed_anywhere_goes_on_without_repeating(fsync, tmp_path, whole):
    assert killed_at(fsync, tmp_path)
    kept = store.resume(tmp_path / "r1")
    before = [trial.id for trial in kept.run.trials]
    nodes = Nodes()
    run = nodes.tour(kept)

    assert not set(nodes.kept) & set(before)
    assert [trial.id for trial in run.trials] == [trial.id for trial in whole.trials]
    assert run.knees == whole.knees
    assert store.load(tmp_path / "r1") == run


def test_a_finished_tour_touches_nothing(tmp_path, whole):
    kept = new(tmp_path)
    kept.save(whole)
    nodes = Nodes()
    nodes.tour(kept)

    assert (nodes.visits, nodes.kept) == ([], [])


def test_a_cell_that_cannot_be_reached_is_told_and_the_others_go_on(tmp_path):
    run = Nodes(fails=(ONE,)).tour(new(tmp_path))

    failed = [t for t in run.trials if t.cell == ONE]
    assert {t.validity for t in failed} == {"setup_error"}
    assert failed[0].reason == "lb1: real_servers=1: no such thing"
    assert [k.rate is None for k in run.knees] == [True, False]
    assert run.knees[0].reason == failed[0].reason


def test_a_cell_that_cannot_be_reached_stops_where_the_plan_says_so(tmp_path):
    strict = planned(f'{SETTLE}{KNEE}{CELLS}[validity]\non_lost_node = "stop"\n')
    kept = new(tmp_path, strict)

    with pytest.raises(TrialError, match=r"real_servers=1: lb1: .*.* kept"):
        Nodes(fails=(ONE,)).tour(kept, strict)
    assert [t.cell for t in kept.run.trials] == ["direct", "direct", ONE, ONE]


def test_a_trial_that_did_not_count_is_run_again_within_the_budget(tmp_path):
    class Leaky(Saturating):
        async def load(self, ticks):
            self.leak = 0.5
            return await super().load(ticks)

    class Broken(Nodes):
        @contextlib.asynccontextmanager
        async def visit(self, cell):
            yield Leaky(300, plan=cell.plan)

    simple = planned(SETTLE)
    nodes = Broken()
    run = nodes.tour(new(tmp_path, simple), simple)

    again = ["r100-1+2", "r100-1+3", "r100-1+4"]
    assert nodes.kept == ["r100-1", *again, "r200-1", "r100-2", "r200-2"]
    assert {t.validity for t in run.trials} == {"setup_error"}


def test_what_the_clients_limited_is_not_tried_again(tmp_path):
    class Slow(Nodes):
        @contextlib.asynccontextmanager
        async def visit(self, cell):
            yield Saturating(300, plan=cell.plan, clients=150)

    simple = planned(SETTLE)
    nodes = Slow()
    run = nodes.tour(new(tmp_path, simple), simple)

    assert nodes.kept == ["r100-1", "r200-1", "r100-2", "r200-2", "observed"]
    assert [t.validity for t in run.trials][:2] == ["valid", "client_limited"]
    assert run.trials[-1].offered_rate == pytest.approx(100, rel=0.01)


def test_nothing_that_can_be_carried_out_is_an_error(tmp_path):
    nat = planned(SETTLE + KNEE + '[matrix]\nforwarding = ["nat"]\n')

    with pytest.raises(PlanError, match=r"matrix\.forwarding: "):
        Nodes().tour(new(tmp_path, nat), nat)


def test_a_dry_run_says_the_trials_and_the_time():
    found = tour.itinerary(PLAN, matrix.cells(PLAN))

    assert [trial.id for trial in found.trials] == SWEEP
    assert found.searches == (f"{ONE}/k0.001", f"{TWO}/k0.001")
    # A trial: 2.2 s of load and 6 s around it; 12 in the sweep, 3 observed, 2 x 2 confirming,
    # and 2 x 12 searching.
    assert found.estimate_s == pytest.approx((12 + 3 + 4 + 24) * 8.2)
    assert (found.refused, found.boots) == ((), 0)
    ramped = planned(ramp=5)
    searching = tour.itinerary(ramped, matrix.cells(ramped)).estimate_s - found.estimate_s
    assert searching == pytest.approx((12 + 3 + 4) * 5), "those that search have no ramp"


def test_a_service_is_looked_at_for_others_once(tmp_path, monkeypatch):
    """Later visits find in the table what earlier ones left there."""
    opened = []

    @contextlib.asynccontextmanager
    async def rig(plan, *, alone, clients):
        opened.append((plan.service.vip, alone))
        director = Saturating(1000, plan=plan)
        director.alone = True
        yield director

    @contextlib.asynccontextmanager
    async def held(plan, holds):
        yield

    monkeypatch.setattr(benches.rig, "opened", rig)
    monkeypatch.setattr(benches, "held", held)
    one = planned(SETTLE + CELLS)
    asyncio.run(benches._tour(one, new(tmp_path, one)))

    past, vip = "198.18.0.11", "198.18.0.100"
    there, back = [(past, False), (vip, False), (vip, True)], [(vip, True), (past, True)]
    looks = [(past, True), (vip, True), (vip, True)]
    assert opened == [*there, *back, *looks]


def test_a_boot_for_each_repeat():
    booted = planned(SETTLE + KNEE + KERNELS)
    cells = matrix.cells(booted, boots=True)

    visits = [cell.name for cell, _ in tour.legs(matrix.slots(booted, cells))]
    assert visits == ["kernel=a", "kernel=b", "kernel=b", "kernel=a"]
    assert tour.itinerary(booted, cells).boots == 4
    assert all("lab" in cell.refused for cell in matrix.cells(booted))


def test_a_booted_cell_is_looked_at_closely_in_its_last_boot(tmp_path):
    booted, nodes = planned(SETTLE + KNEE + KERNELS), Nodes()
    run = nodes.tour(new(tmp_path, booted), booted, matrix.cells(booted, boots=True))

    assert nodes.visits == ["kernel=a", "kernel=b", "kernel=b", "kernel=a"]
    assert [knee.cell for knee in run.knees] == ["kernel=b", "kernel=a"]
    assert nodes.kept[:3] == ["kernel=a/first-1", "kernel=a/r100-1", "kernel=a/r200-1"]
    first = [trial.id for trial in run.trials if trial.kind == "baseline"]
    assert first == [f"kernel={k}/first-{n}" for k, n in ("a1", "b1", "b2", "a2")]
    assert {t.cell for t in run.trials if t.kind == "observed"} == {"kernel=a", "kernel=b"}
