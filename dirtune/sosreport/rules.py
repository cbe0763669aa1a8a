"""Packet filter rules, routing rules and queueing disciplines, as `audit` itself lists them.

sos has no output of `iptables-save`, so the listing of `iptables -nvL` is written in its form.
Format: iptables(8), print_firewall() of iptables.c: a row `Chain FORWARD (policy DROP 12 packets,
720 bytes)`, a row of titles, and rows of pkts, bytes, target, prot, opt, in, out, source and
destination, followed by the matches in words. Newer versions print the numbers of protocols. A
match that is not known here becomes `-m other`, so that a rule does not seem to match everything.
"""

import re
from collections.abc import Iterator

from dirtune.collect.commands import ARPTABLES, IP_RULE, IPTABLES, NFT, QDISC
from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host
from dirtune.sosreport.outputs import output

_NET = "/proc/net/dev"
_CHAIN = re.compile(
    r"Chain (?P<name>\S{1,64}) \((?:policy (?P<policy>\w+) (?P<packets>\d+\w?) packets, "
    r"(?P<bytes>\d+\w?) bytes|\d+ references)\)"
)
_HANDLE = re.compile(r" # handle \d+$", re.MULTILINE)
_TABLES = ("filter", "nat", "mangle", "raw", "security")
_MATCHES = (
    (re.compile(r"ctstate (\S+)"), r"-m conntrack --ctstate \1"),
    (re.compile(r"\bstate (\S+)"), r"-m state --state \1"),
    (re.compile(r"\b(tcp|udp|sctp) dpt:(\d+)"), r"-m \1 --dport \2"),
    (re.compile(r"\b(tcp|udp|sctp) spt:(\d+)"), r"-m \1 --sport \2"),
    (re.compile(r"MARK set (0x[0-9a-f]+)"), r"--set-xmark \1/0xffffffff"),
    (re.compile(r"\b(?:CT notrack|NOTRACK)\b"), r"--notrack"),
    (re.compile(r"\bmultiport (dports|sports|ports) (\S+)"), r"-m multiport --\1 \2"),
    (re.compile(r"\breject-with (\S+)"), r"--reject-with \1"),
    (re.compile(r"/\* ([^*\"\\]{0,200}) \*/"), r'-m comment --comment "\1"'),
    (re.compile(r"\bto:([\d.:-]+)"), r"--to-TO \1"),
    (re.compile(r"TCPMSS (clamp to PMTU)"), r"--clamp-mss-to-pmtu"),
)
_UNQUOTABLE = re.compile(r'[^ -~]|["\\]')
_COLUMNS = 9
_PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "132": "sctp"}


def translated(host: Host) -> Iterator[tuple[str, str]]:
    """Yield path and text of each listing of rules that the report has."""
    rules = output(
        host, "ip_-4_rule_list", "ip_-4_rule", "ip_rule_list", "ip_rule_show", "ip_rule"
    )
    if rules:
        yield IP_RULE, rules
    qdiscs = output(host, "tc_-s_qdisc_show")
    if qdiscs:
        yield QDISC, qdiscs
    nft = output(host, "nft_-a_list_ruleset", "nft_list_ruleset")
    if nft is not None:
        yield NFT, _HANDLE.sub("", nft)
    elif _modules_lack(host, "nf_tables"):
        yield NFT, ""
    saved = output(host, "iptables-save")
    if saved is not None:
        yield IPTABLES, saved
    else:
        listings = tuple(_listings(host))
        if listings or _no_table(host, "ip_tables_names"):
            yield IPTABLES, "".join(listings)
    if _no_table(host, "arp_tables_names"):
        yield ARPTABLES, ""


def saved_form(table: str, listing: str) -> str:
    """Return the *listing* of a table, by `iptables -nvL`, in the form of iptables-save(8)."""
    chains, rules, chain = [], [], None
    for row in listing.splitlines():
        match = _CHAIN.match(row)
        if match:
            chain = match["name"]
            counts = f"[{_whole(match['packets'])}:{_whole(match['bytes'])}]"
            chains.append(f":{chain} {match['policy'] or '-'} {counts}")
        elif chain and re.match(r"\s*\d+[KMGT]?\s+\d+[KMGT]?\s", row):
            rules.append(f"-A {chain} {_rule(row)}")
    return "\n".join((f"*{table}", *chains, *rules, "COMMIT", ""))


def _rule(row: str) -> str:
    cells = row.split(None, _COLUMNS)
    if len(cells) < _COLUMNS:
        return "-m other"
    # A rule without a target has one cell less, and `--` (no fragment) moves to the left.
    target = cells[2]
    if cells[3] in {"--", "-f", "!f"}:
        target, cells = "", [*cells[:2], "", *row.split(None, _COLUMNS - 1)[2:]]
    _, _, _, protocol, _, into, out, source, destination, *rest = cells
    words = []
    for option, value, everything in (
        ("-s", source, {"0.0.0.0/0", "anywhere"}),
        ("-d", destination, {"0.0.0.0/0", "anywhere"}),
        ("-i", into, {"*", "any"}),
        ("-o", out, {"*", "any"}),
        ("-p", _PROTOCOLS.get(protocol, protocol), {"all", "0"}),
    ):
        if value not in everything:
            words.append(f"! {option} {value[1:]}" if value[0] == "!" else f"{option} {value}")
    matches, options = _matches(rest[0].strip() if rest else "", target)
    return " ".join((*words, *matches, *((f"-j {target}",) if target else ()), *options))


def _whole(number: str | None) -> int:
    """Return a count, which iptables rounds from 100,000 on, such as 123K."""
    match = re.fullmatch(r"(\d{1,20})([KMGT]?)", number or "0")
    return int(match[1]) * 1000 ** " KMGT".index(match[2] or " ") if match else 0


def _matches(text: str, target: str) -> tuple[list[str], list[str]]:
    """Return the matches of a rule and the options of its target, as iptables-save has them."""
    matches: list[str] = []
    options: list[str] = []
    to = "source" if target == "SNAT" else "destination"
    for pattern, form in _MATCHES:
        for match in pattern.finditer(text):
            written = match.expand(form.replace("TO", to))
            (matches if written.startswith("-m") else options).append(written)
        text = pattern.sub("", text)
    if text.strip():
        matches.append(f'-m other "{_UNQUOTABLE.sub("?", text.strip())}"')
    return matches, options


def _listings(host: Host) -> Iterator[str]:
    for table in _TABLES:
        listing = output(host, f"iptables_-t_{table}_-nvL", *_bare(table))
        if listing:
            yield saved_form(table, listing)


def _bare(table: str) -> tuple[str, ...]:
    return ("iptables_-vnxL",) if table == "filter" else ()


def _no_table(host: Host, name: str) -> bool:
    """Whether the report has /proc/net, and the kernel had no table of this kind."""
    if not host.glob(_NET):
        return False
    try:
        return not host.read(f"/proc/net/{name}").strip()
    except SourceMissing:
        return True
    except SourceRefused:
        return False


def _modules_lack(host: Host, module: str) -> bool:
    """Whether the list of loaded modules lacks *module*; built-in modules are in no list."""
    text = output(host, "lsmod")
    if text is None:
        try:
            text = host.read("/proc/modules")
        except (SourceMissing, SourceRefused):
            return False
    return bool(text.strip()) and not re.search(rf"^{module}\s", text, re.MULTILINE)
