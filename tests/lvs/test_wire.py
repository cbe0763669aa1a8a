"""Bytes against two other tools: pyroute2's encoders, and what ipvsadm said of the same kernel."""

import struct
from pathlib import Path
from socket import AF_INET, AF_INET6

import pytest
from pyroute2.netlink.generic.ipvs import ipvsmsg

from dirtune.lvs import wire
from dirtune.lvs.diff import Step, Verb
from dirtune.lvs.model import Destination, Service, SyncDaemon, Timeouts
from dirtune.netlink import ip_vs

RECORDED = Path(__file__).parent / "recorded"
TCP = Service("tcp", "10.9.9.9", 443, "rr", persistent_s=300, netmask="255.255.255.0")
SIX = Service("udp", "fd00::9", 53, "sh", 6, flags=0x1C)
MARK = Service("fwmark", "", 7, "mh", 6, persistent_s=60, netmask="64", engine="sip")


def by_pyroute2(service, destination=None):
    """The attributes as pyroute2 encodes them."""
    message = ipvsmsg()
    message["attrs"] = [("IPVS_CMD_ATTR_SERVICE", {"attrs": service})]
    if destination is not None:
        message["attrs"].append(("IPVS_CMD_ATTR_DEST", {"attrs": destination}))
    message.encode()
    return bytes(message.data[20:])


def services(*pairs):
    return [(f"IPVS_SVC_ATTR_{name}", value) for name, value in pairs]


def destinations(*pairs):
    return [(f"IPVS_DEST_ATTR_{name}", value) for name, value in pairs]


def without_nest_bits(data):
    """Attributes with NLA_F_NESTED cleared, which pyroute2 does not set."""
    found, at = bytearray(data), 0
    while at < len(found):
        length, kind = struct.unpack_from("=HH", found, at)
        struct.pack_into("=H", found, at + 2, kind & 0x7FFF)
        at += (length + 3) & ~3
    return bytes(found)


KEY = services(("AF", AF_INET), ("PROTOCOL", 6), ("ADDR", "10.9.9.9"), ("PORT", 443))


@pytest.mark.parametrize(
    ("step", "command", "expected"),
    [
        (
            Step(Verb.NEW, TCP),
            1,
            by_pyroute2(
                KEY
                + services(
                    ("SCHED_NAME", "rr"),
                    ("FLAGS", {"flags": 1, "mask": 0x3D}),
                    ("TIMEOUT", 300),
                    ("NETMASK", "255.255.255.0"),
                )
            ),
        ),
        (
            Step(Verb.SET, SIX),
            2,
            by_pyroute2(
                services(
                    ("AF", AF_INET6),
                    ("PROTOCOL", 17),
                    ("ADDR", "fd00::9"),
                    ("PORT", 53),
                    ("SCHED_NAME", "sh"),
                    ("FLAGS", {"flags": 0x1C, "mask": 0x3D}),
                    ("TIMEOUT", 0),
                    ("NETMASK", "128.0.0.0"),  # the number 128, as a little-endian machine has it
                )
            ),
        ),
        (
            Step(Verb.NEW, MARK),
            1,
            by_pyroute2(
                services(
                    ("AF", AF_INET6),
                    ("FWMARK", 7),
                    ("SCHED_NAME", "mh"),
                    ("FLAGS", {"flags": 1, "mask": 0x3D}),
                    ("TIMEOUT", 60),
                    ("NETMASK", "64.0.0.0"),
                    ("PE_NAME", "sip"),
                )
            ),
        ),
        (Step(Verb.DEL, TCP), 3, by_pyroute2(KEY)),
        (
            Step(Verb.NEW, Destination("10.2.1.2", 8443, "nat", 5, 1000, 800), TCP),
            5,
            by_pyroute2(
                KEY,
                destinations(
                    ("ADDR_FAMILY", AF_INET),
                    ("ADDR", "10.2.1.2"),
                    ("PORT", 8443),
                    ("FWD_METHOD", 0),
                    ("WEIGHT", 5),
                    ("U_THRESH", 1000),
                    ("L_THRESH", 800),
                ),
            ),
        ),
        (
            Step(
                Verb.SET,
                Destination("fd00::2", 443, "tun", 0, tunnel="gue", tunnel_port=6080),
                TCP,
            ),
            6,
            by_pyroute2(
                KEY,
                destinations(
                    ("ADDR_FAMILY", AF_INET6),
                    ("ADDR", "fd00::2"),
                    ("PORT", 443),
                    ("FWD_METHOD", 2),
                    ("WEIGHT", 0),
                    ("U_THRESH", 0),
                    ("L_THRESH", 0),
                    ("TUN_TYPE", 1),
                    ("TUN_PORT", 0xC017),  # 6080 in the network's order
                    ("TUN_FLAGS", 0),
                ),
            ),
        ),
        (
            Step(Verb.DEL, Destination("10.2.1.2", 443, "dr"), TCP),
            7,
            by_pyroute2(
                KEY,
                destinations(("ADDR_FAMILY", AF_INET), ("ADDR", "10.2.1.2"), ("PORT", 443)),
            ),
        ),
    ],
    ids=["new", "set-v6", "new-mark", "del", "new-dest", "set-gue", "del-dest"],
)
def test_requests_are_what_pyroute2_encodes(step, command, expected):
    made, attributes = wire.request(step)

    assert made == command
    assert without_nest_bits(attributes) == without_nest_bits(expected)


