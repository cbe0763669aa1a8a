"""Which conditions come true when; times and values are worked out by hand."""

import random

from hypothesis import given
from hypothesis import strategies as st

from dirtune.watch.expression import SETS, parse
from dirtune.watch.judge import Judge
from tests.watch import moments_of
from tests.watch.moments_of import moment

SOFTNET, STAT = "/proc/net/softnet_stat", "/proc/stat"
PERCPU, DEV = "/proc/net/ip_vs_stats_percpu", "/proc/net/dev"


def fired(condition, moments):
    """Return (time, object, value) of each firing of *condition*."""
    judge = Judge((parse(condition),))
    return [
        (each.at_s, firing.object, round(firing.value, 6))
        for each in moments
        for firing in judge.firings(each)
    ]


def drops(*series, step_s=1.0):
    return [
        moment(n * step_s, {SOFTNET: moments_of.softnet(*each)}) for n, each in enumerate(series)
    ]


def rates(*connections):
    total, moments = 0, [moment(0, {PERCPU: moments_of.percpu(0)})]
    for at_s, rate in enumerate(connections, 1):
        total += rate
        moments.append(moment(at_s, {PERCPU: moments_of.percpu(total)}))
    return moments


def test_a_counter_that_rises_fires_once_until_it_rests():
    moments = drops((5, 0), (5, 0), (5, 7), (6, 7), (6, 7), (8, 7))

    assert fired("softnet.dropped > 0/s", moments) == [(2, "", 7), (5, "", 2)]
    assert fired("softnet.dropped > 0/s on any", moments) == [
        (2, "1", 7),
        (3, "0", 1),
        (5, "0", 2),
    ]
    assert fired("softnet.dropped > 0/s on 1", moments) == [(2, "1", 7)]


def test_for_counts_the_seconds_that_the_rates_cover():
    moments = drops(*((n,) for n in (0, 0, 1, 1, 2, 3, 4, 4)))

    assert fired("softnet.dropped > 0/s for 2 s", moments) == [(5, "", 1)]
    assert fired("softnet.dropped > 0/s for 3 s", moments) == [(6, "", 1)]
    assert fired("softnet.dropped > 0/s for 4 s", moments) == []


def test_any_for_asks_one_cpu_for_the_whole_time():
    turns = drops((0, 0), (1, 0), (1, 1), (2, 1), (2, 2))

    assert fired("softnet.dropped > 0/s on any for 2 s", turns) == []
    assert fired("softnet.dropped > 0/s for 2 s", turns) == [(2, "", 1)]


def test_all_asks_every_cpu():
    moments = drops((0, 0), (5, 0), (9, 3))

    assert fired("softnet.dropped > 0/s on all", moments) == [(2, "", 3)]


def test_a_counter_that_went_back_is_no_rate():
    readings = enumerate((0, 900, 3, 3))
    moments = [moment(n, {PERCPU: moments_of.percpu(total)}) for n, total in readings]

    assert fired("ipvs.connections > 0/s", moments) == [(1, "", 900)]
    assert fired("softnet.dropped > 0/s", drops((4_000_000,), (5,))) == []


def test_a_32_bit_counter_that_wrapped_is_a_rate():
    assert fired("softnet.dropped > 0/s", drops((2**32 - 1,), (4,))) == [(1, "", 5)]


def test_after_asks_for_the_value_within_the_minute_before():
    condition = "ipvs.connections < 100/s after 5000/s"

    assert fired(condition, rates(50, 50, 6000, 50, 50)) == [(4, "", 50)]
    assert fired(condition, rates(*[50] * 9)) == []
    assert fired(condition, rates(6000, *[200] * 59, 50)) == [(61, "", 50)]
    assert fired(condition, rates(6000, *[200] * 70, 50)) == []
    assert fired("ipvs.connections > 900/s after 9/s", rates(5, 999)) == [(2, "", 999)]


def test_a_percentage_of_time_and_of_a_table():
    busy = [
        moment(0, {STAT: moments_of.stat((0, 0, 0), (0, 0, 0))}),
        moment(1, {STAT: moments_of.stat((0, 100, 0), (5, 3, 92))}),
    ]
    full = [moment(n, moments_of.conntrack(count, 200)) for n, count in enumerate((100, 181))]

    assert fired("cpu.softirq > 90 % on any", busy) == [(1, "1", 92)]
    assert fired("cpu.softirq > 45 %", busy) == [(1, "", 46)]
    assert fired("cpu.idle < 52 %", busy) == [(1, "", 51.5)]
    assert fired("conntrack.used > 90 %", full) == [(1, "", 90.5)]


def test_keepalived_waited():
    def delay(*waits):
        return {"/proc/KEEPALIVED/schedstat": "".join(f"{n} 5 {w} 9\n" for n, w in waits)}

    moments = [
        moment(0, delay((7, 0), (8, 10**9))),
        moment(1, delay((7, 100), (8, 10**9))),
        moment(2, delay((7, 100), (8, 2_500_000_000))),
        moment(3, delay((7, 100), (9, 9_000_000_000))),
    ]

    assert fired("keepalived.delay > 1 s", moments) == [(2, "", 1.5)]


def test_the_line_of_an_interrupt():
    def table(*counts):
        rows = (
            f"  24:  {counts[0]}  {counts[1]}  PCI-MSI 1-edge  eth0\n 124:  9  9  x  1-edge  y\n"
        )
        return {"/proc/interrupts": f"     CPU0  CPU1\n{rows}"}

    moments = [moment(0, table(0, 0)), moment(1, table(30_000, 25_000))]

    assert fired("irq 24 > 50000/s", moments) == [(1, "", 55_000)]
    assert fired("irq 24 > 28000/s on any", moments) == [(1, "0", 30_000)]
    assert fired("irq 4 > 0/s", moments) == []


