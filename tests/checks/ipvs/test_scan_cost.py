import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.scan_cost import scan_cost
from dirtune.collect.ip_vs import Stats
from dirtune.collect.ipvs_netlink import Ipvs
from tests.checks.machines import detailed, director, service


def scanned(count, per_second, *, scheduler="wlc", samples=2):
    plain = service(*[1] * count, scheduler=scheduler)
    earlier = {"ip_vs_stats": Stats(0, 0, 0, 0, 0)} if samples == 2 else None
    stats = Stats(10 * per_second, 0, 0, 0, 0)
    return run((scan_cost,), director(plain, ip_vs_stats=stats, earlier=earlier))[0]


@pytest.mark.parametrize("scheduler", ["wlc", "lc", "sed", "nq", "lblcr"])
def test_all_servers_are_looked_at(scheduler):
    (found,) = scanned(200, 25_000, scheduler=scheduler).findings

    assert found.severity is Severity.MEDIUM
    assert found.evidence == {
        "service": "TCP 198.18.0.100:80",
        "scheduler": scheduler,
        "new_connections_per_second": 25_000,
        "destinations": 200,
    }
    assert [fix.id for fix in found.fixes] == ["schedule-mh", "divide-weights"]


@pytest.mark.parametrize(
    ("count", "rate", "scheduler"),
    [(199, 90_000, "wlc"), (200, 24_999, "wlc"), (500, 90_000, "mh"), (500, 90_000, "rr")],
)
def test_few_looks_are_quiet(count, rate, scheduler):
    assert scanned(count, rate, scheduler=scheduler).status is Status.PASSED


def test_looks_take_two_samples():
    assert scanned(200, 25_000, samples=1).status is Status.INCONCLUSIVE


def test_the_rate_of_one_service_among_others():
    one, other = service(*[1] * 200, scheduler="wlc"), service(1, port=443)
    now, then = (
        Ipvs((detailed(one, *[{}] * 200, connections=n), detailed(other))) for n in (250_000, 0)
    )
    taken = director(one, other, ipvs=now, earlier={"ipvs": then})

    assert run((scan_cost,), taken)[0].status is Status.FINDING


def wrr(*weights, upper=0, known=True):
    plain = service(*weights, scheduler="wrr", loads=((50, 0),) * len(weights))
    over = [{"upper": upper}] + [{}] * (len(weights) - 1)
    told = Ipvs((detailed(plain, *over),)) if known else None
    return run((scan_cost,), director(plain, ipvs=told))[0]


def test_the_heaviest_of_wrr_is_out():
    # 50,001 / gcd 1 * 2 destinations are 100,002 steps.
    (found,) = wrr(50_001, 2, upper=50).findings

    assert found.evidence["steps"] == 100_002
    assert found.evidence["overloaded"] == "198.18.0.11:80"
    assert found.fixes[0].commands == (
        "ipvsadm -E -t 198.18.0.100:80 -s mh -b mh-fallback,mh-port",
    )


@pytest.mark.parametrize(
    ("weights", "upper"), [((50_001, 2), 51), ((50_000, 2), 50), ((49_999, 1), 50), ((0, 0), 0)]
)
def test_wrr_of_short_passes_is_quiet(weights, upper):
    assert wrr(*weights, upper=upper).status is Status.PASSED


def test_wrr_without_thresholds_is_open():
    assert wrr(50_001, 2, known=False).status is Status.INCONCLUSIVE
