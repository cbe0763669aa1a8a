import pytest

from dirtune.checks import Severity, Status
from dirtune.checks.lock.ipvs_scheduler import ipvs_scheduler
from dirtune.collect.ipvs_netlink import Ipvs
from tests.checks.lock.waiting import SCHED, judged, probed, waits
from tests.checks.machines import detailed, service


def scheduled(*services, caller="ip_vs_rr_schedule", ms=20, lock=SCHED, **fields):
    return judged(ipvs_scheduler, *services, **probed(waits(lock, caller, ms)), **fields)


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "lblc", "lblcr"])
def test_the_lock_of_a_service(scheduler):
    one = service(1, 1, scheduler=scheduler)
    other = service(1, scheduler="wlc", port=81)
    known = Ipvs((detailed(one), detailed(other)))
    caller = f"ip_vs_{scheduler}_schedule"

    (found,) = scheduled(one, other, caller=caller, ipvs=known).findings

    assert (found.severity, found.subject) == (Severity.MEDIUM, "TCP 198.18.0.100:80")
    assert found.evidence["percent_of_softirq_time"] == 2.0
    assert found.fixes[0].commands == ("ipvsadm -E -t 198.18.0.100:80 -s mh",)
    assert scheduled(one, other, caller=caller, ms=19).status is Status.PASSED


def test_the_lock_does_not_say_whose_it_is():
    (found,) = scheduled(service(1), service(1, port=81)).findings

    assert (found.subject, len(found.fixes)) == ("scheduler rr", 2)
    assert found.evidence["services"] == ["TCP 198.18.0.100:80", "TCP 198.18.0.100:81"]


@pytest.mark.parametrize(
    ("lock", "caller"),
    [
        (SCHED, "ip_vs_wrr_dest_changed"),  # somebody edits the service
        ("ip_vs_wlc_schedule", "ip_vs_wlc_schedule"),  # no lock of a service
        ("__ip_vs_mutex", "ip_vs_rr_schedule"),
    ],
)
def test_what_is_not_the_lock_of_scheduling(lock, caller):
    assert scheduled(lock=lock, caller=caller, ms=900).status is Status.PASSED


def test_each_scheduler_is_judged_by_itself():
    locks = (waits(SCHED, "ip_vs_rr_schedule", 15), waits(SCHED, "ip_vs_wrr_schedule", 15))

    assert judged(ipvs_scheduler, **probed(*locks)).status is Status.PASSED
