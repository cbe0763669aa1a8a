import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.realserver.nat_redirects import nat_redirects
from dirtune.snapshot import Place, Snapshot
from tests.checks.nodes import settings
from tests.checks.realserver.directors import NEAR, director


def redirects(everyone=1, own=1, *, clients=("198.18.0.77",), forward="Masq", **fields):
    place = Place("director", client_addresses=frozenset(clients))
    sysctls = settings(all_send_redirects=everyone, eth0_send_redirects=own)
    taken = director(forward, NEAR, **({"sysctls": sysctls, "place": place} | fields))
    return run((nat_redirects,), taken)[0]


@pytest.mark.parametrize("values", [(1, 1), (0, 1), (1, 0)])
def test_either_setting_sends_redirects(values):
    (found,) = redirects(*values).findings

    assert (found.severity, found.subject) == (Severity.HIGH, "eth0")
    assert (found.evidence["clients"], found.evidence["redirects"]) == (["198.18.0.77"], None)
    assert found.fixes[0].commands[:2] == (
        "sysctl -w 'net.ipv4.conf.all.send_redirects=0'",
        "sysctl -w 'net.ipv4.conf.eth0.send_redirects=0'",
    )


def test_redirects_that_were_sent():
    now = Snapshot(snmp={"Icmp.OutRedirects": 5})
    (found,) = redirects(clients=(), snmp={"Icmp.OutRedirects": 8}, earlier=now).findings

    assert found.evidence["redirects"] == 3


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ((0, 0), {}),
        ((1, 1), {"clients": ("203.0.113.7",)}),
        ((1, 1), {"forward": "Route"}),
        ((1, 1), {"vip": "203.0.113.100", "clients": ()}),
    ],
)
def test_two_networks_and_silence(values, fields):
    assert redirects(*values, **fields).status is Status.PASSED


def test_clients_that_nobody_names_leave_it_open():
    assert redirects(clients=()).status is Status.INCONCLUSIVE
    assert redirects(sysctls=settings(all_send_redirects=0)).status is Status.INCONCLUSIVE
    assert redirects(sysctls=None).status is Status.SKIPPED
