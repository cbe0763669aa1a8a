"""Interfaces from `ip -s -d link` and ethtool(8), as files of /sys/class/net.

Format of `ip -s -d link`: a row `2: eth0: <FLAGS> mtu 1500 qdisc mq state UP ...`, a row with
`link/ether ... promiscuity 0`, and rows of numbers below `RX:` and `TX:`. `-d` also prints the
number of allocated queues, which may be more than the driver uses, so it is not read.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

from dirtune.collect.commands import ETHTOOL_TEXTS
from dirtune.host import Host
from dirtune.sosreport.outputs import mangled, output, per_interface

_CLASS = "/sys/class/net"
_HEAD = re.compile(
    r"(?P<index>\d{1,9}): (?P<name>[^\s:@][^\s@]{0,14})(?:@\S+)?: <(?P<flags>[A-Z0-9_,-]*)> "
    r"mtu (?P<mtu>\d{1,9})(?P<rest>.*)"
)
# The addresses of interfaces come with the same rows, but without counters.
_LISTINGS = ("ip_-s_-d_link", "ip_-d_-s_link", "ip_-s_link", "ip_link", "ip_-d_address", "ip_addr")
_TYPES = {"ether": 1, "loopback": 772, "ipip": 768, "sit": 776, "gre": 778, "tunnel6": 769}
"""Numbers of include/uapi/linux/if_arp.h by the names that ip(8) prints after `link/`."""
_FLAGS = {"UP": 0x1, "BROADCAST": 0x2, "LOOPBACK": 0x8, "POINTOPOINT": 0x10, "NOARP": 0x80} | {
    "PROMISC": 0x100,
    "ALLMULTI": 0x200,
    "MULTICAST": 0x1000,
}
_COUNTERS = {
    "RX:": {"bytes": "rx_bytes", "packets": "rx_packets", "errors": "rx_errors"}
    | {"dropped": "rx_dropped", "missed": "rx_missed_errors"},
    "TX:": {"bytes": "tx_bytes", "packets": "tx_packets", "errors": "tx_errors"},
}
_SPEED = re.compile(r"^\s*Speed: (\d{1,9})Mb/s", re.MULTILINE)
_DUPLEX = re.compile(r"^\s*Duplex: (\w+)", re.MULTILINE)
_BUS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_DRIVER = re.compile(r"^(driver|bus-info): ([\w:.-]{1,64})\s*$", re.MULTILINE)
_DEVICE = re.compile(r"^P: (/devices/\S{1,512}/net/([^/\s]{1,15}))$", re.MULTILINE)
_OPTIONS = re.findall(r"\[(\w+)\]", ETHTOOL_TEXTS)[0]


def translated(host: Host) -> Iterator[tuple[str, str]]:
    """Yield path and text of the files in /sys/class/net, and the outputs of ethtool."""
    names = []
    for name, rows in _blocks(output(host, *_LISTINGS) or ""):
        names.append(name)
        yield from _files(name, rows)
    known = {mangled(name): name for name in names if name != "lo"}
    for option in _OPTIONS:
        for short, text in per_interface(host, f"-{option}").items():
            if short != "lo":
                yield (
                    ETHTOOL_TEXTS.replace(
                        f"[{_OPTIONS}]/*", f"{option}/{known.get(short, short)}"
                    ),
                    text,
                )
    for short, name in known.items():
        text = output(host, f"ethtool_{short}") or ""
        for pattern, file in ((_SPEED, "speed"), (_DUPLEX, "duplex")):
            match = pattern.search(text)
            if match:
                yield f"{_CLASS}/{name}/{file}", match[1].lower()


def links(host: Host) -> Iterator[tuple[str, str]]:
    """Yield path and target of the links in /sys/class/net: the device, its driver, its master."""
    places = {match[2]: match[1] for match in _DEVICE.finditer(_udev(host))}
    facts = {
        short: dict(_DRIVER.findall(text)) for short, text in per_interface(host, "-i").items()
    }
    for name, rows in _blocks(output(host, *_LISTINGS) or ""):
        of = facts.get(mangled(name), {})
        bus = _BUS.fullmatch(of.get("bus-info", ""))
        place = places.get(name) or _place(name, bus[0] if bus else None, of)
        if place:
            yield f"{_CLASS}/{name}", f"../..{place}"
        if of.get("driver") and bus:
            yield f"{_CLASS}/{name}/device/driver", f"../../../bus/pci/drivers/{of['driver']}"
        master = re.search(r" master ([^\s/]{1,15})", rows[0])
        if master:
            yield f"{_CLASS}/{name}/master", f"../{master[1]}"


def _udev(host: Host) -> str:
    return output(host, "udevadm_info_--export-db") or ""


def _place(name: str, bus: str | None, facts: Mapping[str, str]) -> str | None:
    """Return the path of an interface's device below /sys; None if it is unknown."""
    if bus:
        return f"/devices/pci{bus.rsplit(':', 1)[0]}/{bus}/net/{name}"
    return f"/devices/virtual/net/{name}" if name == "lo" or facts.get("driver") else None


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the name and the rows of each interface."""
    name, rows = "", list[str]()
    for row in text.splitlines():
        head = _HEAD.fullmatch(row)
        if head:
            if name:
                yield name, rows
            name, rows = head["name"], []
        rows.append(row)
    if name and "/" not in name:
        yield name, rows


def _files(name: str, rows: list[str]) -> Iterator[tuple[str, str]]:
    at = f"{_CLASS}/{name}"
    head = _HEAD.fullmatch(rows[0])
    assert head is not None  # _blocks found the row by this pattern
    yield f"{at}/ifindex", head["index"]
    yield f"{at}/mtu", head["mtu"]
    state = re.search(r" state ([A-Z]+)", head["rest"])
    if state:
        yield f"{at}/operstate", state[1].lower()
    detail = rows[1] if len(rows) > 1 else ""
    kind = re.match(r"\s+link/(\w+)", detail)
    if kind and kind[1] in _TYPES:
        yield f"{at}/type", str(_TYPES[kind[1]])
    promiscuous = re.search(r" promiscuity (\d+)", detail)
    flags = sum(_FLAGS.get(flag, 0) for flag in head["flags"].split(","))
    # The flag PROMISC that ip(8) prints is the one set by hand; sockets and bridges also count.
    flags |= 0x100 if promiscuous and promiscuous[1] != "0" else 0
    yield f"{at}/flags", hex(flags)
    for title, numbers in pairwise(rows):
        words = title.split()
        if words and words[0] in _COUNTERS and "errors:" not in title:
            values = dict(zip(words[1:], numbers.split(), strict=False))
            for column, counter in _COUNTERS[words[0]].items():
                if values.get(column, "").isdecimal():
                    yield f"{at}/statistics/{counter}", values[column]
