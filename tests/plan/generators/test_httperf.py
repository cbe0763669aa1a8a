"""httperf: its command, its report, and every output recorded in the shared material."""

import pytest
from recorded import needs_shared, recorded

from dirtune.errors import ParseError
from dirtune.plan.generators import Part, Schedule, httperf
from dirtune.plan.load import Load

LOAD = Load(rates=(500,))
REPORT = """\
httperf: warning: open file limit > FD_SETSIZE; limiting max. # of open files to FD_SETSIZE
httperf --verbose --timeout=1 --client=0/1 --server=127.0.0.1 --port=80 --uri=/ --rate=100
httperf: maximum number of open descriptors = 1024
Maximum connect burst length: 7

Connection lifetime histogram (time in ms):
             0.5 90
             1.5 6
               :
            80.5 2

Total: connections 110 requests 100 replies 98 test-duration 3.100 s

Connection rate: 35.5 conn/s (28.2 ms/conn, <=9 concurrent connections)
Connection time [ms]: min 0.4 avg 2.3 max 80.6 median 0.5 stddev 0.1
Connection time [ms]: connect 0.2
Connection length [replies/conn]: 1.000

Request rate: 100.4 req/s (10.0 ms/req)
Request size [B]: 86.0

Reply rate [replies/s]: min 0.0 avg 0.0 max 0.0 stddev 0.0 (0 samples)
Reply time [ms]: response 0.6 transfer 0.0
Reply size [B]: header 130.0 content 2.0 footer 0.0 (total 132.0)
Reply status: 1xx=0 2xx=95 3xx=0 4xx=2 5xx=1

CPU time [s]: user 0.65 system 1.34 (user 32.6% system 67.2% total 99.8%)
Net I/O: 21.4 KB/s (0.2*10^6 bps)

Errors: total 17 client-timo 4 socket-timo 0 connrefused 2 connreset 1
Errors: fd-unavail 5 addrunavail 0 ftab-full 0 other 5
"""


def test_what_a_report_says():
    found = httperf.parse(REPORT, (), LOAD)

    # 5 got no descriptor and are not among the 110; 5 got no port and are.
    assert (found.attempted, found.replied) == (105, 95)
    assert found.failed == {"timeout": 4, "refused": 2, "reset": 1, "status": 3}
    assert found.attempted == found.replied + sum(found.failed.values())
    assert found.unsent == {"fd-unavail": 5, "other": 5}
    assert (found.burst, found.poll_cpu_percent, found.connect_ms) == (7, 99.8, 0.2)
    # Somebody waited until the time-out of 1 s: the starts took 2.1 of the 3.1 s.
    assert (found.span_s, found.elapsed_s) == (pytest.approx(2.1), 3.1)
    # 98 lifetimes: the 49th is in the first step, the 97th in the last.
    assert (found.latency.p50_ms, found.latency.p99_ms) == (0.5, 80.5)
    assert (found.latency.mean_ms, found.latency.of) == (2.3, "connection")


def test_without_time_outs_only_the_slowest_is_waited_for():
    text = REPORT.replace("client-timo 4", "client-timo 0")

    assert httperf.parse(text, (), LOAD).span_s == pytest.approx(3.1 - 0.0806)


def test_more_than_one_request_for_each_connection():
    load = Load(rates=(500,), keepalive=5)
    argv = httperf.command(load, "http://198.18.0.100:80/x", Part(Schedule(3, 20, 3000)))
    found = httperf.parse(
        REPORT.replace("2xx=95", "2xx=475").replace("replies 98", "replies 478"), (), load
    )

    assert " ".join(argv).endswith("--num-conns 3000 --num-calls 5 --timeout 1 --http-version 1.1")
    assert (found.attempted, found.replied) == (105, 95)
    assert found.failed == {"timeout": 4, "refused": 2, "reset": 1, "status": 1}  # 3 of 5


def test_command():
    argv = httperf.command(LOAD, "http://198.18.0.100:80/x", Part(Schedule(3, 20, 3000)))

    assert " ".join(argv) == (
        "httperf -v -v --server 198.18.0.100 --port 80 --uri /x --rate 150 --num-conns 3000 "
        "--num-calls 1 --timeout 1 --http-version 1.0"
    )
    six = httperf.command(LOAD, "http://[fd00::1]:80/", Part(Schedule(3, 20, 3000)))
    assert six[six.index("--server") + 1] == "fd00::1"


