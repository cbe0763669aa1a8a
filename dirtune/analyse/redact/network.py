"""Redact the texts that list interfaces, addresses, routes and IPVS services."""

import ipaddress
import json
import re

from dirtune.analyse.redact import vocabulary
from dirtune.analyse.redact.replacements import Replacements

_HEX_ADDRESS = re.compile(r"\b[0-9A-F]{8}(?=:[0-9A-F]{4}\b)")
_ROUTE = re.compile(r"(?m)^(\S+)(\s+)([0-9A-F]{8})(\s+)([0-9A-F]{8})(?=\s)")
_INET6 = re.compile(r"(?m)^([0-9a-f]{32})(.*?)(\S+)[ \t]*$")
_DEV = re.compile(r"(?<=\bdev )\S+")
_OBJECT_KEYS = frozenset({"protocol", "forward", "scheduler", "state"})


def ip_addr(replace: Replacements, text: str) -> str:
    """Redact the output of `ip -o addr`: interfaces, their peers, addresses and labels."""

    def interface(name: str) -> str:
        own, at, peer = name.partition("@")
        peer = peer if re.fullmatch(r"if\d+|NONE|", peer) else replace.names.interface(peer)
        return replace.names.interface(own) + at + peer

    def word(match: re.Match[str]) -> str:
        bare = match[0].rstrip("\\")
        replaced = replace.addresses.text(bare, replace.names.interface)
        known = bare.lower() in vocabulary.RULES or re.fullmatch(r"\d+(?:sec)?:?", bare)
        if replaced == bare and not known and not _has_address(bare):
            replaced = interface(bare)
        return replaced + match[0][len(bare) :]

    def row(text: str) -> str:
        number, name, *rest = re.split(r"(?<=\s)(?=\S)", text, maxsplit=2)
        bare = name.rstrip()
        return number + interface(bare) + name[len(bare) :] + re.sub(r"\S+", word, "".join(rest))

    rows = text.splitlines(keepends=True)
    return "".join(row(text) if len(text.split()) > 1 else "\n" for text in rows)


def _has_address(word: str) -> bool:
    try:
        ipaddress.ip_interface(word)
    except ValueError:
        return False
    return True


def ip_vs(replace: Replacements, text: str) -> str:
    """Redact /proc/net/ip_vs, where addresses are 8 hexadecimal digits, or IPv6 in brackets."""
    hidden = _HEX_ADDRESS.sub(lambda m: f"{replace.addresses.v4(int(m[0], 16)):08X}", text)
    return re.sub(r"(?<=\[)[^\]\n]+", lambda m: replace.addresses.text(m[0]), hidden)


def routes(replace: Replacements, text: str) -> str:
    """Redact /proc/net/route, where an address is 8 hexadecimal digits, the last byte first."""

    def row(match: re.Match[str]) -> str:
        to, via = (replace.addresses.little(match[at]) for at in (3, 5))
        return f"{replace.names.interface(match[1])}{match[2]}{to}{match[4]}{via}"

    return _ROUTE.sub(row, text)


def inet6(replace: Replacements, text: str) -> str:
    """Redact /proc/net/if_inet6, where an address is 32 hexadecimal digits."""

    def row(match: re.Match[str]) -> str:
        address = replace.addresses.v6(int(match[1], 16))
        return f"{address:032x}{match[2]}{replace.names.interface(match[3])}"

    return _INET6.sub(row, text)


def arp(replace: Replacements, text: str) -> str:
    """Redact /proc/net/arp; the last word of a row is the interface."""
    head, *rows = text.splitlines(keepends=True) or [""]
    return head + "".join(
        re.sub(
            r"\S+(?=\s*$)", lambda m: replace.names.interface(m[0]), replace.addresses.text(row)
        )
        for row in rows
    )


def net_dev(replace: Replacements, text: str) -> str:
    """Redact the interfaces in /proc/net/dev; the counters are kept."""

    def row(row: str) -> str:
        name, colon, rest = row.rpartition(":")
        bare = name.strip()
        return name.replace(bare, replace.names.interface(bare)) + colon + rest if bare else row

    rows = text.splitlines(keepends=True)
    return "".join((*rows[:2], *map(row, rows[2:])))


def bonds(replace: Replacements, text: str) -> str:
    """Redact the names of bonds in /sys/class/net/bonding_masters."""
    return re.sub(r"\S+", lambda match: replace.names.interface(match[0]), text)


def qdiscs(replace: Replacements, text: str) -> str:
    """Redact the interfaces in the output of `tc qdisc show`."""
    return _DEV.sub(lambda match: replace.names.interface(match[0]), text)


def ethtool(replace: Replacements, text: str) -> str:
    """Redact the names of the NICs in netlink's answers about them, which are JSON."""
    facts = _decoded(text)
    if not isinstance(facts, dict):
        return "-"
    return json.dumps({replace.names.interface(name): card for name, card in facts.items()})


def ipvs(replace: Replacements, text: str) -> str:
    """Redact netlink's answers about IPVS, which are JSON; only words of the kernel are kept."""
    return json.dumps(_object(replace, _decoded(text)))


_CONF_ADDRESSES = frozenset({"address", "first", "last", "addresses", "peers"})
_CONF_WORDS = frozenset(
    {
        *("kind", "method", "tunnel", "checksum", "protocol", "scheduler", "flags", "state"),
        *("persistence_engine", "persistence_granularity", "realtime", "priorities"),
    }
)
_CONF_TEXTS = frozenset({"why", "problems", "error"})


def keepalived(replace: Replacements, text: str) -> str:
    """Redact keepalived's configuration, which is JSON; only words of keepalived are kept."""
    return json.dumps(_conf(replace, _decoded(text)))


def _conf(replace: Replacements, value: object, key: str = "") -> object:
    if isinstance(value, dict):
        return {name: _conf(replace, below, name) for name, below in value.items()}
    if isinstance(value, list):
        return [_conf(replace, below, key) for below in value]
    return _conf_text(replace, value, key) if isinstance(value, str) else value


def _conf_text(replace: Replacements, text: str, key: str) -> str:
    if key == "interface":
        return replace.names.interface(text)
    if key in _CONF_TEXTS:
        return "redacted"
    if key in _CONF_ADDRESSES:
        return replace.addresses.text(text)
    return text if key in _CONF_WORDS else replace.names.word(text)


def _object(replace: Replacements, value: object, key: str = "") -> object:
    if isinstance(value, dict):
        return {name: _object(replace, below, name) for name, below in value.items()}
    if isinstance(value, list):
        return [_object(replace, below) for below in value]
    if not isinstance(value, str):
        return value
    if key == "interface":
        return replace.names.interface(value)
    if key in {"address", "netmask"}:
        return replace.addresses.text(value)
    return value if key in _OBJECT_KEYS else replace.names.word(value)


def _decoded(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
