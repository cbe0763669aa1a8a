import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.nic.pause_frames import pause_frames
from dirtune.collect.ethtool import Card
from dirtune.snapshot import Snapshot
from tests.checks.samples import interface, two


def outcome(earlier=None, **risen):
    """A card whose counters rose by *risen* in 10 s."""
    then = Card(statistics=dict.fromkeys(risen, 50) | {"rx_bytes": 0})
    now = Card(statistics={n: 50 + rise for n, rise in risen.items()} | {"rx_bytes": 10**9})
    taken = two(ethtool={"eth0": now}, earlier={"ethtool": {"eth0": then}} | (earlier or {}))
    return run((pause_frames,), taken)[0]


def test_pauses_both_ways():
    (found,) = outcome(rx_flow_control_xoff=100, tx_flow_control_xon=250).findings

    assert (found.subject, found.severity) == ("eth0", Severity.INFO)
    assert found.message == "eth0 receives 10 and sends 25 pause frames/s"
    assert found.evidence["per_second"] == {
        "rx_flow_control_xoff": 10.0,
        "tx_flow_control_xon": 25.0,
    }
    assert [(fix.risk, fix.commands) for fix in found.fixes] == [
        ("safe", ()),
        ("disruptive", ("ethtool -A eth0 rx off tx off",)),
    ]


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("rx_pause_ctrl_phy", "receives"),
        ("tx_pause_storm_warning_events", "sends"),
        ("rx_pause_frames", "receives"),
        ("port.link_xoff_rx", "receives"),
        ("link_xon_tx.nic", "sends"),
    ],
)
def test_names_of_drivers(name, way):
    (found,) = outcome(**{name: 100}).findings

    assert found.message == f"eth0 {way} 10 pause frames/s"


@pytest.mark.parametrize(
    "risen",
    [
        {"rx_flow_control_xoff": 99},
        {"rx_global_pause_duration": 10**6},
        {"rx_pause_ctrl_phy": 500, "rx_prio3_pause": 1},
        {"rx_flow_control_xoff": 500, "port.rx_priority_3_xoff": 1},
        {"rx_queue_0_packets": 10**6},
        {},
    ],
)
def test_what_is_well(risen):
    assert outcome(**risen).status is Status.PASSED


def test_what_it_takes():
    assert outcome({"ethtool": {}}).status is Status.INCONCLUSIVE
    alone = Snapshot(interfaces=(interface(),), ethtool={"eth0": Card(statistics={})})
    assert run((pause_frames,), alone)[0].status is Status.INCONCLUSIVE
    assert run((pause_frames,), Snapshot(interfaces=()))[0].status is Status.SKIPPED
