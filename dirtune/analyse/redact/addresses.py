"""Replace IP and MAC addresses, so that an audit still has the same results.

If two IP addresses share n leading bits, their replacements share n leading bits as well, so
networks, netmasks and routes still fit. A key, which is deleted afterwards, decides which bits are
flipped. Addresses that identify no host are kept: unspecified, loopback and multicast addresses,
and netmasks. The leading bits that mark an address as private, link-local or global are kept too.
"""

import hashlib
import ipaddress
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache

from dirtune.collect.addresses import SOURCE as _FIB_TRIE
from dirtune.collect.routes import SOURCE as _ROUTE

# A prefix as (length, leading bits).
_Prefix = tuple[int, int]

# Matches a run of characters of one class, so that any text is searched in linear time.
RUN = re.compile(r"(?<![0-9A-Za-z_])[0-9A-Fa-f:.]{3,}(?:%[^\s,;)\]/]{1,15})?(?![0-9A-Za-z_])")
_LONGEST = 45  # ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255
_DOTTED = re.compile(r"(?<![\w.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\w|\.\d)")
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(?:\1[0-9A-Fa-f]{2}){4,31}")
_DASHED = re.compile(r"(?<![\w-])(?:[0-9A-Fa-f]{2}-){5,31}[0-9A-Fa-f]{2}(?![\w-])")
_EDGES = re.compile(r"((?:(?<!:):(?!:))?)((?:::)?[0-9A-Fa-f].*?)([:.]{0,2})")
_MAC_DIGITS = 12
_CISCO = re.compile(r"[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}")
_CIDR = re.compile(r"(?<![\w.])(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})/(\d{1,2})(?!\d)")
_LEAF = re.compile(r"\|-- (?P<address>[\d.]{7,15})\s*\n(?P<rows>(?:[ \t]+/\d+ .*\n?)+)")
_ROUTE_MASK = re.compile(
    r"^\S+\s+(?P<to>[0-9A-F]{8})\s+[0-9A-F]{8}(?:\s+\d+){4}\s+(?P<mask>[0-9A-F]{8})", re.MULTILINE
)
_KEPT_V4 = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3")
_KEPT_V6 = ("::/112", "ff00::/8")
# Leading bits of these networks are never flipped, so no other address moves into them.
_MARKED_V4 = (
    *_KEPT_V4,
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
    *("169.254.0.0/16", "198.18.0.0/15"),
)
_MARKED_V6 = (
    *_KEPT_V6,
    "::/96",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "2000::/3",
    "fc00::/7",
    "fe80::/64",
    "fe80::/10",
)
_EMBEDDING = tuple(map(ipaddress.IPv6Network, ("::/96", "::ffff:0:0/96", "64:ff9b::/96")))
"""IPv6 networks whose addresses contain an IPv4 address in the last 32 bits."""
_BITS_V4, _BITS_V6 = 32, 128
_MOST_NETWORKS = 1 << 16  # a hostile record may name more; no host has as many


class Addresses:
    """The replacements of addresses in one record; an address always gets the same replacement."""

    def __init__(
        self, key: bytes, networks: frozenset[ipaddress.IPv4Network] = frozenset()
    ) -> None:
        """Use *key* to decide which bits are flipped.

        The first address of each network in *networks* remains the first address of its network.
        """
        shortest = sorted(networks, key=lambda network: network.prefixlen)[:_MOST_NETWORKS]
        self._flip_v4 = _flipping(key, _BITS_V4, _MARKED_V4, shortest)
        self._flip_v6 = _flipping(key, _BITS_V6, _MARKED_V6)
        self._macs: dict[str, int] = {}

    def v4(self, number: int) -> int:
        """Return the replacement of the IPv4 address *number*."""
        address = ipaddress.IPv4Address(number)
        kept = any(address in network for network in _NETWORKS_V4)
        return number if kept else self._flip_v4(number)

    def v6(self, number: int) -> int:
        """Return the replacement of the IPv6 address *number*.

        If the address contains an IPv4 address, only this part is replaced.
        """
        address = ipaddress.IPv6Address(number)
        if any(address in network for network in _NETWORKS_V6):
            return number
        if any(address in network for network in _EMBEDDING):
            return number >> _BITS_V4 << _BITS_V4 | self.v4(number & (1 << _BITS_V4) - 1)
        return self._flip_v6(number)

    def little(self, text: str) -> str:
        """Return the replacement of an address in /proc/net/route, as 8 hexadecimal digits.

        Such an address is in the machine's byte order.
        """
        number = int.from_bytes(int(text, 16).to_bytes(4, sys.byteorder), "big")
        return f"{int.from_bytes(self.v4(number).to_bytes(4, 'big'), sys.byteorder):08X}"

    def text(self, text: str, zone: Callable[[str], str] = str) -> str:
        """Return *text* with IPv4, IPv6 and MAC addresses replaced.

        *zone* is a function that replaces the zone (interface) of an IPv6 address.
        """

        def replaced(found: re.Match[str]) -> str:
            run, percent, name = found[0].partition("%")
            return (self.in_run(run) or run) + percent + (zone(name) if name else "")

        return _DASHED.sub(lambda m: self.mac(m[0]), RUN.sub(replaced, text))

    def mac(self, text: str) -> str:
        """Return the replacement of a MAC address, spelt with the same separators."""
        digits = re.sub(r"[^0-9a-f]", "", text.lower())
        if set(digits) <= {"0"} or set(digits) <= {"f"}:
            return text
        if text.startswith("01-") and len(digits) == 2 + _MAC_DIGITS:
            return (
                f"01-{self.mac(text[3:])}"  # pxelinux puts the kind of hardware before the address
            )
        if len(digits) == 2 * _MAC_DIGITS + 4:  # an Ethernet header: receiver, sender, protocol
            return f"{self.mac(text[:17])}:{self.mac(text[18:35])}{text[35:]}"
        number = self._macs.setdefault(digits, len(self._macs) + 1)
        stand_in = iter(f"02{number:0{len(digits) - 2}x}")
        return "".join(next(stand_in) if letter.isalnum() else letter for letter in text)

    def in_run(self, run: str) -> str | None:
        """Return *run*, a word of address characters, with its address replaced.

        A port, a colon or a full stop may follow the address. The result is None if *run* contains
        no address.
        """
        edges = _EDGES.fullmatch(run)
        start, bare, end = edges.groups() if edges else ("", run, "")
        if _MAC.fullmatch(bare) or _CISCO.fullmatch(bare):
            return f"{start}{self.mac(bare)}{end}"
        for before, address, after in ((start, bare, end), ("", start + bare + end, "")):
            host, dot, port = address.partition(".")
            for cut, rest in ((address, ""), (host, dot + port)):
                if len(cut) <= _LONGEST and ":" in cut:
                    with suppress(ValueError):
                        number = self.v6(int(ipaddress.IPv6Address(cut)))
                        return f"{before}{ipaddress.IPv6Address(number)}{rest}{after}"
        return _DOTTED.sub(self._dotted, run) if _DOTTED.search(run) else None

    def _dotted(self, found: re.Match[str]) -> str:
        try:
            return str(ipaddress.IPv4Address(self.v4(int(ipaddress.IPv4Address(found[0])))))
        except ValueError:
            return found[0]


