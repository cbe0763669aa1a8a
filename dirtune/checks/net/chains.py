"""Chains of packet filter rules, and the way of one packet through them.

Rules are text, as `nft list ruleset` and `iptables-save` print them. Whether a rule matches a
packet is known only in part: a rule with words that `rule_texts` does not know may match.
"""

import functools
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dirtune.checks.net.rule_texts import ACCEPTS, DROPS, LONGEST, Field, Rule, read

_HOOK = re.compile(r"type \w+ hook (?P<hook>\w+) (?:.*policy (?P<policy>\w+))?")
_IN_CHAIN = 2  # open braces
_NAMED = re.compile(r"(?P<kind>table|chain) (?P<name>.*) \{")
_DEPTH = 16  # jumps in jumps, as nftables limits them
_POLICY = re.compile(r":(?P<chain>\S+) (?P<policy>\S+)(?: \[(?P<packets>[0-9]{1,20}):)?")
_WORK = 30_000_000
"""Limit of the work for all packets that one `Following` follows."""


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


class TooManyRulesError(Exception):
    """To follow the packets through the rules would take too long."""


_End = Drop | str | None


class Following:
    """Follows packets through the chains of one tool.

    The rules may be those of a hostile host, so the work is limited. A unit of work takes about
    0.1 us. A rule is read once, which costs 10 units per character; to compare it with a packet
    costs 20 units, and 5 for each of its values.
    """

    def __init__(self, chains: Chains, work: int = _WORK) -> None:
        self._chains = chains
        self._left = work
        self._rules: dict[str, Rule] = {}
        self._hooks: dict[str, list[tuple[str, str]]] = {}
        for at, chain in chains.items():
            if chain.hook is not None:
                self._hooks.setdefault(chain.hook, []).append(at)

    def dropped(self, hook: str, packet: Packet) -> Drop | None:
        """Return what drops *packet* in *hook*; None if nothing does, or if that is not certain.

        Raises `TooManyRulesError` if the work for this packet and those before is too much.
        """
        ends: dict[tuple[str, str], _End] = {}
        for table, name in self._hooks.get(hook, ()):
            self._spend(20)
            chain = self._chains[table, name]
            if not _of_family(table, packet):
                continue
            end = self._walk((table, name), packet, ends)
            if isinstance(end, Drop):
                return end
            if end is None and chain.policy == "drop":
                return Drop(table, name, None, chain.packets)
        return None

    def _walk(
        self,
        at: tuple[str, str],
        packet: Packet,
        ends: dict[tuple[str, str], _End],
        depth: int = _DEPTH,
    ) -> _End:
        """Return the end of a packet's way: a drop, "accept", "unknown", or None for no verdict.

        *ends* holds the ends of the chains that were walked before, because a chain may be the
        target of many jumps.
        """
        if at not in ends:
            ends[at] = "unknown"  # a chain that jumps to itself
            ends[at] = self._end_of(at, packet, ends, depth) if depth else "unknown"
        return ends[at]

    def _end_of(
        self,
        at: tuple[str, str],
        packet: Packet,
        ends: dict[tuple[str, str], _End],
        depth: int,
    ) -> _End:
        if at not in self._chains:
            return "unknown"
        for row in self._chains[at].rules:
            rule = self._rule(row, packet)
            matches = _matches(rule, packet)
            if matches is False or not rule.verdict:
                continue
            end: _End = None
            if rule.to:
                end = self._walk((at[0], rule.to), packet, ends, depth - 1)
            elif rule.verdict in ACCEPTS:
                end = "accept"
            elif rule.verdict in DROPS:
                end = Drop(*at, row, None)
            elif matches:  # the packet returns to the chain before
                return None
            else:
                return "unknown"
            if matches is None and isinstance(end, Drop):
                continue  # a rule that may drop is no certain drop
            if end is not None or (rule.to and rule.verdict == "goto" and matches):
                return "unknown" if matches is None else end
        return None

    def _rule(self, row: str, packet: Packet) -> Rule:
        rule = self._rules.get(row)
        if rule is None:
            self._spend(10 * min(len(row), LONGEST))
            rule = self._rules[row] = read(row)
        names = {"exit": len(packet.exits or ())}
        self._spend(20 + 5 * sum(len(p.values) * names.get(p.name, 1) for p in rule.fields))
        return rule

    def _spend(self, units: int) -> None:
        self._left -= units
        if self._left < 0:
            raise TooManyRulesError


def dropped(chains: Chains, hook: str, packet: Packet) -> Drop | None:
    """Return what drops one *packet* in *hook*: see `Following.dropped`."""
    return Following(chains).dropped(hook, packet)


def _of_family(table: str, packet: Packet) -> bool:
    family = table.split(maxsplit=1)[0] if " " in table else "ip"  # iptables-save prints only IPv4
    v6 = ":" in (packet.source or packet.target or "")
    return family in {"inet", "ip6" if v6 else "ip"}


def _matches(rule: Rule, packet: Packet) -> bool | None:
    """Return whether *rule* matches *packet*; None if it may."""
    certain = rule.known
    for part in rule.fields:
        answer = _fits(part, packet)
        if answer is part.negated:
            return False
        certain = certain and answer is not None
    return True if certain else None


def _fits(part: Field, packet: Packet) -> bool | None:
    """Return whether a field of *packet* has one of the values of *part*; None if it may."""
    if part.name == "exit":
        return _leaves_by(part.values, packet.exits)
    mine = getattr(packet, part.name)
    if mine is None:
        # Packets of other hosts do not enter through loopback.
        return False if part.name == "entry" and part.values == ("lo",) else None
    return _JUDGES.get(part.name, _is_word)(mine, part)


def _in_networks(address: str, part: Field) -> bool | None:
    if part.networks is None:
        return None
    return any(_address(address) in network for network in part.networks)


def _in_ranges(port: int, part: Field) -> bool | None:
    return None if part.ranges is None else any(a <= port <= b for a, b in part.ranges)


def _enters_by(name: str, part: Field) -> bool:
    return any(_is_interface(word, name) for word in part.values)


def _is_protocol(protocol: str, part: Field) -> bool | None:
    if any(value.isdecimal() for value in part.values):  # a number, which stands for some name
        return None
    return _is_word(protocol, part)


def _is_word(value: str, part: Field) -> bool:
    return value in {word.lower() for word in part.values}


_JUDGES: Mapping[str, Callable[[Any, Field], bool | None]] = {
    "source": _in_networks,
    "target": _in_networks,
    "entry": _enters_by,
    "protocol": _is_protocol,
    "sport": _in_ranges,
    "dport": _in_ranges,
}


def _leaves_by(values: tuple[str, ...], exits: frozenset[str] | None) -> bool | None:
    """Return whether a packet leaves through one of the interfaces *values*; None if it may."""
    fits = {any(_is_interface(word, name) for word in values) for name in exits or ()}
    return fits.pop() if len(fits) == 1 else None


def _is_interface(pattern: str, name: str) -> bool:
    if pattern[-1:] in {"+", "*"}:
        return name.startswith(pattern[:-1])
    return pattern == name


@functools.lru_cache(maxsize=4)
def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(text)
