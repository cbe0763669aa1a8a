import shlex
from collections.abc import Iterator
from ipaddress import IPv4Address

from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Severity,
    Undecided,
    Verdicts,
    check,
    held_quietly,
    inconclusive,
    not_applicable,
)
from dirtune.checks.realserver import forward, network, on_links, policy_routed, vips
from dirtune.checks.remedies import sysctl
from dirtune.collect.addresses import InterfaceAddress
from dirtune.snapshot import Snapshot

# Values of arp_ignore at which an address of another interface is not answered for; 3 spares
# addresses of scope host alone, 4 to 7 are reserved and answer.
_SILENT = frozenset({1, 2, 8})
_SILENT_FOR_SCOPE_HOST = 3
_SILENT_FOR_ALL = 8
_ANNOUNCE_BEST = 2
_HIDE = {"net/ipv4/conf/all/arp_ignore": 1, "net/ipv4/conf/all/arp_announce": 2}


@check(
    "realserver/arp-leak",
    severity=Severity.CRITICAL,
    trust="A",
    needs=("interface_addresses", "sysctls"),
    roles=("real-server",),
    mends=True,
)
def arp_leak(snapshot: Snapshot) -> Verdicts:
    """A real server answers ARP for the virtual address of its director.

    ## What it does
    Looks at every interface that takes part in ARP and shares the link with the virtual address:
    the address is in one of the interface's networks, or one of the director's addresses is.
    Reports the interface where the greater of `all` and its own `arp_ignore` answers for an
    address on loopback (anything but 1, 2 and 8; 3 where the address has scope host), or where
    `arp_announce` is below 2, and where the virtual address stands on the interface itself, which
    `arp_ignore=1` does answer for. Without a plan the addresses on loopback, dummies and tunnels
    are taken for virtual ones. Servers behind NAT, interfaces with `noarp`, and virtual addresses
    that are routed to the director and not asked for on the link are left alone.

    ## Why it matters
    The router caches this server's MAC address: traffic for the virtual address bypasses the
    director, and one server gets all of it.

    ## Remediation
    `net.ipv4.conf.all.arp_ignore=1` and `net.ipv4.conf.all.arp_announce=2`, set before the
    address is added; then flush the router's ARP entry. Setting `conf.lo` alone does nothing: the
    setting of the interface that receives the request counts. Hosts with several addresses that
    other services rely on may want it on one interface only.

    ## Known problems
    What a rule that filters ARP lets through is not worked out: with one the check is undecided.
    IPv6 is not judged.

    ## References
    - Documentation/networking/ip-sysctl.rst, `arp_ignore`, `arp_announce`
    - net/ipv4/arp.c, `arp_ignore()`
    - LVS-HOWTO, the ARP problem
    """
    if forward(snapshot) == "Masq":
        yield not_applicable("reached by NAT: it holds no virtual address")
        return
    for interface, own in on_links(snapshot).items():
        yield from _judged(snapshot, interface, own)


def _judged(
    snapshot: Snapshot, interface: str, own: tuple[InterfaceAddress, ...]
) -> Iterator[Finding | Undecided]:
    found = [*_on_itself(snapshot, interface, own), *_from_loopback(snapshot, interface, own)]
    leaks = [each for each in found if isinstance(each, Finding)]
    doubt = _filtered(snapshot) if leaks else None
    yield from (inconclusive(doubt),) if doubt else found


def _on_itself(snapshot: Snapshot, interface: str, own: tuple[InterfaceAddress, ...]) -> Verdicts:
    planned = snapshot.place.vips if snapshot.place else ()
    ignore = _effective(snapshot, interface, "arp_ignore")
    for each in own:
        if each.address in planned and ignore is None:
            yield inconclusive(f"arp_ignore of {interface} is not known")
        elif each.address in planned and ignore != _SILENT_FOR_ALL:
            yield _finding(
                interface,
                f"answers ARP for {each.address}, which is on the interface itself",
                {"vips": [each.address], "arp_ignore": ignore},
                (
                    _hide(snapshot),
                    _move(each, interface),
                ),
            )


