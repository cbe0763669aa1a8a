import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.no_destination import no_destination
from dirtune.collect.ip_vs import Destination, Service
from dirtune.snapshot import Snapshot

VIP = "198.18.0.100"


def service(*weights, forward="Route", port=80):
    destinations = tuple(
        Destination(f"198.18.0.{11 + n}", port, forward, weight, 0, 0)
        for n, weight in enumerate(weights)
    )
    return Service("TCP", VIP, port, None, "rr", destinations=destinations)


def outcome(*services, addresses=frozenset({VIP}), earlier=None):
    taken = Snapshot(services=services, addresses=addresses, earlier=earlier)
    return run((no_destination,), taken)[0]


@pytest.mark.parametrize(
    ("weights", "severity", "said"),
    [
        ((), Severity.CRITICAL, "no destinations"),
        ((0, 0), Severity.CRITICAL, "all 2 destinations have weight 0"),
        ((0, 1, 0), Severity.HIGH, "one destination is left of 3"),
    ],
)
def test_a_service_without_anyone(weights, severity, said):
    (found,) = outcome(service(*weights)).findings

    assert (found.severity, found.subject) == (severity, f"TCP {VIP}:80")
    assert said in found.message


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
    assert outcome(service(), addresses=None).status is Status.INCONCLUSIVE


def test_a_mark_is_served_where_an_address_is_held():
    mark = Service("FWM", None, None, 7, "sh")

    assert outcome(mark, service(1)).findings[0].subject == "FWM 7"
    assert outcome(mark).status is Status.INCONCLUSIVE


def test_a_host_without_services_is_no_director():
    assert outcome().status is Status.NOT_APPLICABLE
