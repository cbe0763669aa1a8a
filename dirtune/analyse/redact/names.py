"""Replace names of interfaces, disks and hosts, and all other private words.

A name is kept if the kernel or systemd derives it from a number (eth0, enp16s0f1, sda1), because
many machines have the same name. A name that is replaced always gets the same replacement.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

_MOST_BYTES = 15  # dev_valid_name()
_VLAN_BYTES = 5  # .4094
# An audit reads the beginnings of these names: tunnels, and interfaces that only hold addresses.
_TUNNELS = "tunl|ip6tnl|ip6gretap|ip6gre|gretap|gre|fou|gue|ipip|dummy|kube-ipvs"
_NUMBERED = (
    "p?eth|wlan|fddi|ib|em|wwan|hsn|ra|ath|lan|wan|tr|rename|net|bond|br|erspan|sit|ip_vti|ip6_vti"
    "|tun|tap|team|vnet|virbr|lxcbr|lxdbr|ppp|wg|vxlan|geneve|vlan|ifb|teql|nlmon|veth|docker|cni"
    f"|virtio|macvlan|ipvlan|macvtap|can|usb|swp|flannel|vmbr|vif|{_TUNNELS}"
)
# systemd.net-naming-scheme(7), without names that contain a MAC address or a freely chosen word.
_SCHEME = (
    r"(?:en|wl|ww|ib|sl)(?:P\d{1,5})?(?:p\d{1,3}s\d{1,3}|[sobvicd]\d{1,5})"
    r"(?:(?:np|pf|vf|f|n|d|v|r|u|i|c|s)\d{1,5}){0,5}"
)
_BEGINNING = rf"{_SCHEME}|p\d{{1,3}}p\d{{1,3}}(?:_\d{{1,3}})?|(?:{_NUMBERED})\d{{1,4}}"
_KEPT = re.compile(
    rf"{_BEGINNING}|lo|all|default|bonding_masters|kube-bridge|kube-dummy-if|nodelocaldns|cbr0"
    r"|flannel|flannel-v6|cilium_(?:host|net|vxlan)|lxc_health|vxlan(?:-v6)?\.calico|ovs-system"
    r"|docker_gwbridge|br-(?:int|tun|ex)"
)
_STARTS = re.compile(rf"(?P<start>{_BEGINNING}|{_TUNNELS})(?P<gap>[-_.]?)")
_BY_MAC = re.compile(r"(?P<kind>en|wl|ww)x(?P<mac>[0-9a-f]{12})")
_NUMBERS = re.compile(r"(?P<base>.*?)(?P<numbers>(?:[.:]\d{1,4}){0,2})", re.DOTALL)
_DISK = re.compile(
    r"(?:(?:sd|vd|xvd|hd|dasd)[a-z]{1,4}|nvme\d+(?:c\d+)?n\d+|mmcblk\d+(?:boot\d)?|(?:dm-|md|loop|sr"
    r"|ram|zram|nbd|rbd|drbd|bcache|fd|pmem|zd)\d+)(?:p?\d+)?"
)
_TOKEN = re.compile(r"[^\s,;\"'(){}<>=]+")

NOBODYS = frozenset({"", "localhost", "(none)", "localhost.localdomain"})
"""Host names that do not identify a host."""


class Names:
    """The replacements of names in one record."""

    def __init__(
        self,
        mac: Callable[[str], str],
        interfaces: Iterable[str],
        hosts: Iterable[str],
        kept: frozenset[str],
    ) -> None:
        """Assign replacements to *interfaces* and *hosts*.

        Words in *kept* are never private. *mac* replaces MAC addresses.
        """
        self._mac, self._kept = mac, kept
        self._hosts: dict[str, str] = {}
        self._words: dict[str, str] = {}
        self._disks: dict[str, str] = {}
        self._bases: dict[str, str] = {}
        self._known: dict[str, str] = {}
        """The replacements of private interfaces and hosts, which are replaced inside other words
        too."""
        for host in sorted({_host(name) for name in hosts} - NOBODYS):
            short = host.partition(".")[0]
            for name in dict.fromkeys((host, short)):
                stand_in = self._new(self._hosts, name, "host")
                if short not in kept and not short.isdecimal():
                    self._known[name] = stand_in
        for name in sorted({*interfaces} - {""}):
            # If a host and an interface have the same name, it is replaced as an interface.
            for spelling in (name, _base(name)):
                self._known.pop(spelling.lower(), None)
                stand_in = self.interface(spelling)
                if stand_in != spelling or _base(spelling) in self._bases:
                    self._known[spelling] = stand_in
        lengths: dict[str, set[int]] = {}
        for name in self._known:
            lengths.setdefault(name[0].lower(), set()).add(len(name))
        self._lengths = {first: sorted(sizes, reverse=True) for first, sizes in lengths.items()}
        """The lengths of the private names, by their first letter."""
        self.within = lru_cache(1 << 16)(self._within)

    def interface(self, name: str) -> str:
        """Return the replacement of an interface's name; the result is a valid interface name."""
        if not name:
            return name
        head, colon, label = name.partition(":")
        if colon and not label.isdecimal():
            return f"{self.interface(head)}:{self.word(label)}"
        base = _base(name)
        if self.interface_kept(base) or _KEPT.fullmatch(name) or base.lower() in self._kept:
            return name
        if base not in self._bases:
            self._bases[base] = self._new_interface(base)
        return self._bases[base] + name[len(base) :]

    def interface_kept(self, name: str) -> bool:
        """Whether the name of an interface is kept, because many machines have such a name."""
        short = len(name) == 1 and name.isalnum()
        return bool(_KEPT.fullmatch(name)) or short or name.isdecimal()

    def disk(self, name: str) -> str:
        """Return the replacement of the name of a disk."""
        return self.common_disk(name) or self._new(self._disks, name, "disk")

    def common_disk(self, name: str) -> str | None:
        """Return *name* if many machines have a disk with this name, else None."""
        return name if _DISK.fullmatch(name) else None

    def word(self, word: str) -> str:
        """Return the replacement of a word that may mean anything."""
        if not word:
            return word
        return self._hosts.get(_host(word)) or self._new(self._words, word, "word")

    def host(self, text: str) -> str:
        """Return *text* with the name of the recorded host replaced."""
        name = text.strip()
        return text if name in NOBODYS else text.replace(name, self.word(name))

    def has(self, name: str) -> bool:
        """Whether *name* is also replaced inside other words."""
        return bool(self._spelling(name))

    def hidden(self, token: str) -> str:
        """Return *token* with a blank in place of every private name."""
        return "".join(" " if name else part for part, name in self._parts(token))

    def around(self, token: str, other: Callable[[str], str]) -> str:
        """Return *token* with private names replaced.

        *other* replaces the text between the names.
        """
        grouped = groupby(self._parts(token), key=itemgetter(1))
        return "".join(
            self._known[name] if name else other("".join(part for part, _ in parts))
            for name, parts in grouped
        )

    def text(self, text: str) -> str:
        """Return a text of the kernel with the names of interfaces and hosts replaced."""
        return _TOKEN.sub(lambda match: self.within(match[0]), text) if self._known else text

    def cut(self, name: str, most: int) -> str:
        """Return the *name* of a thread with private names replaced.

        The kernel has cut the name off at *most* bytes.
        """
        replaced = self.within(name)
        if replaced != name or len(name) < most:
            return replaced
        for start in [0, *(match.end() for match in re.finditer(r"[^A-Za-z0-9]", name))]:
            whole = [known for known in self._known if known.startswith(name[start:] or "\0")]
            if whole:
                return (name[:start] + self._known[min(whole)])[:most]
        return name

    def _within(self, token: str) -> str:
        return "".join(self._known[name] if name else part for part, name in self._parts(token))

    def _parts(self, token: str) -> Iterator[tuple[str, str]]:
        """Yield the parts of *token*, each with the private name that it matches, or with ""."""
        place = 0
        while place < len(token):
            end = self._known_end(token, place)
            yield token[place : end or place + 1], self._spelling(token[place:end]) if end else ""
            place = end or place + 1

    def _new(self, names: dict[str, str], name: str, kind: str) -> str:
        if name not in names:
            names[name] = f"{kind}{len(names) + 1}"
        return names[name]

    def _known_end(self, token: str, start: int) -> int:
        """Return where the longest private name that begins at *start* ends; 0 without one."""
        if start and token[start - 1].isalnum():
            return 0
        for length in self._lengths.get(token[start].lower(), ()):
            end = start + length
            whole = end <= len(token) and (end == len(token) or not token[end].isalnum())
            if whole and self._spelling(token[start:end]):
                return end
        return 0

    def _spelling(self, name: str) -> str:
        """Return the spelling of the private name *name*, or "" if *name* is not private.

        Upper and lower case do not matter for host names.
        """
        return next((known for known in (name, name.lower()) if known in self._known), "")

    def _new_interface(self, base: str) -> str:
        by_mac = _BY_MAC.fullmatch(base)
        if by_mac:
            return f"{by_mac['kind']}x{self._mac(by_mac['mac'])}"
        number = len(self._bases) + 1
        starts = _STARTS.match(base)
        name = f"{starts['start']}{starts['gap']}z{number}" if starts else f"n{number}"
        room = _MOST_BYTES if len(base) > _MOST_BYTES - _VLAN_BYTES else _MOST_BYTES - _VLAN_BYTES
        return name if len(name) <= room else f"n{number}"


def _base(name: str) -> str:
    """Return the name of the interface to which a VLAN or an alias belongs."""
    match = _NUMBERS.fullmatch(name)
    return match["base"] if match and match["base"] else name


def _host(name: str) -> str:
    return name.strip().lower().rstrip(".")
