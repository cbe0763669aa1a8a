import pytest

from dirtune.checks import Status, run
from dirtune.checks.ipvs.quiesced import quiesced
from tests.checks.machines import director, service


def drained(then, now, *, seconds=3600, weights=(1, 0), before=(1, 0), **more):
    late = service(*weights, loads=((5, 0), (now, 0)), **more)
    early = service(*before, loads=((5, 0), (then, 0)), **more)
    earlier = {"services": (early,), "taken_s": 0.0}
    return run((quiesced,), director(late, taken_s=float(seconds), earlier=earlier))[0]


@pytest.mark.parametrize(
    ("seconds", "severity"), [(3600, "low"), (86_399, "low"), (86_400, "medium")]
)
def test_a_server_that_does_not_drain(seconds, severity):
    (found,) = drained(7, 7, seconds=seconds).findings

    assert found.severity == severity
    assert found.subject == "198.18.0.12:80 of TCP 198.18.0.100:80"
    assert (found.evidence["active_before"], found.evidence["active"]) == (7, 7)
    assert found.fixes == ()


def test_persistent_clients_can_be_let_go():
    (fix,) = drained(7, 8, persistent_jiffies=75_000).findings[0].fixes

    assert fix.commands[0] == "sysctl -w 'net.ipv4.vs.expire_quiescent_template=1'"


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: drained(7, 6),
        lambda: drained(7, 0),
        lambda: drained(7, 0, seconds=60),
        lambda: drained(7, 7, weights=(1, 1)),
        lambda: drained(7, 7, before=(1, 1)),
        lambda: drained(0, 7),
    ],
)
def test_a_server_that_drains_or_serves(quiet):
    assert quiet().status is Status.PASSED


def test_less_than_an_hour_says_nothing():
    one = service(0, loads=((7, 0),))

    assert drained(7, 7, seconds=3599).status is Status.INCONCLUSIVE
    assert run((quiesced,), director(one))[0].status is Status.INCONCLUSIVE