def test_a_suspended_host_has_no_rate():
    low = rates(6000, 6000, 50)
    woken = [*low[:3], moment(3, {PERCPU: moments_of.percpu(12_050)}, asleep_s=900)]

    assert fired("ipvs.connections < 100/s after 5000/s", low) == [(3, "", 50)]
    assert fired("ipvs.connections < 100/s after 5000/s", woken) == []


def test_a_long_wait_proves_a_high_rate_but_no_low_one():
    def late(total):
        return [*rates(6000), moment(31, {PERCPU: moments_of.percpu(total)})]

    assert fired("ipvs.connections < 100/s after 5000/s", late(6_300)) == []
    assert fired("ipvs.connections > 9000/s", late(6_000 + 300_000)) == [(31, "", 10_000)]


def test_a_source_that_vanishes_is_unknown_and_returns():
    judge = Judge((parse("ipvs.connections < 10/s for 2 s"),))
    texts = [{PERCPU: moments_of.percpu(0)}, {}, {}, {PERCPU: "torn"}]
    texts += [{PERCPU: moments_of.percpu(n)} for n in (0, 1, 2)]
    seen = [(judge.firings(moment(n, each)), judge.lost) for n, each in enumerate(texts)]

    assert [len(firings) for firings, _ in seen] == [0, 0, 0, 0, 0, 0, 1]
    assert [bool(lost) for _, lost in seen] == [False, True, True, True, False, False, False]


def test_a_cpu_that_goes_offline_is_lost():
    judge = Judge((parse("softnet.dropped > 0/s on 1"), parse("softnet.dropped > 0/s on any")))
    lost = []
    for each in drops((0, 0), (0,), (0, 0)):
        judge.firings(each)
        lost.append(judge.lost)

    assert lost == [frozenset(), {"softnet.dropped > 0/s on 1"}, frozenset()]


def test_a_fault_that_lasts_longer_than_its_capture_fires_once():
    judge = Judge((parse("conntrack.used > 90 %"),))
    table = moments_of.conntrack(95, 100)
    count = 0
    for at_s in range(5):
        count += len(judge.firings(moment(at_s, table)))
        judge.restart()

    # The first moment after each restart is only a base.
    assert count == 0
    assert len(judge.firings(moment(6, table)) + judge.firings(moment(7, table))) == 1
    judge.restart()
    assert judge.firings(moment(18, table)) + judge.firings(moment(19, table)) == ()


def test_interfaces_that_come_and_go_leave_nothing_behind():
    judge = Judge((parse("net.rx_dropped > 0/s on any"),))
    head = "Inter-|   Receive |  Transmit\n face |bytes packets\n"
    for n in range(300):
        judge.firings(moment(n, {DEV: f"{head} veth{n}: {' 0' * 16}\n"}))

    assert sum(len(states) for _, states in judge._states) <= 2


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 4))
def test_a_run_of_drops_as_long_as_asked_is_never_missed_and_none_is_invented(rises, long):
    totals = [(sum(rises[:n]),) for n in range(len(rises) + 1)]
    # Each run of seconds with drops fires once, when it is `long` seconds old.
    runs = "".join("x" if rise else " " for rise in rises).split(" ")

    found = fired(f"softnet.dropped > 0/s for {long} s", drops(*totals))

    assert len(found) == sum(len(run) >= long for run in runs)


def quiet_hour(seed):
    """Yield an hour of a busy but healthy director with two CPUs, with one suspension."""
    chance = random.Random(seed)
    cpus, connections, asleep, at = [[0, 0, 0], [0, 0, 0]], 0, 0.0, 0.0
    head = "Inter-|   Receive |  Transmit\n face |bytes packets\n"
    received = dropped = 0
    for second in range(3600):
        at += 1 + chance.uniform(-0.02, 0.02)
        asleep += 3600 * (second == 1800)
        for cpu in cpus:
            soft = chance.randint(5, 85)
            user = chance.randint(0, 100 - soft)
            for column, ticks in enumerate((user, 100 - soft - user, soft)):
                cpu[column] += ticks
        connections += chance.randint(3000, 6000)
        received += 40_000
        dropped += chance.randint(0, 2)  # frames of unknown protocols
        row = f" eth0: 9 {received} 0 {dropped} 0 0 0 0 9 9 0 0 0 0 0 0\n"
        yield moment(
            at,
            {
                STAT: moments_of.stat(*cpus),
                SOFTNET: moments_of.softnet(31, 0),
                PERCPU: moments_of.percpu(connections),
                DEV: f"{head}{row}",
                "/proc/net/netstat": "TcpExt: ListenDrops\nTcpExt: 12\n",
                "/proc/KEEPALIVED/schedstat": f"7 {second} {second * 9_000_000} 3\n",
                "netlink/addresses": "2",
                **moments_of.conntrack(chance.randint(50, 85), 100),
            },
            asleep_s=asleep,
        )


def test_an_hour_of_quiet_invents_nothing():
    judge = Judge(tuple(parse(text) for name in SETS for text in SETS[name]))

    assert [found for each in quiet_hour(2) if (found := judge.firings(each))] == []


def test_a_fault_in_the_quiet_hour_is_seen():
    moments = list(quiet_hour(1))
    texts = {**moments[600].texts, SOFTNET: moments_of.softnet(32, 0).encode()}
    judge = Judge(tuple(parse(text) for text in SETS["drops"]))
    later = moment(moments[600].at_s, {p: t.decode() for p, t in texts.items()})

    firings = [judge.firings(each) for each in (*moments[598:600], later)]

    assert [firing.expression.text for firing in firings[-1]] == ["softnet.dropped > 0/s"]
