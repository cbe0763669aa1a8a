import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.nic.tunnel_entropy import tunnel_entropy
from dirtune.collect.ethtool import Card
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.collect.modules import Modules
from dirtune.collect.net import Queue
from dirtune.snapshot import Place
from tests.checks.machines import detailed, service
from tests.checks.samples import cpus, interface, interrupts, msi, two

SERVER = Place("real-server", forward="Tunnel")
AT = "/sys/class/net/eth0/queues"


def port(*masks):
    each = tuple(Queue(f"rx-{n}", mask) for n, mask in enumerate(masks))
    return interface(packets=10**8, rx_queues=each)


TUNNEL = interface("tunl0", packets=10**8, physical=False, operstate="unknown", type=768)


def outcome(packets=(800, 200), **fields):
    then = Card(statistics={f"rx{n}_packets": 7 for n in range(len(packets))})
    now = Card(statistics={f"rx{n}_packets": 7 + more for n, more in enumerate(packets)})
    known = {
        "interfaces": (port((), ()), TUNNEL),
        "ethtool": {"eth0": now},
        "earlier": {"ethtool": {"eth0": then}},
        "place": SERVER,
        "cpus": cpus(4),
        "interrupts": interrupts(msi(24, "eth0-rx-0", 0, 9000, 0, 0)),
    }
    return run((tunnel_entropy,), two(**known | fields))[0]


def test_one_queue_takes_the_tunnel():
    (found,) = outcome().findings

    assert (found.subject, found.severity) == ("eth0", Severity.HIGH)
    assert found.evidence == {
        "queue": 0,
        "packets": {"0": 800, "1": 200},
        "tunnels": ["tunl0"],
    }
    assert [(fix.id, fix.commands) for fix in found.fixes] == [
        ("tunnel-in-gue", ()),
        # CPUs 0, 2 and 3: binary 1101.
        ("enable-rps", (f"echo d > {AT}/rx-0/rps_cpus", f"echo d > {AT}/rx-1/rps_cpus")),
    ]


def test_a_director_behind_a_director():
    (found,) = outcome(services=(service(1),)).findings

    assert found.severity is Severity.MEDIUM


def test_without_cpus_nothing_can_be_steered():
    (found,) = outcome(cpus=None).findings

    assert [fix.id for fix in found.fixes] == ["tunnel-in-gue"]


@pytest.mark.parametrize(
    "fields",
    [
        {"packets": (799, 201)},
        {"interfaces": (port((), (1,)), TUNNEL)},
        {"interfaces": (port(()), TUNNEL)},
        {"place": Place("real-server", forward="Route")},
        {"place": Place("real-server", (), "Tunnel", frozenset(f"192.0.2.{n}" for n in range(8)))},
        {"modules": Modules(frozenset({"ipip", "fou"}), {})},
        {"place": Place("director"), "services": (service(1, forward="Route"),)},
    ],
)
def test_what_is_well(fields):
    assert outcome(**fields).status is Status.PASSED


def test_from_a_thousand_packets_on():
    assert outcome(pps=1000).status is Status.FINDING


def test_a_card_that_came_between_the_samples_is_left_open():
    came = dataclasses.replace(port((), ()), name="eth1")
    then = (interface(packets=0, rx_queues=()),)
    found = outcome(interfaces=(port(()), came), earlier={"interfaces": then})

    assert found.status is Status.INCONCLUSIVE
    assert "eth1" in found.reason


def test_seven_directors_are_few():
    few = frozenset(f"192.0.2.{n}" for n in range(7))

    place = Place("real-server", (), "Tunnel", few)

    assert outcome(place=place).status is Status.FINDING


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (0, Status.INCONCLUSIVE),
        (2, Status.INCONCLUSIVE),
        (1, Status.PASSED),
        (None, Status.INCONCLUSIVE),
    ],
)
def test_what_a_director_sends(kind, status):
    plain = service(1, forward="Tunnel")
    told = None if kind is None else Ipvs(services=(detailed(plain, {"tunnel_type": kind}),))
    found = outcome(place=Place("director"), services=(plain,), ipvs=told)

    assert found.status is status


def test_what_it_takes():
    assert outcome(ethtool=None).status is Status.INCONCLUSIVE
    assert outcome(packets=()).status is Status.INCONCLUSIVE
    unknown = outcome(place=Place("real-server"))
    assert unknown.status is Status.INCONCLUSIVE
    plain = outcome(place=None, services=(), interface_addresses=())
    assert plain.status is Status.NOT_APPLICABLE
    assert outcome(pps=10).status is Status.INCONCLUSIVE
