import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.nic.ring_below_max import ring_below_max
from dirtune.collect.settings_files import SettingsFiles
from tests.checks.nic.rings import taken
from tests.checks.samples import two

RINGS = {"rx": 256, "rx_max": 4096}


def short(*arguments, rings=RINGS, speed=10_000, **fields):
    card = {"rings": rings}
    return run(
        (ring_below_max,), taken(*arguments, card=card, port={"speed_mbps": speed}, **fields)
    )[0]


@pytest.mark.parametrize(
    ("lost", "speed", "severity"),
    [(5, 1000, Severity.MEDIUM), (5, None, Severity.MEDIUM), (0, 10_000, Severity.INFO)],
)
def test_a_short_ring(lost, speed, severity):
    (found,) = short({"rx_missed_errors": lost}, speed=speed).findings

    assert (found.subject, found.severity) == ("eth0", severity)
    assert found.evidence["rx_descriptors"] == 256
    assert found.evidence["rx_max_descriptors"] == 4096
    assert found.evidence["lost_packets"] == lost
    assert found.fixes[0].commands == ("ethtool -G eth0 rx 1024",)


@pytest.mark.parametrize(
    "fields",
    [
        {"speed": 1000},
        {"speed": 9_999},
        {"driver": "virtio_net"},
        {"rings": None},
        {"rings": {"rx": 1025, "rx_max": 4096}},
        {"rings": {"rx": 0, "rx_max": 0}},
        {"settings_files": SettingsFiles({}, frozenset(), {}, "network-latency")},
    ],
)
def test_a_ring_that_is_well(fields):
    assert short(**fields).status is Status.PASSED


def test_a_quarter_is_short():
    quarter = {"rx": 1024, "rx_max": 4096}

    assert short({"rx_missed_errors": 5}, rings=quarter).status is Status.FINDING
    assert short(rings={"rx": 512, "rx_max": 2048}).status is Status.FINDING
    assert short(rings=quarter).status is Status.PASSED, "the length that the fix sets"


def test_a_short_ring_of_unknown_loss():
    slow = taken(card={"rings": RINGS}, port={"speed_mbps": 1000})
    fast = taken(card={"rings": RINGS}, port={"speed_mbps": 25_000})
    unknown = taken(card={"rings": RINGS})

    alone = [dataclasses.replace(each, earlier=None) for each in (slow, fast)]
    assert run((ring_below_max,), alone[0])[0].status is Status.INCONCLUSIVE
    assert run((ring_below_max,), alone[1])[0].severity is Severity.INFO
    assert run((ring_below_max,), unknown)[0].status is Status.INCONCLUSIVE


def test_rings_take_netlink():
    assert run((ring_below_max,), two())[0].status is Status.SKIPPED
