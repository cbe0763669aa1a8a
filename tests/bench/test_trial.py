"""One trial on a simulated director: phases, numbers worked out by hand, and every label."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest
from simulated import PLAN, Director, planned

from dirtune.bench.outcome import Order
from dirtune.bench.trial import conduct
from dirtune.errors import NodeUnreachable, PlanError
from dirtune.latency import Latency
from dirtune.plan.metrics import METRICS
from tests.golden import same

ORDER = Order("p01-1-A", "A", "judged", 150.0, 1)


def balanced(scheduler="rr", weight=1, **changes):
    """Return a plan with two real servers, the first of this *weight*."""
    to = [{"node": "rs1", "weight": weight}, {"node": "rs2", "weight": 1}]
    return planned(service={"scheduler": scheduler}, to=to, servers=["rs1", "rs2"], **changes)


WITH_SERVERS = balanced()


def conducted(director, order=ORDER, plan=PLAN):
    return asyncio.run(conduct(director, plan, order))


def test_the_numbers_of_a_trial():
    trial = conducted(Director(cost_us=2000)).trial

    assert (trial.validity, trial.reason) == ("valid", None)
    # 13 s (2 + 10 + 1) of two clients, 3 connections each 39 and each 41 ms: 150.09/s
    assert (trial.intended, trial.attempted, trial.replied) == (1956, 1956, 1956)
    assert trial.reply_rate == pytest.approx(150, abs=0.5)
    # 1500 connections x 2 ms = 3 s of 10 s
    assert trial.metrics["cpu_us_per_connection"] == pytest.approx(2000, rel=0.005)
    assert trial.metrics["director_idle_percent"] == pytest.approx(70, abs=0.1)
    assert trial.metrics["interrupts_per_connection"] == 6
    assert trial.metrics["packets_per_connection"] == 5
    assert trial.metrics["cpu_us_per_packet"] == pytest.approx(400, rel=0.005)
    # A plan may name each of them as its primary metric.
    assert set(METRICS) <= set(trial.metrics)
    assert trial.metrics["connect_ms"] == 1.5
    assert trial.counters["connections"] == pytest.approx(1501, abs=1)
    assert trial.counters["connections_total"] == pytest.approx(1956, abs=6)
    assert trial.counters["irq_10"] == 6 * trial.counters["connections"]
    assert (trial.latency.p50_ms, trial.latency.p99_ms) == (4, 4)
    assert trial.offered_rate == pytest.approx(150.09, abs=0.01)


def test_what_was_stolen_from_a_guest_director_is_not_its_work():
    # 2 ms each, of which 1 % of 10 s over 1501 connections was time the guest did not have
    stolen = {"steal_percent": 1.0}
    guest = conducted(broken(cost_us=2000, guest=True, **stolen)).trial.metrics
    machine = conducted(broken(cost_us=2000, **stolen)).trial.metrics

    assert guest["stolen_us_per_connection"] == pytest.approx(66.6, abs=0.5)
    assert machine["cpu_us_per_connection"] == pytest.approx(2000, rel=0.005)
    assert guest["cpu_us_per_connection"] == pytest.approx(2000 - 66.6, rel=0.005)
    assert "stolen_us_per_connection" not in machine


@pytest.mark.parametrize(
    ("pace", "validity"), [(0.85, "noisy"), (0.97, "valid"), (1.04, "valid"), (1.2, "noisy")]
)
def test_a_director_whose_clock_is_not_real_time_does_not_count(pace, validity):
    trial = conducted(broken(pace=pace)).trial

    assert trial.validity == validity
    if validity == "noisy":
        assert f"{10 * pace:.1f} s in 10.0 s" in trial.reason


@pytest.mark.parametrize(("window", "validity"), [(4, "valid"), (40, "noisy")])
def test_a_sample_that_comes_late_is_no_slow_clock(window, validity):
    """A tenth is 0.4 s of 4 s, which one slow answer explains, but 4 s of 40 s."""
    plan = planned(window=f"{window}s")
    director = Director(plan)
    director.pace = 0.9

    assert conducted(director, plan=plan).trial.validity == validity


def test_a_judged_trial_touches_the_nodes_twice_while_the_load_runs():
    director = Director()
    conducted(director)

    loaded = director.log[director.log.index("load") : director.log.index("end load")]
    assert loaded == ["load", *("sample", "sample peers") * 2]


def test_a_profiled_trial_samples_every_node_each_second_and_probes():
    director = Director()
    result = conducted(director, Order("profile", "A", "profiled", 150.0))

    # The window's 10 s have 11 edges; the probe is loaded before the load and opens with it.
    log = director.log
    assert log.count("sample all") == 11
    assert log.index("probe 10 irq") < log.index("load") < log.index("begin probe")
    assert log[log.index("begin probe") + 1] == "sample all"
    assert log[-1] == "end probe"
    assert result.profile.seconds == 10
    assert [node.role for node in result.trial.nodes] == [
        "director",
        "real server",
        "client",
        "client",
    ]
    assert result.trial.nodes[0].states["system"].mean == pytest.approx(30, abs=0.2)


def test_an_observed_trial_samples_every_node_each_second_without_probes():
    director = Director()
    result = conducted(director, Order("observed", "A", "observed", 150.0))

    assert result.trial.kind == "observed"
    assert director.log.count("sample all") == 11
    assert not any("probe" in each for each in director.log)
    assert [node.node for node in result.trial.nodes] == ["local", "rs1", "c1", "c2"]
    assert result.profile is None


@pytest.mark.parametrize("kind", ["judged", "baseline", "search", "confirm"])
def test_quiet_kinds_are_quiet(kind):
    director = Director()
    conducted(director, Order(kind, "A", kind, 150.0))

    assert director.log.count("sample all") == 0
    assert director.log.count("sample peers") == 2


def test_the_load_begins_only_when_the_director_is_idle():
    director = Director(busy_until_s=7)
    trial = conducted(director).trial

    # Busy for seven seconds: the 8th, 9th and 10th are the first three idle ones in a row.
    assert trial.settle_s == pytest.approx(10, abs=0.01)
    assert trial.settled
    assert trial.metrics["cpu_us_per_connection"] == pytest.approx(2000, rel=0.005)


def test_the_idle_seconds_must_be_in_a_row():
    class Hiccup(Director):
        def pass_time(self, seconds):
            super().pass_time(seconds)
            if self.clock_s == 1002:
                self.busy_ticks += 100

    # Idle, busy, idle, idle, idle.
    assert conducted(Hiccup()).trial.settle_s == 5


def test_waiting_is_bounded_and_said():
    trial = conducted(Director(busy_until_s=3600)).trial

    assert trial.settle_s == pytest.approx(20, abs=0.01)
    assert not trial.settled


def broken(**faults):
    director = Director()
    for name, value in faults.items():
        setattr(director, name, value)
    return director


REFUSING = {"net": {"rs1": {"Tcp.OutRsts": 5}}}


FAULTS = [
    ({"dies": "c2"}, "setup_error", "c2"),
    ({"leak": 0.01}, "setup_error", "1956"),
    ({"leak": -0.01}, "setup_error", "1956"),
    # 5 RST a second for 10 s, of 1501 connections.
    (REFUSING, "setup_error", "rs1 refused 50"),
    ({"served": {"rs1": 1.3, "rs2": 0.7}}, "setup_error", "65.0%"),
    ({"unsent": 2}, "client_limited", "0.20 %"),
    ({"lacks": {"fd-unavail": 30}}, "client_limited", "60"),
    ({"late_s": 3.0}, "client_limited", "c1"),
    # 1 % of 13 s, and the 50 ms that starts may differ by.
    ({"late_s": 0.19}, "client_limited", "13.18 s"),
    # Each client begins 76 a second: 50 ms are worth 3.8, and 4 at once a stall.
    ({"says": {"burst": 4}}, "client_limited", "4"),
    ({"says": {"poll_cpu_percent": 94}}, "client_limited", "94 %"),
    ({"busy": {"c2": 95}}, "client_limited", "95 %"),
    ({"net": {"c1": {"tx_dropped": 2}}}, "client_limited", "20"),
    ({"spread_s": 0.06}, "noisy", "60 ms"),
    ({"steal_percent": 4.0}, "noisy", "4.0 %"),
    # 6 ticks in each second.
    ({"running": [("sshd", False, 1), ("dnf", False, 6)]}, "noisy", "dnf"),
]


@pytest.mark.parametrize(("faults", "validity", "evidence"), FAULTS)
def test_what_does_not_count_and_why(faults, validity, evidence):
    trial = conducted(broken(**faults), plan=WITH_SERVERS).trial

    assert validity == trial.validity
    assert evidence in trial.reason


@pytest.mark.parametrize(("worst", "other"), [("c1", "c2"), ("c2", "c1")])
@pytest.mark.parametrize(
    ("starved", "slowed"),
    [
        # A CPU quota of 5 % for one client; the other only waits for its CPU now and then.
        ({"poll_cpu_percent": 5}, {"poll_cpu_percent": 94}),
        ({"span_s": 40.0}, {"span_s": 13.3}),
        # Different limits: a tenth of the CPU is worse than 4 connections where 3.8 are allowed.
        ({"poll_cpu_percent": 9}, {"poll_cpu_percent": 99, "burst": 4}),
        ({"unsent": {"fd-unavail": 500}}, {"unsent": {"fd-unavail": 20}}),
    ],
)
def test_the_client_that_lacks_most_is_named_before_its_neighbour(worst, other, starved, slowed):
    faults = {"client_says": {worst: starved, other: slowed}}

    trial = conducted(broken(**faults), plan=WITH_SERVERS).trial

    assert trial.validity == "client_limited"
    assert re.findall(r"\bc[12]\b", trial.reason) == [worst, other]


def test_the_busiest_client_is_named_first():
    trial = conducted(broken(busy={"c1": 91, "c2": 99}), plan=WITH_SERVERS).trial

    assert trial.validity == "client_limited"
    assert trial.reason == "c2: a CPU was 99 % busy; c1: a CPU was 91 % busy"


def test_the_clients_that_did_not_start_connections_are_named():
    # In 13 s, c1 should start 3 connections each 39 ms (1002), and c2 3 each 41 ms (954).
    counts = {"c1": 970, "c2": 478}
    says = {name: {"attempted": count, "replied": count} for name, count in counts.items()}
    # The director counts 2 x 254 fewer.
    trial = conducted(broken(client_says=says, lost_before=254), plan=WITH_SERVERS).trial

    assert trial.validity == "client_limited"
    assert trial.reason.endswith("25.97 % of the scheduled connections (c2 476, c1 32)")


@pytest.mark.parametrize("late", ["c1", "c2"])
def test_the_client_that_starts_late_is_named_with_its_delay_and_a_remedy(late):
    (first,) = {"c1", "c2"} - {late}
    trial = conducted(broken(spread_s=0.0, delays_s={late: 0.13}), plan=WITH_SERVERS).trial

    assert trial.validity == "noisy"
    assert f"{late} started 130 ms after {first}" in trial.reason
    assert f"give {late} more CPU time" in trial.reason
    assert "validity.start_spread" in trial.reason


def test_the_reasons_and_labels_as_they_are_read():
    told = [
        *(conducted(broken(**faults), plan=WITH_SERVERS) for faults, _, _ in FAULTS),
        conducted(broken(served={"rs1": 1.2, "rs2": 0.8}), plan=balanced("wrr", 3)),
        conducted(broken(stall_at_s=6)),
        conducted(broken(net={"c1": {"TcpExt.TCPSynRetrans": 2}})),
        conducted(broken(net={"rs1": {"TcpExt.ListenDrops": 3}}), plan=WITH_SERVERS),
        conducted(Director(), plan=planned(keepalive=2)),
        conducted(Director(), plan=planned(warmup=12, warmup_max="60s")),
        conducted(Director(), Order("r1", "A", "judged", 150.0), balanced(generator="wrk")),
    ]
    rows = (f"{each.trial.validity}: {each.trial.reason}; {each.trial.labels}" for each in told)

    same(Path(__file__).parent / "golden/trial-reasons.txt", "\n".join(rows))


@pytest.mark.parametrize(
    "faults",
    [
        {"leak": 0.004},
        {"says": {"burst": 3, "poll_cpu_percent": 96}, "busy": {"c1": 100}},
        {"unsent": 0},
        {"late_s": 0.17},
        {"steal_percent": 1.9},
        {"spread_s": 0.04},
        {"busy": {"c2": 89, "rs1": 99}},
        {"net": {"c1": {"Tcp.OutRsts": 50}}},
        {"served": {"rs1": 1.01, "rs2": 0.99}},
        {"running": [("ksoftirqd/0", True, 90), ("keepalived", False, 4)]},
        {"failed": {"timeout": 300}},
        {"failed": {"connect": 300}, "lost_before": 300},
    ],
)
def test_what_is_within_the_limits_counts(faults):
    assert conducted(broken(**faults), plan=WITH_SERVERS).trial.validity == "valid"


@pytest.mark.parametrize(
    ("path", "validity", "cost_us"),
    [("ipvs", "setup_error", None), ("routed", "valid", 2000), ("past", "valid", None)],
)
def test_what_does_not_pass_ipvs_is_not_held_against_its_count(path, validity, cost_us):
    director = Director(cost_us=2000)
    director.leak = 1.0  # IPVS counts nothing

    trial = conducted(director, replace(ORDER, path=path)).trial

    assert trial.validity == validity
    found = trial.metrics.get("cpu_us_per_connection")
    assert found == (None if cost_us is None else pytest.approx(cost_us, rel=0.005))
    assert trial.reply_rate == pytest.approx(150, abs=0.5)


class SlowOnce(Director):
    """A director whose first sample under load comes late."""

    first_late_s = 2

    async def sample(self):
        if self.rate and self.first_late_s:
            self.pass_time(self.first_late_s)
            self.first_late_s = 0
        return await super().sample()


@pytest.mark.parametrize("path", ["ipvs", "routed"])
def test_a_window_that_opens_late_is_as_long_as_it_was_and_prices_stay(path):
    director = SlowOnce(cost_us=2000)
    director.leak = float(path == "routed")  # IPVS counts no routed connection

    trial = conducted(director, replace(ORDER, path=path)).trial

    assert trial.validity == "valid"
    assert trial.window_s == pytest.approx(8, abs=0.01)
    assert trial.metrics["cpu_us_per_connection"] == pytest.approx(2000, rel=0.01)
    if path == "ipvs":
        assert trial.counters["connections"] == pytest.approx(8 * 150, rel=0.01)


def test_a_window_of_less_than_four_fifths_is_noise():
    director = SlowOnce()
    director.first_late_s = 2.1

    trial = conducted(director).trial

    assert trial.validity == "noisy"
    assert trial.reason.startswith("the window lasted 7.9 s instead of 10 s")


def test_the_director_lists_its_programs_before_the_load_begins():
    director = Director()
    rates = []

    async def programs():
        rates.append(director.rate)
        return ()

    director.programs = programs
    conducted(director)

    assert rates == [0, 0]


def test_what_is_missing_past_the_director_is_still_the_clients():
    director = Director()
    director.leak, director.lacks = 1.0, {"fd-unavail": 30}

    trial = conducted(director, replace(ORDER, path="past")).trial

    assert (trial.validity, trial.unsent) == ("client_limited", {"fd-unavail": 60})


def test_a_full_client_is_never_a_directors_limit():
    """Whatever is lost beside it, and however much."""
    lost = {"failed": {"timeout": 400, "connect": 100}, "lost_before": 100}
    for limit in (
        {"lacks": {"fd-unavail": 50}},
        {"unsent": 50},
        {"late_s": 5.0},
        {"busy": {"c1": 99}},
    ):
        assert conducted(broken(**limit, **lost)).trial.validity == "client_limited"


def test_a_syn_that_never_reached_the_director_is_loss():
    trial = conducted(broken(failed={"connect": 300}, lost_before=300)).trial

    assert (trial.attempted, trial.replied, trial.failed) == (1956, 1356, {"connect": 600})
    assert trial.counters["connections_total"] == pytest.approx(1356, abs=6)


def test_one_second_of_steal_is_noise_though_the_mean_is_not():
    class Stolen(Director):
        def pass_time(self, seconds):
            super().pass_time(seconds)
            if self.clock_s == 1009:
                self.stolen_s += 0.15

    trial = conducted(Stolen()).trial

    assert trial.host["steal"] == pytest.approx(1.5, abs=0.1)
    assert trial.validity == "noisy"
    assert "15.0" in trial.reason.split()


def test_shares_and_signals_are_in_the_result():
    # Of 1956 connections, 1.2 times and 0.8 times the even share of two.
    director = broken(served={"rs1": 1.2, "rs2": 0.8}, net={"rs1": {"TcpExt.ListenDrops": 3}})
    wrr = balanced("wrr", 3)
    trial = conducted(director, plan=wrr).trial

    assert trial.shares == {
        "rs1": pytest.approx(1174, abs=5),
        "rs2": pytest.approx(782, abs=5),
    }
    # 3 to 1 were promised.
    assert all(each in trial.reason for each in ("rs1", "60.0%", "75.0%"))
    assert trial.signals["rs1"]["listen_drops"] == 30
    assert trial.signals["c1"]["busiest_cpu_percent"] == pytest.approx(10)
    assert any({"rs1", "30"} <= set(label.split()) for label in trial.labels)


def test_what_the_director_dropped_is_counted():
    director = Director()
    director.net = {"local": {"softnet_dropped": 2, "TcpExt.ListenDrops": 9}}

    counters = conducted(director).trial.counters

    assert counters["softnet_dropped"] == 20  # of 10 s
    assert not counters.keys() & {"rx_dropped", "tx_dropped", "TcpExt.ListenDrops"}


def test_what_a_slow_stall_is():
    """5/s for each client: 50 ms are worth a quarter, and three at once are chance."""
    slow = balanced(rates=[10])

    def at(burst):
        order = Order("r10-1", "A", "judged", 10.0)
        return conducted(broken(says={"burst": burst}), order, slow).trial.validity

    assert (at(3), at(4)) == ("valid", "client_limited")


def test_rr_knows_no_weights():
    heavy = balanced(weight=3)

    assert conducted(broken(served={"rs1": 1, "rs2": 1}), plan=heavy).trial.validity == "valid"


@pytest.mark.parametrize(("stale", "told"), [(0, True), (2, True), (3, False)])
def test_shares_that_are_not_copied_yet_are_asked_for_again(stale, told):
    """Twice before and after the load: of three stale answers one comes before it."""
    trial = conducted(broken(served={"rs1": 1, "rs2": 1}, shares_stale=stale)).trial

    assert trial.shares == ({"rs1": 978, "rs2": 978} if told else {})


def test_shares_are_not_asked_for_before_the_preflight_is_copied_into_them():
    """The estimator copies a destination's counters every two seconds."""
    director = Director()
    conducted(director, plan=planned(settle_s=1))

    times = {what: at for at, what in reversed(director.when)}
    assert times["load"] - times["preflight"] == 2.5


