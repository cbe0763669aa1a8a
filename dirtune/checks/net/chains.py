"""Chains of packet filter rules, and the way of one packet through them.

Rules are text, as `nft list ruleset` and `iptables-save` print them. Whether a rule matches a
packet is known only in part: a rule with words that this module does not know may match.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_HOOK = re.compile(r"type \w+ hook (?P<hook>\w+) (?:.*policy (?P<policy>\w+))?")
_IN_CHAIN = 2  # open braces
_NAMED = re.compile(r"(?P<kind>table|chain) (?P<name>.*) \{")
_PORT = re.compile("[0-9]{1,5}")
_DEPTH = 16  # jumps in jumps, as nftables limits them
_POLICY = re.compile(r":(?P<chain>\S+) (?P<policy>\S+)(?: \[(?P<packets>[0-9]{1,20}):)?")

_ACCEPTS, _DROPS = frozenset({"accept"}), frozenset({"drop", "reject"})
_NFT_VERDICT = re.compile(
    r"(?:^| )(?P<verdict>accept|drop|reject(?: with .*)?|return|(?:jump|goto) (?P<to>\S+))$"
)
# Statements that may end a packet's way with a verdict that this module does not know.
_MAY_END = re.compile(r"\b(?:vmap|queue|synproxy|tproxy|fwd|redirect|dnat)\b")
_UNREAD = "(a rule whose verdict is not known)"
_NFT_NOISE = re.compile(
    r'counter packets \d+ bytes \d+|\bcounter\b|comment "[^"]*"|log (?:prefix "[^"]*" ?)?\S*'
)
_VALUE = r"(?P<value>\{[^}]*\}|\S+)"
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


@dataclass(slots=True)
class Chain:
    """A chain of rules in a table."""

    rules: list[str] = field(default_factory=list)
    hook: str | None = None
    """The hook of the chain; None if packets reach it only by a jump."""
    policy: str = "accept"
    """The fate of packets at the end of the chain: accept or drop."""
    packets: int | None = None
    """Packets to which the policy was applied; None if not counted."""


Chains = Mapping[tuple[str, str], Chain]
"""Chains by the names of their table and their own."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet, as far as it is known; None stands for any value."""

    source: str | None = None
    target: str | None = None
    entry: str | None = None
    """The interface on which the packet arrives."""
    exits: frozenset[str] | None = None
    """The interfaces on which the packet may leave."""
    sport: int | None = None
    dport: int | None = None
    protocol: str = "tcp"
    state: str | None = None
    """The state of connection tracking: new, established or invalid."""
    status: str = "none"
    """The status of connection tracking; packets that no NAT rule rewrites are neither snat nor
    dnat."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The reason why a packet is dropped."""

    table: str
    chain: str
    rule: str | None
    """The rule that drops the packet; None for the policy of the chain."""
    packets: int | None
    """Packets that the policy dropped so far; None if not counted."""


def parse_nft(rows: tuple[str, ...]) -> Chains:
    """Return the chains in the output of `nft list ruleset`."""
    chains: dict[tuple[str, str], Chain] = {}
    table, chain, depth = "", None, 0
    for row in rows:
        named = _NAMED.fullmatch(row)
        hook = _HOOK.match(row)
        if named and depth == 0:
            table = named["name"]
        elif named and named["kind"] == "chain":
            chain = chains.setdefault((table, named["name"]), Chain())
        elif hook and chain:
            chain.hook, chain.policy = hook["hook"], hook["policy"] or "accept"
        elif chain and depth == _IN_CHAIN and row != "}" and row[:1] != "#":
            chain.rules.append(row)
        depth += row.count("{") - row.count("}")
        chain = chain if depth >= _IN_CHAIN else None
    return chains