def recorded(name):
    rows = (line.split() for line in (RECORDED / name).read_text().splitlines())
    return [(kind, bytes.fromhex(data)) for kind, data in rows]


def decoded():
    """Every service of the record by ipvsadm's name for it, with destinations and numbers."""
    decoder = ip_vs.Decoder()
    found = {}
    for kind, data in recorded("netlink.txt"):
        if kind == "S":
            (told,) = decoder.services([data])
            service = wire.service(told, ())
            rows = found[service.name] = []
            rows.append((service, wire.numbers(decoder.stats(told))))
        elif kind == "D":
            destinations = decoder.destinations([data], told.af)
            (destination,) = wire.service(told, destinations).destinations
            (each,) = destinations
            rows.append((destination, wire.numbers(decoder.stats(each)), each))
    return found


def read_service(data, *behind):
    """The service in one message, with the destinations in others."""
    decoder = ip_vs.Decoder()
    (told,) = decoder.services([data])
    return wire.service(told, decoder.destinations(behind, told.af))


def test_the_kernels_messages_are_what_was_restored():
    found = decoded()

    (web, _), *real = found["TCP 10.9.9.9:443"]
    assert web == TCP
    assert {row[0] for row in real} == {
        Destination("10.2.1.2", 443, "dr", 70000),
        Destination("10.2.2.2", 443, "tun", 1),
    }
    assert {row[0] for row in found["TCP 10.9.9.9:80"][1:]} == {
        Destination("10.2.1.2", 80, "nat", 3, 1000, 800),
        Destination("10.2.2.2", 8080, "nat", 0),
    }
    assert found["UDP 10.9.9.9:53"][0][0] == Service("udp", "10.9.9.9", 53, "rr", flags=4)
    assert found["UDP 10.9.9.9:5060"][0][0] == Service(
        "udp", "10.9.9.9", 5060, "rr", flags=4, persistent_s=60, engine="sip"
    )
    assert found["SCTP 10.9.9.9:36"][0][0].scheduler == "lc"
    (six, _), *mixed = found["TCP [fd00::9]:80"]
    assert six == Service("tcp", "fd00::9", 80, "wrr", 6, persistent_s=60, netmask="64")
    assert {row[0].address for row in mixed} == {"fd00::2", "10.0.0.77"}
    assert found["FWM 7"][0][0] == Service("fwmark", "", 7, "sh", flags=0x18)
    assert {row[0] for row in found["FWM 7"][1:]} == {
        Destination("10.2.2.2", 0, "tun", 2, tunnel="gue", tunnel_port=6080, tunnel_flags=1),
        Destination("10.2.2.3", 0, "tun", 2, tunnel="gre", tunnel_flags=1),
    }
    assert found["FWM 7 IPv6"][0][0] == Service("fwmark", "", 7, "mh", 6, flags=0x10)
    assert found["TCP 10.9.9.9:0"][0][0].persistent_s == 100
    assert len(found) == 10


def test_the_numbers_are_those_of_ipvsadm():
    """Against `ipvsadm -Ln --stats --exact` and `--thresholds`, taken at the same time."""
    shown = [line.split() for line in (RECORDED / "stats.txt").read_text().splitlines()]
    stats = {row[1]: tuple(map(int, row[-5:])) for row in shown[3:6]}
    open_ = {
        row[1]: tuple(map(int, row[-2:]))
        for row in map(str.split, (RECORDED / "thresholds.txt").read_text().splitlines())
        if row[0] == "->" and row[-1].isdecimal()
    }
    (_, whole), *real = decoded()["TCP 198.18.0.100:80"]

    assert stats["198.18.0.100:80"][0] == 3
    for name, numbers in [("198.18.0.100:80", whole), *((r[0].name, r[1]) for r in real)]:
        counted = (
            numbers.connections,
            numbers.packets_in,
            numbers.packets_out,
            numbers.bytes_in,
            numbers.bytes_out,
        )
        assert counted == stats[name]
    for destination, _, told in real:
        assert (told.active_conns, told.inact_conns) == open_[destination.name]


