"""Taking addresses and names out of a record so that an audit of it still says the same.

Every address gets a stand-in, the same each time, that shares as many leading bits with another's
stand-in as the two addresses share: networks, masks and routes go on fitting. Which bits are
flipped hangs on a key that is thrown away. What is no host's secret stays: unspecified, loopback
and multicast addresses, netmasks, and the leading bits that say private, link-local or global.
"""

import hashlib
import ipaddress
import re
import sys
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import lru_cache

_CMDLINE = "/proc/cmdline"
_HOSTNAME = "/proc/sys/kernel/hostname"
# Versions look like addresses.
_LEFT_ALONE = frozenset({"/proc/sys/kernel/osrelease", "/proc/sys/kernel/version"})
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)")
# `addr:fd00::5`: a word that is no group of an address may stand before one.
_LABEL = r"(?:(?P<label>(?<![\w:.-])(?=[\w.-]*[G-Zg-z_])[\w.-]+:)|(?<![\w:.]))"
_IPV6 = re.compile(_LABEL + r"(?P<rest>[0-9A-Fa-f:]*:[0-9A-Fa-f]*:[0-9A-Fa-f:]*)(?![\w:])")
_MAC = re.compile(_LABEL + r"(?P<rest>(?:[0-9A-Fa-f]{2}:){5,}[0-9A-Fa-f]{2})(?![\w:])")
# `BOOTIF=01-52-54-00-12-34-56`: pxelinux puts the kind of hardware before it.
_DASHED_MAC = re.compile(
    r"(?<![\w-])(?P<kind>01-)?(?P<mac>(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2})(?![\w-])"
)
# Names of iSCSI and NVMe: a domain, and what its owner calls the machine.
_QUALIFIED = re.compile(r"\b(?P<kind>iqn|nqn)\.\d{4}-\d{2}\.[\w.:-]+")
# Where a boot option, a mount or the kernel's log names another host. Only there are such names
# replaced, unless they have a domain: a server may be called `nfs`, as its file system is.
_NAMING = (_CMDLINE, "/proc/self/mountinfo", "/cmd/dmesg")
_NAMED = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"(?:\bnfsroot=|\bnfs4?:)(?P<name>[A-Za-z][\w.-]*):",
        r"(?:^|\s)(?:root|netroot)=(?P<name>[A-Za-z][\w.-]*):/",
        r" - \S+ (?:[^\s@/]*@)?(?P<name>[A-Za-z][\w.,:-]*):/",
        r"(?<![\w/:])//(?:[^/@\s]*@)?(?P<name>[A-Za-z][\w.-]*)(?=[/:])",
        r"\w://(?:[^/@\s]*@)?(?P<name>[A-Za-z][\w.-]*)",
        r"\\\\(?P<name>[A-Za-z][\w.-]*)(?=\\)",
        r"\bserver (?P<name>[A-Za-z][\w.-]*)(?= (?:not responding|OK|is not))",
    )
)
# Where the boot options give this host a name.
_OWN = re.compile(
    r"(?:(?:^|\s)ip=(?:(?:\[[^\]\s]*\]|[^:\s\[]*):){4}|\bhostname=)(?P<name>[A-Za-z][\w.-]*)"
)
_HOST = re.compile(r"(?<![\w.-])[A-Za-z][\w.-]*")
_NOBODYS = frozenset({"localhost", "dhcp", "nfs", "nfs4", "http", "https", "ftp", "tftp"})
_NAMED_BY_MAC = re.compile(r"(?<![A-Za-z0-9])(?P<kind>en|wl)x(?P<mac>[0-9a-f]{12})(?![0-9a-f])")
_IP_VS = re.compile(r"\b[0-9A-F]{8}(?=:[0-9A-F]{4}\b)")
_ROUTE = re.compile(
    r"^(?P<name>\S+\s+)(?P<to>[0-9A-F]{8})(?P<gap>\s+)(?P<via>[0-9A-F]{8})", re.MULTILINE
)
_ROUTE_MASK = re.compile(
    r"^\S+\s+(?P<to>[0-9A-F]{8})\s+[0-9A-F]{8}(?:\s+\d+){4}\s+(?P<mask>[0-9A-F]{8})", re.MULTILINE
)
_CIDR = re.compile(r"(?<![\w.])(?P<address>(?:\d{1,3}\.){3}\d{1,3})/(?P<bits>\d{1,2})(?!\d)")
_LEAF = re.compile(r"\|-- (?P<address>[\d.]+)\s*\n(?P<rows>(?:\s+/\d+ .*\n?)+)")
_IF_INET6 = re.compile(r"^[0-9a-f]{32}", re.MULTILINE)
_KEPT_V4 = tuple(
    ipaddress.IPv4Network(each) for each in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3")
)
_KEPT_V6 = tuple(ipaddress.IPv6Network(each) for each in ("::/96", "ff00::/8"))
# Their leading bits are never flipped, so that nothing else lands among them.
_MARKED_V4 = (
    *_KEPT_V4,
    *(
        ipaddress.IPv4Network(each)
        for each in (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
            *("169.254.0.0/16", "198.18.0.0/15"),
        )
    ),
)
_MARKED_V6 = (
    *_KEPT_V6,
    *(ipaddress.IPv6Network(each) for each in ("2000::/3", "fc00::/7", "fe80::/10")),
)
_BITS_V6 = 128