def networks(texts: Iterable[tuple[str, str]]) -> frozenset[ipaddress.IPv4Network]:
    """Return the IPv4 networks that *texts* name with a prefix length.

    *texts* are pairs (path, text).
    """
    named: set[ipaddress.IPv4Network] = set()
    for path, text in texts:
        rows = _CIDR.findall(text)
        if path == _ROUTE:
            rows += [(_dotted(m["to"]), _dotted(m["mask"])) for m in _ROUTE_MASK.finditer(text)]
        elif path == _FIB_TRIE:
            rows += [
                (leaf["address"], bits)
                for leaf in _LEAF.finditer(text)
                for bits in re.findall(r"/(\d+) ", leaf["rows"])
            ]
        for address, length in rows:
            with suppress(ValueError):  # the text is an address within a network, or a version
                named.add(ipaddress.IPv4Network(f"{address}/{length}"))
    return frozenset(named)


def _flipping(
    key: bytes, size: int, marked: Iterable[str], networks: Iterable[ipaddress.IPv4Network] = ()
) -> Callable[[int], int]:
    """Return a function that replaces an address by flipping some of its bits.

    *key* and the preceding bits of the address decide if a bit is flipped. *size* is the number of
    bits of an address. The leading bits of the networks in *marked* are never flipped.
    """
    fixed: set[_Prefix] = set()
    for mark in map(ipaddress.ip_network, marked):
        number = int(mark.network_address)
        fixed |= {(length, number >> size - length) for length in range(mark.prefixlen)}
    for network in networks:
        number = int(network.network_address)
        fixed |= {(length, number >> size - length) for length in range(network.prefixlen, size)}

    @lru_cache(1 << 16)
    def flips(length: int, before: int) -> bytes:
        """Return bits that decide which of the next eight bits of an address are flipped.

        *before* is the number that the first *length* bits of the address form.
        """
        return hashlib.blake2b(f"{size} {length} {before}".encode(), key=key).digest()

    @lru_cache(1 << 16)
    def octet(length: int, before: int, value: int) -> int:
        tree, node, result = flips(length, before), 1, 0
        for place in range(8):
            bit = value >> 7 - place & 1
            flip = tree[node >> 3] >> (node & 7) & 1
            if (length + place, before << place | value >> 8 - place) in fixed:
                flip = 0
            result = result << 1 | bit ^ flip
            node = node << 1 | bit
        return result

    @lru_cache(1 << 16)
    def stand_in(number: int) -> int:
        octets = number.to_bytes(size // 8)
        return int.from_bytes(
            octet(8 * place, number >> size - 8 * place, value)
            for place, value in enumerate(octets)
        )

    return stand_in


def _dotted(text: str) -> str:
    """Return an address from /proc/net/route in dotted notation."""
    return str(ipaddress.IPv4Address(int(text, 16).to_bytes(4, sys.byteorder)))


_NETWORKS_V4 = tuple(map(ipaddress.IPv4Network, _KEPT_V4))
_NETWORKS_V6 = tuple(map(ipaddress.IPv6Network, _KEPT_V6))
