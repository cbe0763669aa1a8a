import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.sh_weak import sh_weak
from dirtune.collect.ipvs_netlink import Ipvs
from tests.checks.machines import detailed, director, service


def hashed(*weights, scheduler="sh", flags=0, servers=(), known=True):
    plain = service(*weights, scheduler=scheduler)
    told = Ipvs((detailed(plain, *servers, flags=flags),)) if known else None
    return run((sh_weak,), director(plain, ipvs=told))[0]


@pytest.mark.parametrize(
    ("scheduler", "weights", "slots"),
    [
        ("sh", (200, 57), 256),
        ("mh", (4093, 1), 4093),
    ],
)
def test_weights_beyond_the_table(scheduler, weights, slots):
    (found,) = hashed(*weights, scheduler=scheduler).findings

    assert found.severity is Severity.MEDIUM
    assert (found.evidence["weights"], found.evidence["slots"]) == (slots + 1, slots)


@pytest.mark.parametrize(
    ("weights", "servers"), [((1, 0), ()), ((1, 1), ({"upper": 5, "active": 5}, {}))]
)
def test_sh_without_fallback_and_a_server_out(weights, servers):
    (found,) = hashed(*weights, servers=servers).findings

    assert len(found.evidence["out"]) == 1
    assert found.fixes[0].commands == (
        "ipvsadm -E -t 198.18.0.100:80 -s mh -b mh-fallback,mh-port",
    )


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: hashed(200, 56),
        lambda: hashed(1, 0, flags=0x8),
        lambda: hashed(1, 1),
        lambda: hashed(4092, 1, scheduler="mh"),
        lambda: hashed(5000, 5000, scheduler="mh"),
        lambda: hashed(1, 0, scheduler="mh"),
        lambda: hashed(900, 0, scheduler="wrr"),
    ],
)
def test_a_hash_that_holds(quiet):
    assert quiet().status is Status.PASSED


def test_flags_that_are_not_known_leave_it_open():
    assert hashed(1, 0, known=False).status is Status.INCONCLUSIVE
    assert hashed(200, 57, known=False).status is Status.FINDING