@pytest.mark.parametrize(
    ("rate_batch", "timeout", "processes"),
    [((1, 1), "1s", 1), ((2, 1), "1s", 2), ((1, 2), "5s", 3), ((5, 1), "1s", 5)],
)
def test_processes_for_the_descriptors(rate_batch, timeout, processes):
    """1000/s x 1 s need 1,000 descriptors, 2000/s two thousand, 500/s x 5 s 2,500."""
    batch, period_ms = rate_batch
    ticks = Schedule(batch, period_ms, batch * 10_000)

    parts = httperf.parts(Load(rates=(1,), timeout=timeout), ticks)

    assert len(parts) == processes
    assert sum(part.ticks.rate for part in parts) == pytest.approx(ticks.rate)
    assert sum(part.ticks.connections for part in parts) == ticks.connections


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("httperf --server=x\n", "exited early"),
        (REPORT.replace("Errors:", "Mistakes:"), "Errors"),
        (REPORT.replace("ftab-full 0", ""), "ftab-full"),
        (REPORT.replace("Connection time [ms]: connect", "oops"), "Connection time"),
        (REPORT.replace("5xx=1", ""), "1xx to 5xx"),
    ],
)
def test_what_is_no_report(text, problem):
    with pytest.raises(ParseError, match=problem):
        httperf.parse(text, (), LOAD)


# Read by eye: connections, replies, 2xx, seconds, burst, CPU %, and the errors that are not 0.
BY_HAND = {
    "blackhole_rate1500_3s": (3063, 0, 0, 3.802, 283, 49.6, "client-timo 3063 fd-unavail 1437"),
    "connrefused": (200, 0, 0, 1.001, 23, 40.4, "connrefused 200"),
    "nohog_ports1000_cliclose_4s": (2000, 1000, 1000, 3.999, 48, 70.1, "other 1000"),
    "ok_rate500_6s": (3000, 3000, 3000, 5.999, 35, 69.4, ""),
    "ports1000_cliclose_4s": (2000, 2000, 2000, 3.999, 6, 86.2, ""),
    "ports1000_srvclose_4s": (2000, 2000, 2000, 3.999, 6, 86.1, ""),
    "rate4000_6s": (23061, 23061, 23061, 6.004, 1811, 65.5, "fd-unavail 939"),
    "ulimit256": (1000, 1000, 1000, 2.0, 21, 41.1, ""),
    "commented-5conns": (5, 5, 5, 0.513, 1, 97.8, ""),
    "delayed-ack-40ms-wrapped-cmd": (1, 500, 500, 19.961, 0, 100.0, ""),
    "en-dash-options-one-blank-indent": (10000, 10000, 10000, 17.8, 1, 94.7, ""),
    "fd-unavail-24681-5xx": (575319, 575319, 175849, 100.81, 415, 98.4, "fd-unavail 24681"),
    "httperfrb-1conn-0samples": (1, 1, 0, 0.0, 0, 0.0, ""),
    "httperfrb-verbose-RTn": (100, 100, 100, 24.869, 1, 0.2, ""),
    "parser-yml-20000conns": (20000, 20000, 20000, 592.676, 1, 99.8, ""),
    "rate200-3x5xx-indented": (3000, 3000, 2997, 14.999, None, 99.8, ""),
    "rate5-1s-service": (50, 50, 50, 10.801, None, 99.9, ""),
    "rate500-connreset-and-fd-unavail": (
        *(4377, 2932, 2932, 41.629, 29, 88.6),
        "connreset 1445 fd-unavail 5623",
    ),
    "verbose-glued-first-line": (100, 100, 100, 9.898, 1, 99.8, ""),
    "wsess-22samples-no-errors-lines": (117557, 116697, 116697, 111.423, None, 100.0, None),
    "wsess-histogram-95-timeouts": (100, 74, 74, 60.984, 1, 86.1, "client-timo 95"),
    "wsesslog-session-lines": (10, 10240, 10240, 425.419, 1, 98.0, ""),
    "zero-replies-then-14-two-runs": (1000, 14, 14, 37.496, None, 26.3, "client-timo 986"),
    "zero-samples-95993-5xx": (10000, 100000, 4007, 3.119, 1, 99.9, ""),
}


@needs_shared
def test_every_recorded_report():
    texts = recorded("httperf")
    with pytest.raises(ParseError, match="without a report"):  # mcperf prints `responses`
        httperf.parse_summary(texts.pop("not-httperf-mcperf-lookalike"))

    assert texts.keys() == BY_HAND.keys()
    for name, text in texts.items():
        found = httperf.parse_summary(text)
        *numbers, errors = BY_HAND[name]
        assert [
            found.connections,
            found.replies,
            found.status["2xx"],
            found.duration_s,
            found.burst,
            found.cpu_percent,
        ] == numbers, name
        seen = found.errors and {n: count for n, count in found.errors.items() if count}
        words = None if errors is None else errors.split()
        wanted = words if words is None else dict(zip(words[::2], map(int, words[1::2]), strict=1))
        assert (seen or {}) == (wanted or {}), name
        assert (found.errors is None) == (errors is None), name


@needs_shared
def test_the_errors_account_for_every_recorded_connection():
    """Of one call each: what was not answered with 2xx failed in exactly one way."""
    for name in (
        *("blackhole_rate1500_3s", "connrefused", "nohog_ports1000_cliclose_4s"),
        *("rate4000_6s", "fd-unavail-24681-5xx", "rate500-connreset-and-fd-unavail"),
        *("rate200-3x5xx-indented", "zero-replies-then-14-two-runs"),
    ):
        found = httperf.parse(recorded("httperf")[name], (), LOAD)
        assert found.attempted == found.replied + sum(found.failed.values()), name
