"""h2load: its command, and every output recorded in the shared material."""

from pathlib import Path

import pytest

from dirtune.errors import ParseError
from dirtune.plan import generators
from dirtune.plan.generators import Reply, Schedule, h2load
from dirtune.plan.load import Load

SHARED = Path(__file__).parents[4] / "shared"
RECORDED = sorted(
    [*SHARED.glob("data/generators/h2load_*.txt"), *SHARED.glob("fixtures/h2load/*.txt")]
)
needs_shared = pytest.mark.skipif(not RECORDED, reason="the shared recordings are not here")

SUMMARY = """\
finished in 2.02s, 148.50 req/s, 58.00KB/s
requests: 300 total, 299 started, 290 done, 280 succeeded, 19 failed, 9 errored, 4 timeout
status codes: 280 2xx, 0 3xx, 0 4xx, 10 5xx
traffic: 108.28KB (110880) total, 32.52KB (33300) headers, 59.84KB (61280) data
                     min         max         mean         sd        +/- sd
time for request:      113us     96.42ms      2.62ms      8.23ms    94.70%
time for connect:       21us       1.04s       209us       589us    97.72%
time to 1st byte:      146us     96.59ms      2.83ms      8.25ms    94.56%
req/s           :      10.35     5728.00     1333.39      797.08    62.04%
"""


@pytest.mark.parametrize(
    ("rate", "batch", "period_ms"),
    [(150, 3, 20), (100, 1, 10), (37.5, 3, 80), (1000, 1, 1), (1500, 3, 2), (0.5, 1, 2000)],
)
def test_ticks_that_meet_a_rate_exactly(rate, batch, period_ms):
    ticks = generators.schedule(rate, 10)

    assert (ticks.batch, ticks.period_ms) == (batch, period_ms)
    assert ticks.rate == rate


def test_a_rate_no_tick_meets_says_what_it_becomes():
    # 1, 2, ... 5 connections per 7.14, 14.29, 21.43, 28.57, 35.71 ms: 5 in 36 ms is nearest.
    assert generators.schedule(140, 10).rate == pytest.approx(138.89, abs=0.01)


@pytest.mark.parametrize(
    ("rate", "ticks"),
    [
        # Up to 5 in 7 ms are 714.3/s, 2 per cent off; 6 in 9 ms are 666.7/s.
        (700, (7, 10)),
        # 5 in 1 ms are 5,000/s; 9, 10 and 11 in 1 ms are as far off as 19 in 2 ms, 9,500/s.
        (9500, (19, 2)),
        (6500, (13, 2)),
        (15, (3, 200)),
        (1e12, (1_000_000_000, 1)),  # nobody can, but it is told at once
    ],
)
def test_more_at_a_time_where_few_are_too_coarse(rate, ticks):
    found = generators.schedule(rate, 1)

    assert (found.batch, found.period_ms) == ticks


@pytest.mark.parametrize("clients", [1, 2, 4, 14])
def test_every_rate_is_offered_within_two_per_cent(clients):
    """One of whole milliseconds, and one of clients that drift through each other."""
    for rate in (*range(20, 1000, 7), *range(1000, 60_000, 331)):
        offered = sum(each.rate for each in generators.schedules(rate, clients, 10))
        assert offered == pytest.approx(rate, rel=0.02), rate


def test_a_rate_beyond_five_per_millisecond():
    assert generators.schedule(12_000, 1) == Schedule(12, 1, 12_000)


def test_connections_cover_the_time():
    assert generators.schedule(150, 20).connections == 3000
    assert generators.schedule(150, 0.05).connections == 9  # ticks at 0, 20 and 40 ms


def test_no_rate_is_refused():
    with pytest.raises(ValueError, match="must be positive"):
        generators.schedule(0, 10)


def test_command():
    load = Load(rates=(150,))
    (part,) = h2load.parts(load, Schedule(3, 20, 3000))
    argv = h2load.command(load, "http://198.18.0.100:80/", part)

    assert " ".join(argv) == (
        "h2load --h1 -t 1 -n 3000 -c 3000 -r 3 --rate-period=20ms -T 1000ms -N 1000ms "
        "-H Connection: close --log-file=/dev/fd/9 http://198.18.0.100:80/"
    )


def test_summary():
    summary = h2load.parse_summary(SUMMARY)

    assert (summary.total, summary.started, summary.done, summary.succeeded) == (
        300,
        299,
        290,
        280,
    )
    assert summary.status == {"2xx": 280, "3xx": 0, "4xx": 0, "5xx": 10}
    assert summary.connect == h2load.Times(21, 1_040_000, 209, 589)
    # 300 asked, 299 with a connection; 9 errors of which 4 waited in vain: 4 are of other kinds.
    classes = {"connect": 1, "timeout": 4, "error": 4, "status": 10}
    assert h2load.failures(summary) == classes
    assert sum(classes.values()) == 19


LOAD = Load(rates=(100,))


def test_what_a_client_could_not_begin_is_not_attempted():
    full = h2load.parse(SUMMARY + "client could not connect to host\n", (), LOAD)
    lost = h2load.parse(SUMMARY, (), LOAD)

    assert (full.attempted, full.unsent) == (299, {"could not connect to host": 1})
    assert "connect" not in full.failed
    assert (lost.attempted, lost.unsent, lost.failed["connect"]) == (300, {}, 1)


def test_how_long_the_starts_took():
    """200 starts 10 ms apart: the 198th is at 1.97 s, and 99 % of 1.99 s is as much."""
    rows = [f"{1_000_000 + 10_000 * n}\t200\t500\n" for n in range(200)]

    plain = h2load.parse(SUMMARY, rows, LOAD)
    # Connections took 209 us, and hardly one more than 2 x 589 us above that.
    assert plain.span_s == pytest.approx((1.97 - 0.001387) / 0.99)
    slow = SUMMARY.replace("209us       589us", "100.00ms  50.00ms")
    assert h2load.parse(slow, rows, LOAD).span_s == pytest.approx((1.97 - 0.2) / 0.99)
    assert h2load.parse(SUMMARY, rows[:99], LOAD).span_s is None, "too few to tell"


