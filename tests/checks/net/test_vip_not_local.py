import dataclasses
from ipaddress import IPv4Network

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.net.vip_not_local import vip_not_local
from dirtune.collect.ip_vs import Service
from dirtune.collect.ipvs_netlink import Ipvs, SyncDaemon
from dirtune.collect.rulesets import Rulesets
from tests.checks.machines import VIP, detailed, director, program, service
from tests.checks.nodes import RULES

OTHER = "198.18.0.101"
ELSEWHERE = dataclasses.replace(service(1), address=OTHER)
OWN = frozenset({"198.18.0.1"})


def outcome(*services, earlier=None, **fields):
    known = {
        "addresses": OWN,
        "processes": (program("sshd"),),
        "local_networks": frozenset({IPv4Network("127.0.0.0/8")}),
        "rulesets": Rulesets(None, None, RULES, None),
    }
    taken = director(*(services or (service(1),)), earlier=earlier, **(known | fields))
    return run((vip_not_local,), taken)[0]


def test_nobody_holds_it():
    (found,) = outcome(service(1), service(1, port=443)).findings

    assert (found.subject, found.severity) == (VIP, Severity.CRITICAL)
    assert found.evidence["services"] == [f"TCP {VIP}:80", f"TCP {VIP}:443"]
    assert found.fixes[0].commands == (f"ip addr add {VIP}/32 dev lo",)


def test_one_of_two_is_missing():
    found = outcome(service(1), ELSEWHERE, addresses=OWN | {VIP})

    assert [f.subject for f in found.findings] == [OTHER]


@pytest.mark.parametrize(
    "fields",
    [
        {"addresses": OWN | {VIP}},
        {"local_networks": frozenset({IPv4Network("198.18.0.0/24")})},
    ],
)
def test_it_is_local(fields):
    assert outcome(**fields).status is Status.PASSED


def test_a_mark_has_no_address():
    assert outcome(Service("FWM", None, None, 7, "sh")).status is Status.PASSED


@pytest.mark.parametrize("name", ["keepalived", "pacemakerd"])
def test_a_backup(name):
    assert outcome(processes=(program(name),)).status is Status.NOT_APPLICABLE


def test_a_backup_by_its_sync_daemon():
    known = Ipvs((detailed(service(1)),), daemons=(SyncDaemon("backup"),))

    assert outcome(ipvs=known).status is Status.NOT_APPLICABLE


def test_the_rest_may_be_on_another_director():
    found = outcome(
        service(1), ELSEWHERE, addresses=OWN | {VIP}, processes=(program("keepalived"),)
    )

    assert found.status is Status.INCONCLUSIVE
    assert OTHER in found.reason


@pytest.mark.parametrize(("packets", "status"), [(9, Status.PASSED), (5, Status.FINDING)])
def test_packets_show_that_it_is_reached(packets, status):
    plain = service(1)
    found = outcome(
        plain,
        ipvs=Ipvs((detailed(plain, packets_in=packets),)),
        earlier={"ipvs": Ipvs((detailed(plain, packets_in=5),))},
    )

    assert found.status is status


@pytest.mark.parametrize(
    "fields",
    [
        {"processes": None},
        {"local_networks": None},
        {"rulesets": None},
        {"rulesets": Rulesets(None, None, (*RULES, "9:\tfrom all fwmark 0x1 lookup 100"), None)},
    ],
)
def test_what_decides_is_not_known(fields):
    assert outcome(**fields).status is Status.INCONCLUSIVE


def test_ipv6_may_have_a_local_route():
    assert outcome(dataclasses.replace(service(1), address="fd00::9")).status is (
        Status.INCONCLUSIVE
    )


def test_unknown_addresses():
    assert outcome(addresses=None).status is Status.SKIPPED