def parse_iptables(rows: tuple[str, ...]) -> Chains:
    """Return the chains in the output of iptables-save."""
    chains: dict[tuple[str, str], Chain] = {}
    table = ""
    for row in rows:
        words = row.split()
        policy = _POLICY.match(row)
        if row[:1] == "*":
            table = row[1:]
        elif policy:
            built_in = policy["policy"] != "-"
            chains[table, policy["chain"]] = Chain(
                hook=policy["chain"].lower() if built_in else None,
                policy=policy["policy"].lower() if built_in else "accept",
                packets=int(policy["packets"]) if built_in and policy["packets"] else None,
            )
        elif words[:1] == ["-A"] and len(words) > 1:
            chains.setdefault((table, words[1]), Chain()).rules.append(row)
    return chains


def dropped(chains: Chains, hook: str, packet: Packet) -> Drop | None:
    """Return what drops *packet* in *hook*; None if nothing does, or if that is not certain."""
    for (table, name), chain in chains.items():
        if chain.hook != hook or not _of_family(table, packet):
            continue
        end = _walk(chains, (table, name), packet, {})
        if isinstance(end, Drop):
            return end
        if end is None and chain.policy == "drop":
            return Drop(table, name, None, chain.packets)
    return None


def _of_family(table: str, packet: Packet) -> bool:
    family = table.split(maxsplit=1)[0] if " " in table else "ip"  # iptables-save prints only IPv4
    v6 = ":" in (packet.source or packet.target or "")
    return family in {"inet", "ip6" if v6 else "ip"}


_End = Drop | str | None


def _walk(
    chains: Chains,
    at: tuple[str, str],
    packet: Packet,
    ends: dict[tuple[str, str], _End],
    depth: int = _DEPTH,
) -> _End:
    """Return the end of a packet's way: a drop, "accept", "unknown", or None for no verdict.

    *ends* holds the ends of the chains that were walked before, because a chain may be the target
    of many jumps.
    """
    if at not in ends:
        ends[at] = "unknown"  # a chain that jumps to itself
        ends[at] = _end_of(chains, at, packet, ends, depth) if depth else "unknown"
    return ends[at]


def _end_of(
    chains: Chains,
    at: tuple[str, str],
    packet: Packet,
    ends: dict[tuple[str, str], _End],
    depth: int,
) -> _End:
    if at not in chains:
        return "unknown"
    for row in chains[at].rules:
        verdict, to, matches = _rule(row, packet)
        if matches is False or not verdict:
            continue
        end: _End = None
        if to:
            end = _walk(chains, (at[0], to), packet, ends, depth - 1)
        elif verdict in _ACCEPTS:
            end = "accept"
        elif verdict in _DROPS:
            end = Drop(*at, row, None)
        elif matches:  # the packet returns to the chain before
            return None
        else:
            return "unknown"
        if matches is None and isinstance(end, Drop):
            continue  # a rule that may drop is no certain drop
        if end is not None or (to and verdict == "goto" and matches):
            return "unknown" if matches is None else end
    return None


def _rule(row: str, packet: Packet) -> tuple[str, str | None, bool | None]:
    """Return the verdict of a rule, the chain to which it jumps, and whether it matches."""
    parse = _iptables_fields if row.startswith("-A ") else _nft_fields
    verdict, to, fields, known = parse(row)
    answers = [_matches(each, packet) for each in fields]
    if False in answers:
        return verdict, to, False
    return verdict, to, True if known and None not in answers else None


_Field = tuple[str, str, bool]


def _iptables_fields(row: str) -> tuple[str, str | None, list[_Field], bool]:
    words = _QUOTED.sub("", row).split()[2:]
    fields: list[_Field] = []
    verdict, to, known, negated = "", None, True, False
    rest = iter(words)
    for word in rest:
        if word == "!":
            negated = True
            continue
        value = next(rest, "") if word.startswith("-") else ""
        if word in {"-j", "-g"}:
            lower = value.lower()
            targets = _ACCEPTS | _DROPS | {"return"}
            verdict = lower if lower in targets else "goto" if word == "-g" else "jump"
            to = None if lower in targets else value
            break  # what follows are options of the target
        if word in _OPTIONS:
            fields.append((_OPTIONS[word], value, negated))
        elif word != "-m" or value not in _MODULES:
            known = False
        negated = False
    if to and to.isupper() and to in _OTHER_TARGETS:
        verdict, to = "", None
    return verdict, to, fields, known


