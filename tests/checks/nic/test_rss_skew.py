import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.nic.rss_skew import rss_skew
from dirtune.collect.ethtool import Card
from dirtune.collect.net import Queue
from dirtune.collect.sysctls import Sysctls
from dirtune.settings import EvenRss
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


def table_outcome(table, packets, **fields):
    now = Card(statistics=counters(packets), rss=table)
    then = Card(statistics=counters((0,) * len(packets)))
    ports = (port(len(packets)),)
    cards = {"ethtool": {"eth0": now}, "earlier": {"ethtool": {"eth0": then}}}
    return outcome(interfaces=ports, **cards | fields)


def test_a_table_that_omits_queues():
    """As virtio_net in Linux 6.1 after `ethtool -L eth0 combined 4`."""
    (finding,) = table_outcome((0, 1) * 64, (500, 510, 0, 0)).findings

    assert "uses only 2 of 4 receive queues" in finding.message
    assert finding.evidence["omitted_queues"] == [2, 3]
    spread, _ = finding.fixes
    assert spread.settings == (EvenRss("eth0", 4),)
    assert spread.commands == ("ethtool -X eth0 equal 4",)


@pytest.mark.parametrize(
    ("table", "packets"),
    [
        ((0, 1, 2, 3) * 32, (900, 10, 10, 10)),
        # Another rule steers packets to the queues that the table omits.
        ((0, 1) * 64, (500, 510, 20, 30)),
        ((), (500, 510, 0, 0)),
    ],
)
def test_a_table_that_is_well_with_few_queues(table, packets):
    assert table_outcome(table, packets).status is Status.PASSED


def test_an_omitted_queue_is_judged_with_many_flows_and_packets():
    omitting = (0, 1) * 64, (500, 510, 0, 0)

    assert table_outcome(*omitting, services=(service(1, loads=((999, 0),)),)).findings == ()
    assert table_outcome(*omitting, services=None).status is Status.INCONCLUSIVE
    assert table_outcome(*omitting, pps=999).status is Status.INCONCLUSIVE
    tunnelled = Place("real-server", forward="Tunnel")
    assert table_outcome(*omitting, place=tunnelled).status is Status.PASSED


def test_a_table_without_counters_by_queue_tells_the_omitted_queues():
    cards = {"eth0": Card(statistics={}, rss=(0, 1) * 64)}
    (finding,) = outcome(ethtool=cards).findings

    assert "uses only 2 of 8" in finding.message
    assert (finding.evidence["queue"], finding.evidence["packets"]) == (None, {})


def test_an_even_table_leaves_the_hash_to_mend():
    (finding,) = table_outcome((0, 1, 2, 3, 4, 5, 6, 7) * 16, SKEWED).findings

    assert [fix.id for fix in finding.fixes] == ["hash-tcp-ports"]


def test_a_table_with_weights_is_spread():
    (finding,) = table_outcome((0, 0, 0, 1, 2, 3, 4, 5, 6, 7) * 12, SKEWED[::-1]).findings

    assert finding.fixes[0].settings == (EvenRss("eth0", 8),)


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
