import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.nic.rss_skew import rss_skew
from dirtune.collect.ethtool import Card
from dirtune.collect.net import Queue
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Place
from tests.checks.machines import service
from tests.checks.samples import interface, two

EVEN = (1000,) * 8
SKEWED = (1000,) * 7 + (3000,)


def port(queues=8):
    each = tuple(Queue(f"rx-{n}", ()) for n in range(queues))
    return interface(packets=10**8, rx_queues=each)


def counters(packets, name="rx_queue_{}_packets", start=500):
    return {name.format(n): start + more for n, more in enumerate(packets)}


def outcome(packets=SKEWED, *, name="rx_queue_{}_packets", flows=1000, **fields):
    now = Card(statistics=counters(packets, name))
    then = Card(statistics=counters((0,) * len(packets), name))
    known = {
        "interfaces": (port(),),
        "services": (service(1, loads=((flows, 0),)),),
        "ethtool": {"eth0": now},
        "earlier": {"ethtool": {"eth0": then}},
    }
    return run((rss_skew,), two(**known | fields))[0]


def test_one_queue_has_most():
    (found,) = outcome().findings

    assert (found.subject, found.severity) == ("eth0", Severity.MEDIUM)
    assert (found.evidence["queue"], found.evidence["flows"]) == (7, 1000)
    assert found.evidence["median_packets"] == 1000
    assert found.evidence["packets"]["7"] == 3000
    assert [fix.commands for fix in found.fixes] == [
        ("ethtool -X eth0 equal 8",),
        ("ethtool -N eth0 rx-flow-hash tcp4 sdfn",),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "rx{}_packets",
        "rx-{}.packets",
        "[{}]: rx_ucast_packets",
        "queue_{}_rx_cnt",
        "rx_packets[{}]",
    ],
)
def test_names_of_drivers(name):
    (found,) = outcome(name=name).findings

    assert found.evidence["queue"] == 7


def test_from_a_thousand_packets_on():
    assert outcome(pps=1000).status is Status.FINDING


def test_queues_that_are_not_used():
    (found,) = outcome((9, 9, 9, 0, 0, 0, 0, 0)).findings

    assert found.evidence["median_packets"] == 0


def test_udp_is_hashed_too():
    udp = service(1, protocol="UDP", loads=((2000, 0),))
    (found,) = outcome(services=(udp,)).findings

    assert found.fixes[2].commands == ("ethtool -N eth0 rx-flow-hash udp4 sdfn",)


@pytest.mark.parametrize(
    "fields",
    [
        {"packets": EVEN},
        {"packets": (1000,) * 7 + (2999,)},
        {"packets": (0,) * 8},
        {"packets": (1000,) * 6 + (9000,)},
        {"flows": 999},
        {"interfaces": (port(7),)},
        {"place": Place("real-server", forward="Tunnel")},
        {"name": "tx_queue_{}_packets", "interfaces": (port(1),)},
    ],
)
def test_what_is_well(fields):
    assert outcome(**fields).status is Status.PASSED


@pytest.mark.parametrize(
    "fields",
    [
        {"sysctls": Sysctls({"net/netfilter/nf_conntrack_count": "1000"})},
        {"snmp": {"Tcp.CurrEstab": 1000}},
    ],
)
def test_other_counts_of_flows(fields):
    assert outcome(services=None, **fields).status is Status.FINDING


def test_what_it_takes():
    assert outcome(services=None).status is Status.INCONCLUSIVE
    assert outcome(name="frames_{}").status is Status.INCONCLUSIVE
    assert outcome(ethtool=None).status is Status.SKIPPED
    assert outcome(pps=10).status is Status.INCONCLUSIVE


def test_a_card_that_came_between_the_samples_is_left_open():
    new = interface("eth1", packets=10**8)
    found = outcome(interfaces=(port(7), new), earlier={"interfaces": (interface(packets=0),)})

    assert found.status is Status.INCONCLUSIVE
    assert "eth1" in found.reason
