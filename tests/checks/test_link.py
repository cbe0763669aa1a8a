import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.link.errors_flaps import errors_flaps
from dirtune.checks.link.pcie_narrow import pcie_narrow
from dirtune.checks.link.saturated import saturated
from dirtune.checks.link.speed_duplex import speed_duplex
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.ethtool import Card
from dirtune.collect.kernel_log import LogLine
from dirtune.collect.net import Interface
from dirtune.collect.pci import Link, PciDevice
from dirtune.snapshot import Snapshot

GUEST = CpuInfo(None, frozenset({"hypervisor"}))
METAL = CpuInfo(None, frozenset())


def port(name="eth0", speed=10_000, *, counters=None, **fields):
    known = {"driver": "ixgbe", "operstate": "up", "duplex": "full", "speed_mbps": speed}
    counters = counters or {}
    packets = (counters.get("rx_packets", 0), counters.get("tx_packets", 0))
    return Interface(name, None, None, True, *packets, statistics=counters, **(known | fields))


def log(*texts, at=999_000.0):
    return tuple(LogLine(at, text) for text in texts)


def taken(*ports, before=None, seconds=10.0, now=1_000_000.0, **fields):
    earlier = None
    if before is not None:
        then = fields.pop("then", {})
        earlier = Snapshot(interfaces=before, taken_s=now - seconds, **then)
    return Snapshot(interfaces=ports, taken_s=now, earlier=earlier, **fields)


def judged(check, *args, **kwargs):
    return run((check,), taken(*args, **kwargs))[0]


# speed-duplex


def test_half_duplex():
    (found,) = judged(speed_duplex, port(speed=100, duplex="half")).findings

    assert (found.subject, found.severity) == ("eth0", Severity.CRITICAL)
    assert found.message == "is half duplex, at 100 Mbit/s"
    assert [(fix.id, fix.commands) for fix in found.fixes] == [("repair-negotiation", ())]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "the same driver ixgbe"),
        ({"driver": "igb", "master": "bond0"}, "the same bond0"),
    ],
)
def test_slower_than_its_peers(fields, said):
    found = judged(speed_duplex, port("eth0", 1000, **fields), port("eth1", master="bond0"))

    assert [(f.subject, f.severity) for f in found.findings] == [("eth0", Severity.HIGH)]
    assert found.findings[0].message == f"runs at 1000 Mbit/s, eth1 of {said} at 10000"


def test_a_downshift_in_the_log():
    rows = log("igb 0000:01:00.0 eth0: Link Speed was downgraded by SmartSpeed")
    (found,) = judged(speed_duplex, port(speed=100), kernel_log=rows).findings

    assert found.severity is Severity.HIGH
    assert "slower than both ends can, at 100 Mbit/s" in found.message


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


# errors-flaps


def erring(packets=10**6, *, changes=2, **counters):
    return port(counters={"rx_packets": packets, **counters}, carrier_changes=changes)


QUIET = erring(0, rx_crc_errors=5, rx_length_errors=0)


@pytest.mark.parametrize("name", ["rx_crc_errors", "rx_length_errors"])
def test_errors_rise(name):
    then = erring(0, **{name: 5})
    (found,) = judged(errors_flaps, erring(**{name: 6}), before=(then,)).findings

    assert (found.subject, found.severity) == ("eth0", Severity.HIGH)
    assert found.message == f"{name} rose by 1 in 1,000,000 packets"
    assert found.fixes[0].commands == ()


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("rx_symbol_err_phy", Status.FINDING),
        ("rx_crc_errors_phy", Status.FINDING),
        ("rx_discards_phy", Status.PASSED),
        ("tx_errors_phy", Status.PASSED),
        ("rx_corrected_bits_phy", Status.PASSED),
    ],
)
def test_the_drivers_own_counters(name, status):
    fields = {
        "ethtool": {"eth0": Card(statistics={name: 9})},
        "then": {"ethtool": {"eth0": Card(statistics={name: 5})}},
    }

    assert judged(errors_flaps, erring(), before=(erring(0),), **fields).status is status


def test_the_carrier_went_between_the_samples():
    (found,) = judged(errors_flaps, erring(changes=6), before=(erring(changes=2),)).findings

    assert found.message == "the carrier went 2 times"


@pytest.mark.parametrize(("changes", "status"), [(42, Status.FINDING), (40, Status.PASSED)])
def test_flaps_since_boot(changes, status):
    now = erring(changes=changes)
    found = judged(errors_flaps, now, before=(now,), now=10 * 86_400.0)

    assert found.status is status


@pytest.mark.parametrize(("at", "status"), [(950_000, Status.FINDING), (9_000, Status.PASSED)])
def test_transmit_timeouts(at, status):
    rows = log("NETDEV WATCHDOG: eth0 (ixgbe): transmit queue 3 timed out", at=float(at))
    found = judged(errors_flaps, erring(), before=(erring(),), kernel_log=rows)

    assert found.status is status


@pytest.mark.parametrize(
    ("now", "fields"),
    [
        (erring(10**6 + 1, rx_crc_errors=6), {}),
        (erring(rx_crc_errors=4), {}),
        (erring(rx_crc_errors=99), {"kernel_log": log("eth0: NIC Link is Up", at=999_950.0)}),
        (erring(rx_crc_errors=99), {"now": 59.0}),
        (erring(changes=3), {}),
        (erring(changes=99), {"before": (erring(changes=99),), "now": 86_000.0}),
    ],
)
def test_a_link_that_is_well(now, fields):
    found = judged(errors_flaps, now, **({"before": (QUIET,)} | fields))

    assert found.status is Status.PASSED


def test_one_sample_of_a_link():
    assert judged(errors_flaps, erring(rx_crc_errors=9)).status is Status.INCONCLUSIVE