def test_the_last_of_several_reports_counts():
    second = SUMMARY.replace("300 total", "301 total").replace("2.62ms", "7.00ms")

    summary = h2load.parse_summary(SUMMARY + "\n" + second)

    assert summary.total == 301
    assert summary.request.mean_us == 7000


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("starting benchmark...\n", "exited early"),
        (SUMMARY.replace("299 started, ", ""), "'started'"),
        (SUMMARY.replace("113us ", "oops  "), "time for request"),
    ],
)
def test_what_is_no_summary(text, problem):
    with pytest.raises(ParseError, match=problem):
        h2load.parse_summary(text)


def test_log():
    rows = list(h2load.parse_log(["1795373267977794\t200\t39549\n", "5\t-1\t7\textra\n"]))

    assert rows == [Reply(1795373267977794, 200, 39549), Reply(5, -1, 7)]
    assert rows[1].end_us == 12


def test_a_broken_log_row_is_named():
    with pytest.raises(ParseError, match="line 2"):
        list(h2load.parse_log(["1\t200\t3\n", "1\t200\n"]))


@needs_shared
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_outputs(path):
    text = path.read_text()
    summary = h2load.parse_summary(text)

    # The same numbers, cut out by position with nothing but the line's own punctuation.
    line = [row for row in text.splitlines() if row.strip().startswith("requests:")][-1]
    numbers = [int(cell.split()[0]) for cell in line.split(":")[1].split(",")]
    ours = [summary.total, summary.started, summary.done, summary.succeeded, summary.failed]
    assert [*ours, summary.errored] == numbers[:6]
    assert summary.timeout == (numbers[6] if len(numbers) > 6 else None)
    assert sum(h2load.failures(summary).values()) == summary.failed


@needs_shared
def test_recorded_facts():
    blackhole = h2load.parse_summary(
        (SHARED / "data/generators/h2load_blackhole_rate1500_3s.txt").read_text()
    )
    assert h2load.failures(blackhole) == {"timeout": 4500}
    refused = h2load.parse_summary((SHARED / "fixtures/h2load/all-5xx-failed.txt").read_text())
    assert h2load.failures(refused) == {"status": 10_000}
    assert refused.request.max_us == 1_020_000


@needs_shared
def test_recorded_log():
    path = SHARED / "data/generators/h2load_log.tsv"

    rows = list(h2load.parse_log(path.read_text().splitlines()))

    assert len(rows) == 5000
    assert {row.status for row in rows} == {200}
    # The summary printed beside it: time for request 11.62 ms to 72.80 ms, mean 32.63 ms.
    took = [row.took_us for row in rows]
    assert (min(took), max(took)) == (pytest.approx(11_620, abs=5), pytest.approx(72_800, abs=5))
    assert sum(took) / len(took) == pytest.approx(32_630, abs=5)


def test_several_clients_drift_through_each_other():
    found = generators.schedules(200, 4, 20)

    assert [ticks.period_ms for ticks in found] == [18, 19, 21, 22]  # around 4 x 50/s
    assert sum(ticks.rate for ticks in found) == pytest.approx(201.26, abs=0.01)
    assert [ticks.connections for ticks in found] == [1112, 1053, 953, 910]
    assert [t.period_ms for t in generators.schedules(100, 3, 1)] == [29, 30, 31]


def test_one_client_and_fast_ticks_keep_the_rate():
    assert generators.schedules(200, 1, 20) == (generators.schedule(200, 20),)
    fast = generators.schedules(4000, 4, 1)
    assert sum(ticks.rate for ticks in fast) == pytest.approx(4000)


def test_more_than_one_request_for_each_connection():
    load = Load(rates=(150,), keepalive=10)
    (part,) = h2load.parts(load, Schedule(3, 20, 300))
    argv = h2load.command(load, "http://198.18.0.100:80/", part)

    assert " ".join(argv) == (
        "h2load --h1 -t 1 -n 3000 -c 300 -r 3 --rate-period=20ms -T 1000ms -N 1000ms "
        "--log-file=/dev/fd/9 http://198.18.0.100:80/"
    )


KEPT = SUMMARY.replace(
    "requests: 300 total, 299 started, 290 done, 280 succeeded, 19 failed, 9 errored, 4 timeout",
    "requests: 3000 total, 2990 started, 2980 done, 2970 succeeded, 30 failed, 20 errored, "
    "6 timeout",
).replace("280 2xx", "2970 2xx")


def test_a_reply_is_so_much_of_a_connection():
    """One connection of 300 got none of its ten requests in, and others failed by parts."""
    found = h2load.parse(KEPT, (), Load(rates=(150,), keepalive=10))

    assert (found.attempted, found.replied) == (300, 297)
    # 10 of connections that never stood, 6 too late (0.6 of one), 10 with another status.
    assert found.failed == {"connect": 1, "timeout": 1, "status": 1}


def test_the_later_requests_of_a_connection_are_no_late_starts():
    """Nine more requests of 2.62 ms (8.23 ms sd) each, after the connection's 209 us (589 us)."""
    rows = [f"{1_000_000 + 10_000 * n}\t200\t500\n" for n in range(200)]

    found = h2load.parse(KEPT, rows, Load(rates=(150,), keepalive=10))

    waited_s = (209 + 2 * 589 + 9 * (2620 + 2 * 8230)) / 1e6
    assert found.span_s == pytest.approx((1.97 - waited_s) / 0.99)