def test_a_table_is_drained_at_a_hundredth_of_its_peak():
    """100/s fill it with 12,000 entries at the most, however long the load is."""
    plan = planned(rates=[100], warmup=300, settle="drain")
    order = Order("r", "A", "judged", 100.0)

    def settled(inactive):
        return conducted(broken(inactive=inactive), order, plan).trial.settled

    assert (settled(120), settled(121)) == (True, False)


def test_sockets_in_time_wait_are_drained_too():
    """100/s for 60 s are 6,000 of them at the most, over all nodes."""

    class Waiting(Director):
        def counted(self, name):
            return {"time_wait": {"c1": 40, "rs1": self.waiting}.get(name, 0)}

    def trial(waiting, settle):
        director = Waiting()
        director.waiting = waiting
        order = Order("r", "A", "judged", 100.0)
        plan = planned(rates=[100], warmup=300, settle=settle)
        return conducted(director, order, plan).trial

    assert (trial(20, "drain").settled, trial(21, "drain").settled) == (True, False)
    assert trial(21, "idle").settled
    assert trial(21, "idle").signals["rs1"]["time_wait"] == 21, "at the window's end"


class Filling(Director):
    """Its table takes 150 entries a second for 20 s from the load's beginning, at 1003 s."""

    def counters(self):
        entries = 150 * min(max(0.0, self.clock_s - 1003), 20)
        return replace(super().counters(), inactive=round(entries))


