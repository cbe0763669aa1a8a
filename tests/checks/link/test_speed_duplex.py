import pytest

from dirtune.checks import Severity, Status
from dirtune.checks.link.speed_duplex import speed_duplex
from tests.checks.link.hosts import judged, log, port


def test_half_duplex():
    (found,) = judged(speed_duplex, port(speed=100, duplex="half")).findings

    assert (found.subject, found.severity) == ("eth0", Severity.CRITICAL)
    assert (found.evidence["duplex"], found.evidence["speed_mbps"]) == ("half", 100)
    assert [(fix.id, fix.commands) for fix in found.fixes] == [("repair-negotiation", ())]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "the same driver ixgbe"),
        ({"driver": "igb", "master": "bond0"}, "belongs to bond0"),
    ],
)
def test_slower_than_its_peers(fields, said):
    found = judged(speed_duplex, port("eth0", 1000, **fields), port("eth1", master="bond0"))

    assert [(f.subject, f.severity) for f in found.findings] == [("eth0", Severity.HIGH)]
    assert said in found.findings[0].message


def test_a_downshift_in_the_log():
    rows = log("igb 0000:01:00.0 eth0: Link Speed was downgraded by SmartSpeed")
    (found,) = judged(speed_duplex, port(speed=100), kernel_log=rows).findings

    assert found.severity is Severity.HIGH
    assert found.evidence["speed_mbps"] == 100


@pytest.mark.parametrize(
    ("ports", "rows"),
    [
        ((port(), port("eth1")), ()),
        ((port(), port("eth1", 1000, driver="tg3")), ()),
        ((port(), port("eth1", None, operstate="down", duplex="half")), ()),
        ((port(), port("eth1", None)), ()),
        ((port(),), ("eth0: Link Speed was downgraded by SmartSpeed", "eth0: NIC Link is Down")),
        ((port(),), ("eth01: Link Speed was downgraded by SmartSpeed",)),
    ],
)
def test_links_as_they_should_be(ports, rows):
    assert judged(speed_duplex, *ports, kernel_log=log(*rows)).status is Status.PASSED


def test_nothing_tells_a_speed():
    assert judged(speed_duplex, port(speed=None)).status is Status.INCONCLUSIVE