# saturated


def loaded(way, percent, *, size=1500, speed=10_000):
    """What a link carried in 10 s."""
    packets = round(speed * 1e6 * 10 * percent / 100 / 8 / (size + 24))
    other = "tx" if way == "rx" else "rx"
    counters = {f"{way}_bytes": size * packets, f"{way}_packets": packets}
    return counters | {f"{other}_bytes": 0, f"{other}_packets": 0}


NOTHING = dict.fromkeys(("rx_bytes", "tx_bytes", "rx_packets", "tx_packets"), 0)


def carried(counters, **fields):
    ports = {key: fields.pop(key) for key in ("speed", "driver") if key in fields}
    now, then = port(counters=counters, **ports), port(counters=NOTHING, **ports)
    return judged(saturated, now, before=(then,), **({"cpuinfo": METAL} | fields))


@pytest.mark.parametrize(
    ("percent", "severity"), [(97, Severity.HIGH), (91, Severity.HIGH), (80, Severity.MEDIUM)]
)
@pytest.mark.parametrize(("way", "word"), [("rx", "received"), ("tx", "sent")])
def test_a_full_link(percent, severity, way, word):
    (found,) = carried(loaded(way, percent)).findings

    assert (found.subject, found.severity) == ("eth0", severity)
    assert found.message == f"{word} {percent} % of its 10000 Mbit/s"
    assert found.evidence["percent"][way] == percent


def test_the_packet_rate_of_the_shortest_frames_fills_a_link():
    # 14,880,952 packets/s of 84 bytes on the wire are 10 Gbit/s; a driver may count 46 of them.
    counters = NOTHING | {"rx_packets": 148_809_520, "rx_bytes": 148_809_520 * 46}
    (found,) = carried(counters).findings

    assert found.evidence["percent"]["rx"] == 100.0
    assert found.evidence["packets_per_second"] == 14_880_952


@pytest.mark.parametrize("fields", [{}, {"speed": 25_000}])
def test_a_link_with_room(fields):
    assert carried(loaded("rx", 74), **fields).status is Status.PASSED


@pytest.mark.parametrize(
    "fields", [{"speed": None}, {"driver": "e1000", "cpuinfo": GUEST}, {"driver": "virtio_net"}]
)
def test_a_link_without_a_speed_of_its_own(fields):
    if fields.get("driver") == "virtio_net":
        fields = fields | {"cpuinfo": None}
    assert carried(loaded("rx", 99), **fields).status is Status.INCONCLUSIVE


def test_one_sample_of_load():
    assert judged(saturated, port(counters=loaded("rx", 99))).status is Status.INCONCLUSIVE


# pcie-narrow


def slot(gt, width, *, most=(8.0, 8), function=0, nets=("eth0",), **fields):
    known = {"driver": "ixgbe", "link": Link(gt, width), "link_max": Link(*most), "pcie": True}
    return PciDevice(f"0000:3b:00.{function}", 0x020000, nets=nets, **(known | fields))


def narrow(*devices, ports=None, **fields):
    return judged(
        pcie_narrow, *(ports or (port(),)), **({"pci": devices, "cpuinfo": METAL} | fields)
    )


@pytest.mark.parametrize(
    ("gt", "width", "severity"),
    [(8.0, 1, Severity.HIGH), (5.0, 2, Severity.HIGH), (2.5, 5, Severity.MEDIUM)],
)
def test_a_narrow_slot(gt, width, severity):
    (found,) = narrow(slot(gt, width)).findings

    assert (found.subject, found.severity) == ("eth0", severity)
    assert f"x{width} at {gt:g} GT/s of x8 at 8:" in found.message
    assert found.evidence["ports_gbps"] == 10.0


def test_ports_of_one_card_share_the_slot():
    devices = (slot(8.0, 2), slot(8.0, 2, function=1, nets=("eth1",)))
    (found,) = narrow(*devices, ports=(port(), port("eth1"))).findings

    assert (found.subject, found.evidence["ports_gbps"]) == ("eth0, eth1", 20.0)
    assert found.message.endswith("15.8 Gbit/s for ports of 20")


def test_a_slower_slot_under_load():
    now = port(counters={"rx_packets": 10_000})
    (found,) = narrow(slot(2.5, 4, most=(8.0, 4)), ports=(now,), before=(port(),)).findings

    assert found.evidence["usable_gbps"] == 8.0


@pytest.mark.parametrize(
    "fields", [{}, {"ports": (port(counters={"rx_packets": 9_999}),), "before": (port(),)}]
)
def test_a_slower_slot_may_save_power(fields):
    assert narrow(slot(2.5, 4, most=(8.0, 4)), **fields).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    "device",
    [
        slot(8.0, 8),
        slot(8.0, 2),
        slot(8.0, 1, link=None),
        slot(8.0, 1, nets=()),
        slot(8.0, 1, driver="virtio-pci"),
    ],
)
def test_a_slot_that_is_enough(device):
    assert narrow(device).status is Status.PASSED


def test_slots_of_guests_and_ports_without_a_speed():
    assert narrow(slot(8.0, 1), cpuinfo=GUEST).status is Status.NOT_APPLICABLE
    assert narrow(slot(8.0, 1), ports=(port(speed=None),)).status is Status.INCONCLUSIVE
    assert narrow(slot(8.0, 1), pci=None).status is Status.SKIPPED


def test_an_address_is_looked_at_as_a_whole():
    others = dataclasses.replace(slot(8.0, 1, nets=("eth1",)), address="0000:3c:00.0")
    found = narrow(slot(8.0, 8), others, ports=(port(), port("eth1")))

    assert [f.subject for f in found.findings] == ["eth1"]