def _from_loopback(
    snapshot: Snapshot, interface: str, own: tuple[InterfaceAddress, ...]
) -> Verdicts:
    quiet = [v for v in held_quietly(snapshot) if v in vips(snapshot)]
    shared = {vip: _shares_link(snapshot, vip, own) for vip in quiet}
    asked = [vip for vip, known in shared.items() if known]
    ignore = _effective(snapshot, interface, "arp_ignore")
    announce = _effective(snapshot, interface, "arp_announce")
    if asked and (ignore is None or announce is None):
        yield inconclusive(f"arp_ignore and arp_announce of {interface} are not known")
    elif asked and ignore is not None and announce is not None:
        yield from _loud(snapshot, interface, asked, (ignore, announce))
    unsure = [vip for vip, known in shared.items() if known is None]
    if unsure and ignore not in _SILENT:
        yield inconclusive(f"whether anybody asks for {unsure[0]} on {interface} is not known")


def _loud(
    snapshot: Snapshot, interface: str, asked: list[str], settings: tuple[int, int]
) -> Verdicts:
    ignore, announce = settings
    leaked = [vip for vip in asked if not _silent(snapshot, vip, ignore)]
    if leaked:
        wrong = f"answers ARP for {', '.join(leaked)} with arp_ignore {ignore}, 1 is needed"
    elif announce < _ANNOUNCE_BEST and ignore != _SILENT_FOR_ALL:
        wrong = f"announces {', '.join(asked)} with arp_announce {announce}, 2 is needed"
    else:
        return
    on_lo = snapshot.sysctls.conf("lo", "arp_ignore") if snapshot.sysctls else None
    if on_lo:
        wrong += f"; {on_lo} on lo does nothing"
    yield _finding(
        interface,
        wrong,
        {
            "vips": leaked or asked,
            "arp_ignore": ignore,
            "arp_announce": announce,
            "arp_ignore_lo": on_lo,
        },
        (_hide(snapshot),),
    )


def _finding(
    interface: str, message: str, evidence: dict[str, object], fixes: tuple[Fix, ...]
) -> Finding:
    flush = Fix(
        "flush-router-arp",
        "Flush the entry of the virtual address in the router's ARP cache",
        Risk.SAFE,
    )
    return Finding(
        interface,
        Severity.CRITICAL,
        message,
        {"interface": interface, **evidence},
        (*fixes, flush),
    )


def _move(found: InterfaceAddress, interface: str) -> Fix:
    rows = (
        ("ip", "addr", "del", f"{found.address}/{found.prefix}", "dev", interface),
        ("ip", "addr", "add", f"{found.address}/32", "dev", "lo"),
    )
    return Fix(
        "move-vip-to-loopback",
        "Keep the virtual address on loopback, after the settings",
        Risk.DISRUPTIVE,
        tuple(map(shlex.join, rows)),
    )


def _hide(snapshot: Snapshot) -> Fix:
    title = "Answer ARP on the interface that holds the address alone"
    return sysctl(snapshot, "hide-vip-from-arp", title, _HIDE)


def _effective(snapshot: Snapshot, interface: str, name: str) -> int | None:
    return snapshot.sysctls.effective(interface, name) if snapshot.sysctls else None


def _silent(snapshot: Snapshot, vip: str, ignore: int) -> bool:
    scopes = {a.scope for a in snapshot.interface_addresses or () if a.address == vip}
    return ignore in _SILENT or (ignore == _SILENT_FOR_SCOPE_HOST and scopes == {"host"})


def _shares_link(snapshot: Snapshot, vip: str, own: tuple[InterfaceAddress, ...]) -> bool | None:
    """Whether ARP for the address is asked on the link; None if it cannot be told."""
    networks = [network(address) for address in own]
    if any(IPv4Address(vip) in each for each in networks):
        return True
    directors = snapshot.place.director_addresses if snapshot.place else frozenset()
    near = [a for a in directors if ":" not in a and any(IPv4Address(a) in n for n in networks)]
    return bool(near) if directors else None


def _filtered(snapshot: Snapshot) -> str | None:
    """Return why a filter may keep the answers back, None if there is none."""
    rules = snapshot.rulesets
    if rules is None or rules.nft is None or rules.arptables is None:
        return "whether arptables or nft filter ARP is not known"
    if any(row.startswith(("table arp", "table netdev", "table bridge")) for row in rules.nft):
        return "a ruleset of nft filters ARP"
    if any(row.startswith("-A") for row in rules.arptables):
        return "arptables filters ARP"
    if policy_routed(snapshot) and _rule_names_vip(snapshot):
        return "an ip rule names the virtual address"
    return None


def _rule_names_vip(snapshot: Snapshot) -> bool:
    rows = (snapshot.rulesets.routing if snapshot.rulesets else None) or ()
    return any(vip in row.split() for row in rows for vip in vips(snapshot))
