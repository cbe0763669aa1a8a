import pytest

from dirtune.checks import Cause, Severity, Status, run
from dirtune.checks.ipvs.uneven_load import uneven_load
from dirtune.collect.ipvs_netlink import Ipvs
from tests.checks.machines import detailed, director, service

PORT = 0x10  # IP_VS_SVC_F_SCHED2 (include/uapi/linux/ip_vs.h)


def uneven(*loads, weights=(1, 1), scheduler="mh", known=True, flags=0, **settings):
    rows = tuple((load, 0) for load in loads)
    plain = service(*weights, loads=rows, scheduler=scheduler, **settings)
    told = Ipvs((detailed(plain, flags=flags, netmask=""),)) if known else None
    return run((uneven_load,), director(plain, ipvs=told))[0]


@pytest.mark.parametrize(
    ("scheduler", "fix"),
    [("mh", "-s mh -b mh-port"), ("sh", "-s sh -b sh-port"), ("dh", "-s wlc")],
)
def test_one_client_address_fills_one_server(scheduler, fix):
    (finding,) = uneven(1000, 0, scheduler=scheduler).findings

    assert finding.severity is Severity.MEDIUM
    assert "198.18.0.11:80 has 100 % of the connections and 50 % of the weight" in finding.message
    assert finding.fixes[0].commands == (f"ipvsadm -E -t 198.18.0.100:80 {fix}",)


def test_one_packet_scheduling_leaves_nothing_to_count():
    (finding,) = uneven(0, 0, weights=(1, 9), scheduler="wlc", ops=True, protocol="UDP").findings

    assert "go to 198.18.0.11:80, the first destination" in finding.message
    assert finding.fixes[0].id == "schedule-wrr"


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: uneven(1000, 0, flags=PORT),
        lambda: uneven(999, 0),
        lambda: uneven(749, 251),
        lambda: uneven(1000, 0, weights=(1, 0)),
        lambda: uneven(1000, 0, persistent_jiffies=9),
        lambda: uneven(1000, 0, scheduler="wlc"),
        lambda: uneven(1000, 0, scheduler="wrr", ops=True, protocol="UDP"),
    ],
    ids=["port", "few", "even", "one server", "persistent", "wlc", "wrr with ops"],
)
def test_what_a_scheduler_does_by_design_is_not_reported(quiet):
    assert quiet().status is Status.PASSED


def test_flags_that_are_unknown_decide_nothing():
    assert uneven(1000, 0, known=False).cause is Cause.UNCLEAR
    assert uneven(10, 0, known=False).status is Status.PASSED
