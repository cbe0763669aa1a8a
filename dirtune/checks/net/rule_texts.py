"""Read single packet filter rules, as `nft list ruleset` and `iptables-save` print them.

A rule is read only in part. It is marked if it has words that this module does not know, because
it may then match fewer packets than its known words say.
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

ACCEPTS, DROPS = frozenset({"accept"}), frozenset({"drop", "reject"})
LONGEST = 1 << 16
"""Characters of the longest rule that is read; a longer one, such as a large set, is unknown."""
_PORT = re.compile("[0-9]{1,5}")
_NFT_VERDICT = re.compile(
    r"(?:^| )(?P<verdict>accept|drop|reject(?: with .*)?|return|(?:jump|goto) (?P<to>\S+))$"
)
# Statements that may end a packet's way with a verdict that this module does not know.
_MAY_END = re.compile(r"\b(?:vmap|queue|synproxy|tproxy|fwd|redirect|dnat)\b")
_UNREAD = "(a rule whose verdict is not known)"
_NFT_NOISE = re.compile(
    r'counter packets \d+ bytes \d+|\bcounter\b|comment "[^"]*"|log (?:prefix "[^"]*" ?)?\S*'
)
_VALUE = r"(?P<value>\{[^{}]*\}|\S+)"
_NFT_FIELDS = (
    ("state", re.compile(rf"ct state (?P<not>!= )?{_VALUE}")),
    ("status", re.compile(rf"ct status (?P<not>!= )?{_VALUE}")),
    ("source", re.compile(rf"ip6? saddr (?P<not>!= )?{_VALUE}")),
    ("target", re.compile(rf"ip6? daddr (?P<not>!= )?{_VALUE}")),
    ("entry", re.compile(rf"iif(?:name)? (?P<not>!= )?{_VALUE}")),
    ("exit", re.compile(rf"oif(?:name)? (?P<not>!= )?{_VALUE}")),
    ("sport", re.compile(rf"(?:tcp|udp|sctp|th) sport (?P<not>!= )?{_VALUE}")),
    ("dport", re.compile(rf"(?:tcp|udp|sctp|th) dport (?P<not>!= )?{_VALUE}")),
    ("protocol", re.compile(rf"(?:meta l4proto|ip protocol) (?P<not>!= )?{_VALUE}")),
)
_OPTIONS = {
    "-s": "source",
    "-d": "target",
    "-i": "entry",
    "-o": "exit",
    "-p": "protocol",
    "--ctstate": "state",
    "--state": "state",
    "--sport": "sport",
    "--dport": "dport",
    "--sports": "sport",
    "--dports": "dport",
}
# Words of iptables that restrict nothing: modules are loaded, and comments are only read.
_MODULES = frozenset({"comment", "conntrack", "state", "tcp", "udp", "multiport"})
_QUOTED = re.compile(r'--comment (?:"(?:[^"\\]|\\.)*"|\S+)')


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Field:
    """A condition of a rule: the values that a field of the packet must have."""

    name: str
    """The name of the field of `chains.Packet`."""
    values: tuple[str, ...]
    negated: bool
    """Whether the packet must have none of the values."""
    networks: tuple[Network, ...] | None = None
    """The values of `source` and `target`; None if one is no address or network."""
    ranges: tuple[tuple[int, int], ...] | None = None
    """The values of `sport` and `dport`; None if one is no port or range of ports."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, as far as it was understood."""

    verdict: str
    """accept, drop, reject, return, jump or goto; empty if the packet goes on in the chain."""
    to: str | None = None
    """The chain of a jump or goto."""
    fields: tuple[Field, ...] = ()
    known: bool = True
    """Whether the fields are all conditions of the rule."""


def read(row: str) -> Rule:
    """Return what is known about the rule *row*."""
    if len(row) > LONGEST:
        return Rule("jump", _UNREAD, known=False)
    return (_iptables if row.startswith("-A ") else _nft)(row)


def _field(name: str, value: str, *, negated: bool) -> Field:
    values = tuple(word.strip(' "') for word in value.strip("{} ").split(","))
    networks = _networks(values) if name in {"source", "target"} else None
    ranges = _ranges(values) if name in {"sport", "dport"} else None
    return Field(name, values, negated, networks, ranges)


def _networks(values: tuple[str, ...]) -> tuple[Network, ...] | None:
    try:
        return tuple(ipaddress.ip_network(value, strict=False) for value in values)
    except ValueError:  # a set, a map or a range
        return None


def _ranges(values: tuple[str, ...]) -> tuple[tuple[int, int], ...] | None:
    ranges = tuple(_port_ranges(values))
    known = tuple(pair for pair in ranges if pair is not None)
    return known if len(known) == len(ranges) else None


def _port_ranges(values: tuple[str, ...]) -> Iterator[tuple[int, int] | None]:
    for value in values:
        first, _, last = value.replace(":", "-").partition("-")
        numbers = _PORT.fullmatch(first) and _PORT.fullmatch(last or first)
        yield (int(first), int(last or first)) if numbers else None


def _iptables(row: str) -> Rule:
    words = _QUOTED.sub("", row).split()[2:]
    fields: list[Field] = []
    verdict, to, known, negated = "", None, True, False
    rest = iter(words)
    for word in rest:
        if word == "!":
            negated = True
            continue
        value = next(rest, "") if word.startswith("-") else ""
        if word in {"-j", "-g"}:
            lower = value.lower()
            targets = ACCEPTS | DROPS | {"return"}
            verdict = lower if lower in targets else "goto" if word == "-g" else "jump"
            to = None if lower in targets else value
            break  # what follows are options of the target
        if word in _OPTIONS:
            fields.append(_field(_OPTIONS[word], value, negated=negated))
        elif word != "-m" or value not in _MODULES:
            known = False
        negated = False
    if to and to.isupper() and to in _OTHER_TARGETS:
        verdict, to = "", None
    return Rule(verdict, to, tuple(fields), known)


# Targets after which the packet goes on in the chain.
_OTHER_TARGETS = frozenset(
    {"LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "TCPMSS", "CT", "NOTRACK", "TOS", "DSCP", "TTL"}
    | {"CLASSIFY", "TRACE", "CHECKSUM", "AUDIT", "SET", "TEE"}
)


def _nft(row: str) -> Rule:
    bare = " ".join(_NFT_NOISE.sub("", row).split())
    end = _NFT_VERDICT.search(bare)
    if not end:
        unread = bare.count("{") != bare.count("}") or _MAY_END.search(bare)
        return Rule("jump", _UNREAD, known=False) if unread else Rule("")
    rest, fields = bare[: end.start()].strip(), []
    for name, pattern in _NFT_FIELDS:
        fields += [
            _field(name, m["value"], negated=bool(m["not"])) for m in pattern.finditer(rest)
        ]
        rest = pattern.sub("", rest)
    return Rule(end["verdict"].split()[0], end["to"], tuple(fields), not rest.strip())