# Targets after which the packet goes on in the chain.
_OTHER_TARGETS = frozenset(
    {"LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "TCPMSS", "CT", "NOTRACK", "TOS", "DSCP", "TTL"}
    | {"CLASSIFY", "TRACE", "CHECKSUM", "AUDIT", "SET", "TEE"}
)


def _nft_fields(row: str) -> tuple[str, str | None, list[_Field], bool]:
    bare = " ".join(_NFT_NOISE.sub("", row).split())
    end = _NFT_VERDICT.search(bare)
    if not end:
        unread = bare.count("{") != bare.count("}") or _MAY_END.search(bare)
        return ("jump", _UNREAD, [], False) if unread else ("", None, [], False)
    rest, fields = bare[: end.start()].strip(), []
    for name, pattern in _NFT_FIELDS:
        fields += [(name, m["value"], bool(m["not"])) for m in pattern.finditer(rest)]
        rest = pattern.sub("", rest)
    return end["verdict"].split()[0], end["to"], fields, not rest.strip()


def _matches(field: _Field, packet: Packet) -> bool | None:
    name, value, negated = field
    values = [word.strip(' "') for word in value.strip("{} ").split(",")]
    answer = _equals(name, values, packet)
    return answer if answer is None or not negated else not answer


def _equals(name: str, values: list[str], packet: Packet) -> bool | None:
    if name == "exit":
        return _leaves_by(values, packet.exits)
    mine = getattr(packet, name)
    if name == "entry" and mine is None:
        return False if values == ["lo"] else None  # other hosts' packets do not enter there
    if mine is None:
        return None
    judge = _JUDGES.get(name)
    return judge(mine, values) if judge else mine in {word.lower() for word in values}


def _leaves_by(values: list[str], exits: frozenset[str] | None) -> bool | None:
    """Whether a packet leaves through one of the interfaces *values*; None if it may."""
    fits = {any(_is_interface(word, name) for word in values) for name in exits or ()}
    return fits.pop() if len(fits) == 1 else None


def _enters_by(name: str, values: list[str]) -> bool:
    return any(_is_interface(word, name) for word in values)


def _is_interface(pattern: str, name: str) -> bool:
    if pattern[-1:] in {"+", "*"}:
        return name.startswith(pattern[:-1])
    return pattern == name


def _in_networks(address: str, values: list[str]) -> bool | None:
    try:
        nets = [ipaddress.ip_network(value, strict=False) for value in values]
    except ValueError:  # a set, a map or a range
        return None
    return any(ipaddress.ip_address(address) in net for net in nets)


def _in_ports(port: int, values: list[str]) -> bool | None:
    ranges = list(_port_ranges(values))
    return None if None in ranges else any(r and r[0] <= port <= r[1] for r in ranges)


def _port_ranges(values: list[str]) -> Iterator[tuple[int, int] | None]:
    for value in values:
        first, _, last = value.replace(":", "-").partition("-")
        numbers = _PORT.fullmatch(first) and _PORT.fullmatch(last or first)
        yield (int(first), int(last or first)) if numbers else None


def _is_protocol(protocol: str, values: list[str]) -> bool | None:
    if any(value.isdecimal() for value in values):  # a number, which stands for some name
        return None
    return protocol in {value.lower() for value in values}


_JUDGES: Mapping[str, Callable[[Any, list[str]], bool | None]] = {
    "source": _in_networks,
    "target": _in_networks,
    "entry": _enters_by,
    "protocol": _is_protocol,
    "sport": _in_ports,
    "dport": _in_ports,
}