def read_daemons(messages):
    return list(map(wire.daemon, ip_vs.Decoder().daemons(list(messages))))


def test_timeouts_and_daemons_are_those_of_ipvsadm():
    decoder = ip_vs.Decoder()
    (config,) = (data for kind, data in recorded("netlink.txt") if kind == "C")
    daemons = read_daemons(data for _, data in recorded("daemons.txt"))

    assert wire.timeouts(decoder.config(config)) == Timeouts(900, 120, 300)
    assert daemons == [
        SyncDaemon("master", "lo", 3, 1472, "224.0.0.81", 8848, 5),
        SyncDaemon("backup", "lo", 4, 1024, "ff02::81", 9000, 1),
    ]


def test_a_daemon_and_timeouts_are_the_attributes_of_the_kernels_header():
    daemon = SyncDaemon("backup", "eth0", 4, 1024, "ff02::81", 9000, 2)

    command, attributes = wire.request(Step(Verb.NEW, daemon))
    assert command == 9
    assert read_daemons([attributes]) == [daemon]
    assert wire.request(Step(Verb.DEL, daemon))[0] == 10
    assert wire.request(Step(Verb.SET, Timeouts(1, 2, 3))) == (
        12,
        struct.pack("=HHIHHIHHI", 8, 4, 1, 8, 5, 2, 8, 6, 3),
    )


def test_messages_of_one_length_and_another_layout_are_not_mixed_up():
    """A layout that is remembered must not be put on what only begins like it."""
    decoder = ip_vs.Decoder()
    head = struct.pack("=HHHxx", 6, 11, AF_INET)
    one = struct.pack("=HH4sHHHxx", 8, 1, bytes((10, 0, 0, 1)), 6, 2, 0x5000)
    rest = b"".join(struct.pack("=HHI", 8, kind, 3) for kind in (3, 4, 5, 6))
    other = struct.pack("=HHHxxHH4s", 6, 2, 0x5000, 8, 1, bytes((10, 0, 0, 1)))

    for middle in (one, other, one):
        data = head + middle + rest
        (found,) = decoder.destinations([struct.pack("=HH", len(data) + 4, 2) + data], AF_INET)
        assert (wire.destination_key(found), found.weight) == (("10.0.0.1", 80), 3)


def test_what_the_kernel_keeps_without_a_meaning_makes_no_difference():
    """A mask without persistence, a tunnel's type without a tunnel: ipvsadm shows neither."""
    service = by_pyroute2(
        KEY
        + services(
            ("SCHED_NAME", "rr"),
            ("FLAGS", {"flags": 2, "mask": 0xFFFFFFFF}),
            ("TIMEOUT", 300),
            ("NETMASK", "255.255.255.0"),
        )
    )
    both = by_pyroute2(
        KEY,
        destinations(
            ("ADDR", "10.2.1.2"),
            ("PORT", 443),
            ("FWD_METHOD", 3),
            ("WEIGHT", 1),
            ("U_THRESH", 0),
            ("L_THRESH", 0),
            ("ADDR_FAMILY", AF_INET),
            ("TUN_TYPE", 1),
            ("TUN_PORT", 0xC017),
            ("TUN_FLAGS", 1),
        ),
    )
    destination = both[len(by_pyroute2(KEY)) :]

    assert read_service(service, destination) == Service(
        "tcp", "10.9.9.9", 443, "rr", destinations=(Destination("10.2.1.2", 443, "dr"),)
    )


def test_the_wide_counters_are_read_where_there_are_both():
    names = ("CONNS", "INPKTS", "OUTPKTS", "INBYTES", "OUTBYTES", "CPS")
    names += ("INPPS", "OUTPPS", "INBPS", "OUTBPS")
    narrow, wide = (
        {"attrs": [(f"IPVS_STATS_ATTR_{name}", base + n) for n, name in enumerate(names)]}
        for base in (0, 2**40)
    )
    known = (("SCHED_NAME", "rr"), ("FLAGS", {"flags": 2, "mask": 0}), ("NETMASK", "255.0.0.0"))
    known += (("TIMEOUT", 0), ("STATS", narrow))
    message = by_pyroute2(KEY + services(*known, ("STATS64", wide)))
    old = by_pyroute2(KEY + services(*known))

    decoder = ip_vs.Decoder()
    new, narrow_only = map(decoder.stats, decoder.services([message, old]))
    counted = wire.numbers(new)
    assert (counted.connections, counted.bytes_out_per_s) == (2**40, 2**40 + 9)
    counted = wire.numbers(narrow_only)
    assert (counted.connections, counted.bytes_out_per_s) == (0, 9)
