import pytest

from dirtune.checks import Severity, Status
from dirtune.checks.link.saturated import saturated
from tests.checks.link.hosts import GUEST, METAL, judged, port


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
@pytest.mark.parametrize("way", ["rx", "tx"])
def test_a_full_link(percent, severity, way):
    (found,) = carried(loaded(way, percent)).findings

    assert (found.subject, found.severity) == ("eth0", severity)
    assert found.evidence["direction"] == way
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