@pytest.mark.parametrize(
    ("longest", "opens", "steady"),
    [
        # At 30 s the last ten have added nothing to 3,000 but their first 0.2 s.
        (60, 31, True),
        # From 15 to 25 s the table grows from 2,250 to 3,000.
        (15, 15, False),
    ],
)
def test_a_warm_up_goes_on_until_the_director_is_steady(longest, opens, steady):
    director = Filling()
    plan = planned(warmup_max=longest)

    director.stall_at_s = 5  # in the warm-up

    trial = conducted(director, plan=plan).trial

    (loaded,) = [at for at, what in director.when if what == "load"]
    first = next(at for at, what in director.when if what == "sample peers")
    assert (loaded, first) == (1003, 1003 + opens)
    # A third of 2,250; the stall was in the warm-up, so nothing else is told.
    _short, warm_up, *others = trial.labels
    assert str(opens) in warm_up.split()
    assert ["33.3%" in label for label in others] == ([] if steady else [True])
    # 3 connections each 39 and each 41 ms, over the longest warm-up, the window and a second.
    assert trial.intended == sum(3 * -(-(longest + 11) * 1000 // step) for step in (39, 41))
    assert trial.reply_rate == pytest.approx(150, abs=0.5)
    assert trial.validity == "valid"


def test_a_steady_load_is_not_warmed_up_for_longer_than_it_takes_to_see_that():
    plan = planned(warmup=12, warmup_max="60s")

    trial = conducted(Director(), plan=plan).trial

    # Eleven samples, from 2 s to 12 s; the window opens a second later.
    _short, warm_up = trial.labels
    assert "13" in warm_up.split()


def test_syns_sent_again_are_explained():
    trial = conducted(broken(net={"c1": {"TcpExt.TCPSynRetrans": 2}})).trial

    assert trial.validity == "valid"
    assert any({"20", "SYNs"} <= set(label.split()) for label in trial.labels)
    full = {"c1": {"TcpExt.TCPSynRetrans": 2}, "rs1": {"TcpExt.ListenDrops": 2}}
    explained = conducted(broken(net=full)).trial.labels
    assert not any("SYNs" in label.split() for label in explained), "rs1 dropped them"


def test_rates_are_of_connections_however_many_requests_each_has():
    """Of its log's rows, two for each connection, a connection's worth is two."""
    plan = planned(keepalive=2)
    trial = conducted(Director(), plan=plan).trial

    assert trial.reply_rate == pytest.approx(75, abs=0.5)
    assert any("2" in label.split() for label in trial.labels)


def test_numbers_of_a_generator_without_a_log():
    """httperf and the like: replies over the time it says, latencies by its histogram."""
    steps = ((0.5, 900), (1.5, 90), (80.5, 10))
    said = {
        "replies": (),
        "replied": 900,
        "elapsed_s": 12.0,
        "latency": Latency(1.4, 9.9, 9.9, of="connection"),
        "histogram": steps,
        "failed": {"timeout": 78},
    }
    trial = conducted(broken(says=said)).trial

    assert trial.reply_rate == 2 * 900 / 12
    # Of 2 x 1000 the 1000th is in the first step; the 1980th, the first beyond 99 %, in the last.
    assert (trial.latency.p50_ms, trial.latency.p99_ms) == (0.5, 80.5)
    assert (trial.latency.mean_ms, trial.latency.of) == (pytest.approx(1.4), "connection")
    assert trial.validity == "valid"


def test_the_director_does_not_tell_of_what_goes_past_it():
    director = Director()
    director.leak = 1.0
    director.says = {"attempted": None}

    assert conducted(director, replace(ORDER, path="past")).trial.attempted == 1956
    assert conducted(director).trial.attempted == 0


def test_what_a_command_does_not_say_the_director_tells():
    said = {"attempted": None, "replies": (), "elapsed_s": 13.0}
    trial = conducted(broken(says=said)).trial

    assert trial.attempted == trial.counters["connections_total"]
    assert trial.validity == "valid"


def test_a_ramp_comes_before_the_window():
    """At 3 s + 2 s, not at 2 s: the stall in the third second is not in the window."""
    ramped = planned(ramp=3)
    director = broken(stall_at_s=3)
    trial = conducted(director, plan=ramped).trial

    assert trial.labels == ("short",)
    opened = [at for at, what in director.when if what == "sample peers"]
    began = next(at for at, what in director.when if what == "load")
    assert [at - began for at in opened] == [5, 15]


def test_a_short_trial_and_one_that_is_not_steady_say_so():
    assert conducted(Director()).trial.labels == ("short",)
    stalled = conducted(broken(stall_at_s=6)).trial
    short, unsteady = stalled.labels
    assert short == "short"
    assert "1" in unsteady.split()


def test_a_closed_loop_is_a_peak_and_compares_nothing():
    peak = balanced(generator="wrk")

    trial = conducted(Director(), plan=peak, order=Order("r1", "A", "judged", 150.0)).trial

    assert trial.kind == "peak"
    assert trial.labels[0].startswith("closed loop")
    assert (trial.intended, trial.offered_rate) == (0, trial.reply_rate)
    # Each client cuts off at most its 50 open connections: 39 more are those, 196 are not.
    once = Order("r1", "A", "judged", 150.0)
    assert conducted(broken(leak=-0.02), once, peak).trial.validity == "valid"
    assert conducted(broken(leak=-0.10), once, peak).trial.validity == "setup_error"
    with pytest.raises(PlanError, match="wrk is a closed-loop generator"):
        conducted(Director(), plan=peak)


def test_a_dead_client_does_not_lose_the_others_data():
    result = conducted(broken(dies="c2"))

    assert result.trial.replied == 1002  # 3 each 39 ms in 13 s: 334 ticks
    assert set(result.raw) == {"c1.txt", "c2.txt"}


def test_unsent_connections_are_not_lost_ones():
    trial = conducted(broken(unsent=100)).trial

    assert (trial.intended, trial.attempted, trial.failed) == (1956, 1756, {})


def test_a_node_that_is_not_there_is_a_label_and_not_an_exception():
    trial = conducted(broken(lost=NodeUnreachable("c1: no route to host"))).trial

    assert (trial.validity, trial.reason) == ("setup_error", "c1: no route to host")
    assert trial.metrics == {}


def test_a_director_that_vanishes_under_load_ends_the_load():
    class Vanishing(Director):
        async def sample(self):
            if self.rate:
                raise NodeUnreachable("lb1: the connection was lost")
            return await super().sample()

    director = Vanishing()
    trial = conducted(director).trial

    assert (trial.validity, trial.reason) == ("setup_error", "lb1: the connection was lost")
    assert director.log[-1] == "end load"
