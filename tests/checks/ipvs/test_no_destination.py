import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.no_destination import no_destination
from dirtune.collect.ip_vs import Service
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.snapshot import Snapshot
from tests.checks.machines import VIP, detailed, director, service


def outcome(*services, addresses=frozenset({VIP}), earlier=None):
    taken = Snapshot(services=services, addresses=addresses, earlier=earlier)
    return run((no_destination,), taken)[0]


@pytest.mark.parametrize(
    ("weights", "severity", "usable"),
    [
        ((), Severity.CRITICAL, 0),
        ((0, 0), Severity.CRITICAL, 0),
        ((0, 1, 0), Severity.HIGH, 1),
    ],
)
def test_a_service_without_anyone(weights, severity, usable):
    (found,) = outcome(service(*weights)).findings

    assert (found.severity, found.subject) == (severity, f"TCP {VIP}:80")
    assert found.evidence["destinations"] == len(weights)
    assert found.evidence["usable"] == usable


@pytest.mark.parametrize("weights", [(1,), (1, 0), (1, 1, 0)])
def test_enough_are_left(weights):
    assert outcome(service(*weights)).status is Status.PASSED


def test_a_sorry_server_is_somebody():
    assert outcome(service(1, forward="Local")).status is Status.PASSED


def test_a_backup_director_does_not_hold_the_address():
    assert outcome(service(), addresses=frozenset({"198.18.0.2"})).status is Status.PASSED


def test_a_service_made_between_the_samples_may_still_be_filling():
    earlier = Snapshot(services=(service(1, port=443),))

    assert outcome(service(), service(1, port=443), earlier=earlier).status is Status.PASSED


def test_unknown_addresses_leave_it_open():
    result = outcome(service(), addresses=None)

    assert result.status is Status.INCONCLUSIVE
    assert "the addresses of this host are unknown" in result.reason


def test_a_mark_is_served_where_an_address_is_held():
    mark = Service("FWM", None, None, 7, "sh")

    assert outcome(mark, service(1)).findings[0].subject == "FWM 7"
    alone = outcome(mark)
    assert alone.status is Status.INCONCLUSIVE
    assert "FWM 7 has no address" in alone.reason
    assert "unknown" not in alone.reason


def test_a_host_without_services_is_no_director():
    assert outcome().status is Status.NOT_APPLICABLE


def over(upper, *, active=0, inactive=0):
    return {"upper": upper, "active": active, "inactive": inactive}


def test_destinations_over_their_upper_threshold_are_out():
    plain = service(1, 1)
    full = detailed(plain, over(10, active=6, inactive=4), over(10, active=11))
    (found,) = run((no_destination,), director(plain, ipvs=Ipvs((full,))))[0].findings

    assert found.severity is Severity.CRITICAL
    assert found.evidence["overloaded"] == ["198.18.0.11:80", "198.18.0.12:80"]
    assert [fix.id for fix in found.fixes] == ["raise-upper-threshold", "restore-destinations"]


def test_one_is_left_beside_an_overloaded_one_and_one_of_weight_0():
    plain = service(1, 0, 1)
    known = detailed(plain, over(5, active=5), {}, over(5, active=4))
    (found,) = run((no_destination,), director(plain, ipvs=Ipvs((known,))))[0].findings

    assert (found.severity, found.evidence["usable"]) == (Severity.HIGH, 1)


@pytest.mark.parametrize("upper", [0, 11])
def test_no_threshold_and_one_not_reached_are_no_overload(upper):
    plain = service(1, 1)
    known = detailed(plain, over(upper, active=10), over(upper, active=10))

    assert run((no_destination,), director(plain, ipvs=Ipvs((known,))))[0].status is Status.PASSED


@pytest.mark.parametrize(("packets", "status"), [(7, Status.FINDING), (5, Status.PASSED)])
def test_packets_show_that_it_serves_though_it_holds_no_address(packets, status):
    plain = service(0)
    taken = director(
        plain,
        addresses=frozenset({"198.18.0.2"}),
        ipvs=Ipvs((detailed(plain, packets_in=packets),)),
        earlier={"ipvs": Ipvs((detailed(plain, packets_in=5),))},
    )

    assert run((no_destination,), taken)[0].status is status


@pytest.mark.parametrize("known", [True, False], ids=["netlink", "file"])
@pytest.mark.parametrize(
    ("active", "status"),
    [((2, 2), Status.FINDING), ((2, 1), Status.PASSED), ((1, 9), Status.PASSED)],
)
def test_with_ovf_a_weight_is_the_most_active_connections(active, status, known):
    """ip_vs_ovf_schedule() skips a destination whose active connections exceed its weight."""
    plain = service(1, 1, scheduler="ovf", loads=tuple((n, 0) for n in active))
    found = run(
        (no_destination,), director(plain, ipvs=Ipvs((detailed(plain),)) if known else None)
    )

    assert found[0].status is status
    for finding in found[0].findings:
        assert finding.severity is Severity.CRITICAL
        assert "are over their weight, which limits active connections with ovf" in finding.message


def test_ovf_fills_one_destination_after_the_other():
    plain = service(1, 1, 1, scheduler="ovf", loads=((2, 0), (2, 0), (0, 0)))

    assert outcome(plain).status is Status.PASSED


def test_weights_limit_nothing_with_other_schedulers():
    assert outcome(service(1, 1, loads=((9, 0), (9, 0)))).status is Status.PASSED