def _leading(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    bits = f"{int(network.network_address):0{network.max_prefixlen}b}"
    return bits[: network.prefixlen]


_LEADING_V4 = tuple(map(_leading, _MARKED_V4))
_LEADING_V6 = tuple(map(_leading, _MARKED_V6))


class Redactor:
    """Stand-ins for one record: the same thing always gets the same one."""

    def __init__(
        self,
        key: bytes,
        names: Iterable[str],
        networks: frozenset[ipaddress.IPv4Network] = frozenset(),
        others: Iterable[str] = (),
    ) -> None:
        """Take out *names*, a host's with and without its domain, the longest first.

        *others* are names of other hosts; those with a domain are taken out everywhere.
        The first address of each of *networks* stays the first.
        """
        firsts = ((f"{int(n.network_address):032b}", n.prefixlen) for n in networks)
        self._tails = {first[:end] for first, length in firsts for end in range(length, 32)}
        whole = {name.strip() for name in names} - {"", "localhost", "(none)"}
        parts = whole | {n.partition(".")[0] for n in whole} | {n.partition(".")[2] for n in whole}
        dotted = {name.lower() for name in others if "." in name}
        parts |= dotted | {d for name in dotted if "." in (d := name.partition(".")[2])}
        known = sorted(parts - {"", "local", "localdomain"}, key=lambda n: (-len(n), n))
        self._names = {name.lower(): f"host{number}" for number, name in enumerate(known, 1)}
        rows = "|".join(map(re.escape, known))
        self._others: dict[str, str] = {}
        """Of other hosts without a domain, only where they are named as one."""
        self._name = re.compile(rf"(?<![A-Za-z0-9])(?:{rows})(?![A-Za-z0-9])", re.IGNORECASE)
        self._macs: dict[str, int] = {}
        self._qualified: dict[str, int] = {}
        self._flips = lru_cache(maxsize=None)(
            lambda prefix: hashlib.blake2b(prefix.encode(), key=key).digest()[0] & 1
        )

    def path(self, path: str) -> str:
        """Return a path, or the target of a link, whose interfaces may be named by MAC."""
        return _NAMED_BY_MAC.sub(self._interface, path)

    def text(self, path: str, text: str) -> str:
        """Return the text of the file *path*."""
        if path in _LEFT_ALONE:
            return text
        match path:
            case "/proc/net/ip_vs":
                text = _IP_VS.sub(lambda m: f"{self._v4(int(m[0], 16)):08X}", text)
            case "/proc/net/route":
                text = _ROUTE.sub(self._route, text)
            case "/proc/net/if_inet6":
                return _IF_INET6.sub(lambda m: f"{self._v6(int(m[0], 16)):032x}", text)
        text = self.path(_DASHED_MAC.sub(self._dashed, _MAC.sub(self._mac, text)))
        text = _QUALIFIED.sub(self._qualified_name, text)
        for pattern in _NAMED if path in _NAMING else ():
            text = pattern.sub(self._host, text)
        text = _IPV6.sub(self._ipv6, _IPV4.sub(self._ipv4, text))
        return self._name.sub(lambda m: self._names[m[0].lower()], text) if self._names else text

    def _ipv4(self, found: re.Match[str]) -> str:
        try:
            return str(ipaddress.IPv4Address(self._v4(int(ipaddress.IPv4Address(found[0])))))
        except ValueError:
            return found[0]

    def _ipv6(self, found: re.Match[str]) -> str:
        try:
            number = self._v6(int(ipaddress.IPv6Address(found["rest"])))
            return f"{found['label'] or ''}{ipaddress.IPv6Address(number)}"
        except ValueError:  # a time, a PCI address
            return found[0]

    def _route(self, found: re.Match[str]) -> str:
        to, via = (self._little(found[name]) for name in ("to", "via"))
        return f"{found['name']}{to}{found['gap']}{via}"

    def _little(self, text: str) -> str:
        """Return an address as /proc/net/route has it, in the machine's order of bytes."""
        number = int.from_bytes(int(text, 16).to_bytes(4, sys.byteorder), "big")
        return f"{int.from_bytes(self._v4(number).to_bytes(4, 'big'), sys.byteorder):08X}"

    def _host(self, found: re.Match[str]) -> str:
        start, end = (place - found.start() for place in found.span("name"))
        named = _HOST.sub(self._stand_in, found["name"])
        return f"{found[0][:start]}{named}{found[0][end:]}"

    def _stand_in(self, found: re.Match[str]) -> str:
        name = found[0].lower()
        if name in self._names.values() or name in _NOBODYS:
            return found[0]
        return self._names.get(name) or self._others.setdefault(
            name, f"other{len(self._others) + 1}"
        )

    def _qualified_name(self, found: re.Match[str]) -> str:
        number = self._qualified.setdefault(found[0], len(self._qualified) + 1)
        return f"{found['kind']}.2000-01.invalid:{number}"

    def _dashed(self, found: re.Match[str]) -> str:
        number = self._number(found["mac"].lower().replace("-", ""))
        return f"{found['kind'] or ''}{_local(number, 6).hex('-')}"

    def _mac(self, found: re.Match[str]) -> str:
        groups = found["rest"].lower().split(":")
        if set(groups) <= {"00"} or set(groups) <= {"ff"}:
            return found[0]
        number = self._number("".join(groups))
        return f"{found['label'] or ''}{_local(number, len(groups)).hex(':')}"

    def _interface(self, found: re.Match[str]) -> str:
        return f"{found['kind']}x{_local(self._number(found['mac']), 6).hex()}"

    def _number(self, mac: str) -> int:
        return self._macs.setdefault(mac, len(self._macs) + 1)

    def _v4(self, number: int) -> int:
        address = ipaddress.IPv4Address(number)
        if any(address in network for network in _KEPT_V4):
            return number
        return self._flipped(f"{number:032b}", _LEADING_V4, self._tails)

    def _v6(self, number: int) -> int:
        address = ipaddress.IPv6Address(number)
        if any(address in network for network in _KEPT_V6):
            return number
        return self._flipped(f"{number:0{_BITS_V6}b}", _LEADING_V6, frozenset())

    def _flipped(self, bits: str, marked: tuple[str, ...], tails: AbstractSet[str]) -> int:
        """Flip each bit or not by what stands before it, which keeps common prefixes common."""
        found = 0
        for place, bit in enumerate(bits):
            before = bits[:place]
            fixed = before in tails or any(
                len(mark) > place and mark.startswith(before) for mark in marked
            )
            found = found << 1 | (int(bit) ^ (0 if fixed else self._flips(f"{len(bits)}{before}")))
        return found


def hostnames(texts: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the names hosts give themselves in (path, text) of their files."""
    found = []
    for path, text in texts:
        if path == _HOSTNAME:
            found.append(text.strip())
        elif path == _CMDLINE:
            found += [each["name"] for each in _OWN.finditer(text)]
    return tuple(found)


def other_hosts(texts: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Return the names of other hosts in (path, text) of the files that name some."""
    return frozenset(
        name
        for path, text in texts
        if path in _NAMING
        for pattern in _NAMED
        for found in pattern.finditer(text)
        for name in _HOST.findall(found["name"])
    )


def networks(texts: Iterable[tuple[str, str]]) -> frozenset[ipaddress.IPv4Network]:
    """Return the IPv4 networks that (path, text) of files name with their lengths."""
    found: set[ipaddress.IPv4Network] = set()
    for path, text in texts:
        rows = [(m["address"], m["bits"]) for m in _CIDR.finditer(text)]
        if path == "/proc/net/route":
            rows += [(_dotted(m["to"]), _dotted(m["mask"])) for m in _ROUTE_MASK.finditer(text)]
        elif path == "/proc/net/fib_trie":
            rows += [
                (m["address"], bits)
                for m in _LEAF.finditer(text)
                for bits in re.findall(r"/(\d+) ", m["rows"])
            ]
        for row in rows:
            with suppress(ValueError):  # an address within a network, a version
                found.add(ipaddress.IPv4Network(row))
    return frozenset(found)


def _dotted(text: str) -> str:
    """Return an address of /proc/net/route as people write it."""
    return str(ipaddress.IPv4Address(int(text, 16).to_bytes(4, sys.byteorder)))


def _local(number: int, length: int) -> bytes:
    """Return a locally administered address of *length* bytes."""
    return b"\x02" + number.to_bytes(length - 1, "big")
