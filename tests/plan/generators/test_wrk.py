"""wrk: its command and every output recorded in the shared material."""

import pytest
from recorded import needs_shared, recorded

from dirtune.errors import ParseError
from dirtune.plan.generators import Part, Schedule, wrk
from dirtune.plan.load import Load

LOAD = Load(rates=(1,), generator="wrk", connections=20, warmup=2, window=5)


def test_command():
    argv = wrk.command(LOAD, "http://198.18.0.100:80/", Part(Schedule(1, 10, 1)))

    assert " ".join(argv) == (
        "wrk -t 1 -c 20 -d 8s --timeout 1s --latency -H Connection: close http://198.18.0.100:80/"
    )


# Read by eye: requests, seconds, bad status, errors that are not 0, ms of p50 and p99.
BY_HAND = {
    "blackhole_3s": (0, 3.03, 0, "", 0, 0),
    "close_5s": (79876, 5.16, 0, "", 1.59, 19.16),
    "3m-gigabytes-connect-errors": (4707681, 180, 0, "connect 417 read 290", None, None),
    "connect14-read17": (16364, 10.1, 0, "connect 14 read 17", None, None),
    "minutes-and-bytes": (323, 300, 0, "connect 88542 timeout 292", 6320, 9590),
    "plain-12t-400c": (127240, 30.03, 0, "", None, None),
    "socket-errors-plus-non2xx": (142372, 30.08, 121873, "read 251", None, None),
    "wrk-readme": (22464657, 30, 0, "", None, None),
    "wrk2-calibration": (60017, 30.01, 0, "", None, None),
    "wrk2-hdr-spectrum": (60018, 30.0, 0, "", 6.67, 11.18),
}


@needs_shared
def test_every_recorded_output():
    texts = recorded("wrk")

    assert texts.keys() == BY_HAND.keys()
    for name, text in texts.items():
        found = wrk.parse_summary(text)
        requests, elapsed_s, bad, errors, p50_ms, p99_ms = BY_HAND[name]
        assert (found.requests, found.elapsed_s, found.bad_status) == (requests, elapsed_s, bad)
        words = errors.split()
        seen = {n: count for n, count in found.errors.items() if count}
        assert seen == dict(zip(words[::2], map(int, words[1::2]), strict=True)), name
        shares = {share: 1000 * found.percentiles_s.get(share, -1) for share in (50, 99)}
        if p50_ms is None:
            assert found.percentiles_s == {}, name
        else:
            assert shares == {50: pytest.approx(p50_ms), 99: pytest.approx(p99_ms)}, name


@needs_shared
def test_what_was_late_or_bad_is_no_reply():
    texts = recorded("wrk")

    late = wrk.parse(texts["minutes-and-bytes"], (), LOAD)
    assert (late.replied, late.attempted) == (323 - 292, None)
    bad = wrk.parse(texts["socket-errors-plus-non2xx"], (), LOAD)
    assert (bad.replied, bad.failed) == (142372 - 121873, {"read": 251, "status": 121873})
    # A server that never answers: no request, no time-out, and no latency is not one of 0.
    dead = wrk.parse(texts["blackhole_3s"], (), LOAD)
    assert (dead.replied, dead.failed, dead.latency) == (0, {}, None)


def test_no_output_is_an_error():
    with pytest.raises(ParseError, match="exited early"):
        wrk.parse("unable to connect to 198.18.0.100:80 Connection refused\n", (), LOAD)
