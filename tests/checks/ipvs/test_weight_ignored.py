import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.weight_ignored import weight_ignored
from dirtune.collect.ipvs_netlink import Ipvs
from tests.checks.machines import detailed, director, program, service


def outcome(*weights, scheduler="rr", **fields):
    return run((weight_ignored,), director(service(*weights, scheduler=scheduler), **fields))[0]


@pytest.mark.parametrize(
    ("scheduler", "fix"), [("rr", "schedule-wrr"), ("lc", "schedule-wlc"), ("dh", "equal-weights")]
)
def test_weights_that_do_nothing(scheduler, fix):
    (found,) = outcome(3, 1, 2, scheduler=scheduler).findings

    assert (found.subject, found.severity) == ("TCP 198.18.0.100:80", Severity.MEDIUM)
    assert found.evidence["weights"] == [3, 1, 2]
    assert [each.id for each in found.fixes] == [fix]
    assert found.fixes[0].commands == ()


@pytest.mark.parametrize(
    ("known", "command"),
    [
        ({}, "ipvsadm -E -t 198.18.0.100:80 -s wrr"),
        (
            {"flags": 0x1, "persistent_s": 300, "netmask": "255.255.255.0"},
            "ipvsadm -E -t 198.18.0.100:80 -s wrr -p 300 -M 255.255.255.0",
        ),
        (
            {"flags": 0x5, "persistent_s": 60, "netmask": "255.255.255.255"},
            "ipvsadm -E -t 198.18.0.100:80 -s wrr -o -p 60",
        ),
    ],
)
def test_the_command_keeps_what_else_is_set(known, command):
    told = Ipvs((detailed(service(2, 1), **known),))
    (found,) = outcome(2, 1, ipvs=told).findings

    assert found.fixes[0].commands == (command,)


def test_the_owner_of_the_table_has_a_setting():
    (found,) = outcome(2, 1, processes=(program("keepalived"),)).findings

    assert found.fixes[0].commands == ()
    assert found.fixes[0].competes == ("keepalived",)
    assert "`lb_algo` of the virtual_server" in found.fixes[0].title


@pytest.mark.parametrize("weights", [(1, 0), (5, 5, 0), (2, 2), (1,), ()])
def test_equal_weights_and_weight_0_are_quiet(weights):
    assert outcome(*weights).status is Status.PASSED


@pytest.mark.parametrize(
    "scheduler",
    ["wrr", "wlc", "sed", "nq", "lblc", "lblcr", "mh", "sh", "fo", "ovf", "none", "twos"],
)
def test_the_other_schedulers_use_weights(scheduler):
    assert outcome(3, 1, scheduler=scheduler).status is Status.PASSED


def test_a_host_without_services_is_no_director():
    assert run((weight_ignored,), director())[0].status is Status.NOT_APPLICABLE
