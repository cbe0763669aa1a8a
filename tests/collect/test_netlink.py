"""What the kernel answered, as bytes, and the JSON that a record keeps of it."""

import json
import struct
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import pytest
from pyroute2.ethtool import Ethtool

from dirtune.collect import netlink
from dirtune.collect.answers import ETHTOOL, IPVS
from dirtune.collect.ethtool import parse_ethtool
from dirtune.collect.ipvs_netlink import parse_ipvs
from dirtune.collect.netlink import answers
from dirtune.errors import SourceMissing
from dirtune.host import LiveHost
from dirtune.netlink import ethtool
from tests.netlink.played import RECORDED, Played, recorded


class Host:
    """A machine with ip_vs and without cards."""

    def glob(self, pattern):
        return []

    def read(self, path):
        assert path == "/proc/net/ip_vs"
        return ""


class WithoutIpvs(Host):
    def read(self, path):
        raise SourceMissing(path)


def told(monkeypatch, socket):
    """What a record has of the kernel behind *socket*, None if nothing.

    A record leaves out values that are the default.
    """
    monkeypatch.setattr("dirtune.netlink.genl.Socket", socket)
    found = answers(Host(), (IPVS,)).get(IPVS)
    return None if found is None else whole(parse_ipvs(found))


def whole(value):
    """Return structures as dicts of all their fields."""
    if isinstance(value, msgspec.Struct):
        return {name: whole(getattr(value, name)) for name in value.__struct_fields__}
    return [whole(each) for each in value] if isinstance(value, tuple) else value


def test_the_record_of_recorded_bytes_is_that_of_another_decoder(monkeypatch):
    assert told(monkeypatch, Played()) == json.loads((RECORDED / "ipvs.json").read_text())


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def without(*kinds, inside=True):
    """Return what takes attributes out of a message, as a kernel that does not know them."""

    def change(data, depth=1 if inside else 0):
        kept, at = b"", 0
        while at < len(data):
            length, kind = struct.unpack_from("=HH", data, at)
            value = data[at + 4 : at + length]
            if depth:
                kept += attribute(kind, change(value, depth - 1))
            elif kind not in kinds:
                kept += attribute(kind, value)
            at += (length + 3) & ~3
        return kept

    return change


def test_an_older_kernel(monkeypatch):
    """Linux 3.10: no wide counters, no family of a destination's own, no tunnel's type."""
    expected = json.loads((RECORDED / "ipvs.json").read_text())
    for service in expected["services"]:
        for destination in service["destinations"]:
            destination["tunnel_type"] = 0
    services, config, daemons = recorded()
    # A destination of another family than its service's came with the attribute that tells it.
    mixed = next(n for n, (data, _) in enumerate(services) if data[8:10] == b"\x0a\0")
    services[mixed] = (services[mixed][0], services[mixed][1][1:])
    del expected["services"][mixed]["destinations"][0]
    assert ":" in expected["services"][mixed]["destinations"][0]["address"]
    strip = without(13, 14, 15, 12, 11)
    older = [(strip(data), [strip(each) for each in behind]) for data, behind in services]

    assert told(monkeypatch, Played((older, config, daemons))) == expected


def test_a_newer_kernel(monkeypatch):
    """Attributes that nobody knows yet, in the message and in what it holds."""

    def newer(data):
        length, kind = struct.unpack_from("=HH", data)
        more = attribute(77, b"?") + attribute(40, b"\0" * 8)
        inner = attribute(kind, data[4:length] + more) if kind < 4 else data
        return inner + more

    assert told(monkeypatch, Played(change=newer)) == json.loads(
        (RECORDED / "ipvs.json").read_text()
    )


def test_a_kernel_that_counts_nothing_and_has_no_udp(monkeypatch):
    services, config, daemons = recorded()
    strip = without(10, 12)
    bare = [(strip(data), [strip(each) for each in behind]) for data, behind in services]
    found = told(monkeypatch, Played((bare, without(6, inside=False)(config), daemons)))

    # 10 and 12 are STATS and STATS64 of services and destinations alike.
    assert {service["connections"] for service in found["services"]} == {None}
    assert found["timeouts_s"] == {"tcp": 900, "tcp_fin": 120}
    assert parse_ipvs(json.dumps(found)).services[0].connections is None


