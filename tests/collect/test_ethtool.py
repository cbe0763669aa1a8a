import pytest

from dirtune.collect.ethtool import (
    Card,
    Feature,
    parse_channels,
    parse_coalesce,
    parse_ethtool,
    parse_features,
    parse_rings,
    parse_rss,
    parse_statistics,
    read_ethtool,
)
from dirtune.errors import ParseError, SourceMissing
from dirtune.host import RecordedHost
from tests.real import FIXTURES

RINGS = """\
Ring parameters for eth0:
Pre-set maximums:
RX:\t\t4096
RX Mini:\tn/a
TX:\t\t4096
Current hardware settings:
RX:\t\t256
RX Mini:\tn/a
TX:\t\t512
TX Push:\toff
"""
CHANNELS = """\
Pre-set maximums:
RX:             16
TX:             n/a
Combined:       63
Current hardware settings:
RX:             0
TX:             n/a
Combined:       8
"""
COALESCE = (
    "Coalesce parameters for eth0:\nAdaptive RX: off  TX: n/a\nrx-usecs: 3\nrx-frames: n/a\n"
)
FEATURES = """\
Features for eth0:
large-receive-offload: off [fixed]
generic-receive-offload: on
generic-segmentation-offload: off [requested on]
"""


def test_rings_are_told_apart_from_their_maximums():
    assert parse_rings(RINGS) == {"rx_max": 4096, "tx_max": 4096, "rx": 256, "tx": 512}


def test_channels_of_a_driver_that_combines():
    assert parse_channels(CHANNELS) == {
        "max_rx": 16,
        "max_combined": 63,
        "rx_count": 0,
        "combined_count": 8,
    }


def test_what_a_driver_does_not_know_is_absent():
    assert parse_coalesce(COALESCE) == {"use_adaptive_rx_coalesce": 0, "rx_coalesce_usecs": 3}


def test_features_have_the_kernels_names():
    assert parse_features(FEATURES) == {
        "rx-lro": Feature(on=False, fixed=True),
        "rx-gro": Feature(on=True),
        "tx-generic-segmentation": Feature(on=False),
    }


RSS = """\
RX flow hash indirection table for enp0s16 with 8 RX ring(s):
    0:      0     1     2     0     1     2     0     1
    8:      2     0     1
RSS hash key:
e6:cf:09:34:53:5d:45:1e:4f:ce:7a:fc:65:df:e1:33:e3:68:f5:4a:7c:2a:46:8f:cf:af:2e:05:77:44:b0:1e
RSS hash function:
    toeplitz: on
    xor: off
"""


def test_the_rss_table_has_the_queue_of_each_hash_value():
    assert parse_rss(RSS) == (0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1)
    assert parse_rss("RX flow hash indirection table for eth0 with 1 RX ring(s):\n") is None


def test_statistics_keep_the_drivers_names():
    text = "NIC statistics:\n     rx_packets: 5\n     port.rx_dropped: 12028\n     dup name: 1\n"

    assert parse_statistics(text) == {"rx_packets": 5, "port.rx_dropped": 12028, "dup name": 1}


@pytest.mark.parametrize("parse", [parse_rings, parse_channels, parse_coalesce, parse_statistics])
def test_a_refusal_is_none(parse):
    said = "Cannot get device settings: Operation not supported\nRing parameters for br-ex:\n"

    assert parse(said) is None


def test_a_host_without_dirtune_is_read_from_texts():
    host = RecordedHost({"/cmd/ethtool/g/eth0": RINGS, "/cmd/ethtool/k/eth0": FEATURES}, {})

    card = read_ethtool(host)["eth0"]

    assert card.rings["rx"] == 256
    assert not card.features["rx-lro"].on
    assert card.channels is None


def test_netlinks_answer_is_preferred():
    host = RecordedHost(
        {
            "/netlink/ethtool.json": '{"eth0": {"rings": {"rx": 1024}}}',
            "/cmd/ethtool/g/eth0": RINGS,
        },
        {},
    )

    assert read_ethtool(host) == {"eth0": Card(rings={"rx": 1024})}


def test_nothing_asked_is_missing():
    with pytest.raises(SourceMissing):
        read_ethtool(RecordedHost({}, {}))


def test_a_broken_answer_is_a_parse_error():
    with pytest.raises(ParseError, match="about NICs"):
        parse_ethtool('{"eth0": {"rings": 3}}')


# Hand-read from the collection's files: (option, expected part); None for a refusal.
TRUTH = {
    "g-l-ice-na-tabs.txt": ("g", {"rx_max": 8160, "rx": 4096}),
    "l-g-c-ice-na.txt": ("c", {"use_adaptive_rx_coalesce": 0, "rx_coalesce_usecs": 12}),
    "l-ens3-nbsp.txt": ("l", {"max_combined": 8, "combined_count": 2}),
    "l-ixgbe-xx-nbsp-rx0tx8comb8.txt": ("l", {"max_combined": 16, "tx_count": 8}),
    "nu-g-wlan0-all-zero.txt": ("g", {"rx_max": 0, "rx": 0}),
    "nu-c-x710.txt": ("c", {"use_adaptive_rx_coalesce": 1, "rx_coalesce_usecs": 25}),
    "nu-c-kvm.txt": ("c", {"rx_coalesce_usecs": 0, "use_adaptive_rx_coalesce": 0}),
    "S-hotsos-virtio-k8s.txt": ("S", {"rx_queue_0_packets": 232850, "rx_queue_0_kicks": 7}),
    "g-hotsos-bridge-unsupported.txt": ("g", None),
    "c-hotsos-bridge-unsupported.txt": ("c", None),
    "l-hotsos-bridge-unsupported.txt": ("l", None),
}
PARSE = {"g": parse_rings, "l": parse_channels, "c": parse_coalesce, "S": parse_statistics}


@pytest.mark.skipif(not FIXTURES.exists(), reason="the collection of real dumps is not here")
@pytest.mark.parametrize("name", TRUTH)
def test_texts_of_real_machines(name):
    option, wanted = TRUTH[name]
    found = PARSE[option]((FIXTURES / "ethtool" / name).read_text(encoding="utf-8"))

    if wanted is None:
        assert found is None
    else:
        assert found.items() >= wanted.items()


@pytest.mark.skipif(not FIXTURES.exists(), reason="the collection of real dumps is not here")
@pytest.mark.parametrize(
    "path",
    [p for p in sorted(FIXTURES.glob("ethtool/*.txt")) if "unsupported" not in p.name],
    ids=lambda path: path.name,
)
def test_every_text_of_a_driver_that_answers_gives_something(path):
    text = path.read_text(encoding="utf-8", errors="backslashreplace")

    assert any(parse(text) for parse in PARSE.values())


def test_names_that_a_driver_repeats_for_each_queue_are_numbered():
    # drivers/net/vmxnet3/vmxnet3_ethtool.c prints the same names for each queue.
    text = """NIC statistics:
     Rx Queue#: 0
       ucast pkts rx: 7
       pkts rx OOB: 3
          err: 1
     Rx Queue#: 1
       ucast pkts rx: 9
       pkts rx OOB: 4
          err: 2
     tx timeout count: 0
"""
    counters = parse_statistics(text)

    assert (counters["pkts rx OOB[0]"], counters["pkts rx OOB[1]"]) == (3, 4)
    assert (counters["err[0]"], counters["err[1]"]) == (1, 2)
    assert counters["tx timeout count"] == 0
    assert parse_statistics("  pkts rx OOB: 3\n") == {"pkts rx OOB": 3}