def test_numbers_that_have_no_name_yet(monkeypatch):
    """A protocol, a way to forward and flags that this dirtune does not know."""
    service = attribute(1, struct.pack("=H", 2)) + attribute(2, struct.pack("=H", 33))
    service += attribute(3, bytes((10, 0, 0, 1)) + bytes(12)) + attribute(4, b"\0\x50")
    service += attribute(6, b"sed\0") + attribute(7, struct.pack("=II", 0xFFFFFF00, 0))
    behind = attribute(1, bytes((10, 0, 0, 2)) + bytes(12)) + attribute(2, b"\0\x50")
    behind += attribute(3, struct.pack("=I", 0x4007)) + attribute(4, struct.pack("=I", 9))
    messages = ([(attribute(1, service), [attribute(2, behind)])], b"", [])

    (found,) = told(monkeypatch, Played(messages))["services"]

    assert (found["protocol"], found["scheduler"], found["flags"]) == ("33", "sed", 0xFFFFFF00)
    assert (found["persistent_s"], found["netmask"], found["port"]) == (None, "", 80)
    (destination,) = found["destinations"]
    assert (destination["forward"], destination["weight"]) == ("7", 9)
    assert destination["address"] == "10.0.0.2"


def test_an_answer_cut_off_is_none(monkeypatch):
    assert told(monkeypatch, Played(change=lambda data: data[:-3])) is None


def test_nothing_is_asked_that_is_not_wanted(monkeypatch):
    monkeypatch.setattr(netlink, "_nics", lambda host: {"eth0": {}})

    assert list(answers(Host(), (ETHTOOL,))) == [ETHTOOL]
    assert answers(WithoutIpvs(), (IPVS,)) == {}


CARDS = [path.name for path in sorted(Path("/sys/class/net").iterdir())]


@pytest.mark.parametrize("name", [name for name in CARDS if name != "bonding_masters"])
def test_a_card_is_set_as_pyroute2_says(name):
    """Every card of this machine, with loopback; counters move, so only their names are alike."""
    with Ethtool() as other:
        expected = {}
        for what in ("rings", "channels", "coalesce"):
            with suppress(Exception):
                answer = getattr(other, f"get_{what}")(name)
                values = answer if isinstance(answer, dict) else answer._asdict()
                expected[what] = {k: v for k, v in values.items() if v is not None}
        expected["features"] = {
            key: {"on": bool(each.enable), "fixed": not each.available}
            for key, each in other.get_features(name).features.items()
        }

    with ethtool.opened() as cards:
        found = dict(netlink._nic(cards, name))
    statistics = found.pop("statistics", {})

    assert found == expected
    assert set(statistics) == counters(name)


def counters(name):
    from pyroute2.ethtool.ioctl import IoctlEthtool, NotSupportedError

    # pyroute2 0.8.1 asserts that a card has statistics; loopback has none.
    refusals = (NotSupportedError, AssertionError)
    with closing(IoctlEthtool(name)) as card, suppress(*refusals):
        return {key for key, _ in card.get_statistics()}
    return set()


def test_a_kernel_without_ethtools_netlink_is_asked_by_ioctl(monkeypatch):
    def refused(*_):
        raise OSError

    with ethtool.opened() as cards:
        expected = dict(netlink._nic(cards, "lo"))
    monkeypatch.setattr("dirtune.netlink.genl.Socket", refused)
    with ethtool.opened() as cards:
        assert dict(netlink._nic(cards, "lo")) == expected
        assert dict(netlink._nic(cards, "no-such-card")) == {}


def test_the_answer_of_this_machine_is_read():
    found = answers(LiveHost(), (ETHTOOL,))

    cards = parse_ethtool(found[ETHTOOL]) if found else {}
    assert set(cards) == set(CARDS) - {"lo", "bonding_masters"}
    assert all(card.features["rx-gro"] is not None for card in cards.values())
    assert msgspec.json.decode(found.get(ETHTOOL, "{}")).keys() == cards.keys()
