import shlex
from collections.abc import Iterator
from ipaddress import IPv4Address

from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Role,
    Severity,
    Undecided,
    Verdicts,
    check,
    inconclusive,
    not_applicable,
)
from dirtune.checks.host_roles import held_quietly, roles
from dirtune.checks.net import address_mover
from dirtune.checks.owners import KUBERNETES, Owner, owner
from dirtune.checks.realserver import forward, network, on_links, policy_routed, vips
from dirtune.checks.remedies import sysctl
from dirtune.checks.together import listed
from dirtune.collect.addresses import InterfaceAddress
from dirtune.collect.ip_vs import Forward
from dirtune.snapshot import Snapshot

# Values of arp_ignore with which a host does not answer for another interface's address; 3
# does so only for addresses with scope host; 4 to 7 are reserved, and the host answers.
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
    roles=(Role.REAL_SERVER,),
    mends=True,
)
def arp_leak(snapshot: Snapshot) -> Verdicts:
    """A real server answers ARP requests for the virtual address of its director.

    ## What it does
    The check examines each interface with ARP, if the virtual address or one of the director's
    addresses is in one of the interface's networks: other hosts on the link then ask for the
    virtual address. It reports three faults. First, the host answers for an address on loopback:
    the greater of `all` and the interface's `arp_ignore` is not 1, 2 or 8 (nor 3 for an address
    with scope host). Second, the greater of the two `arp_announce` values is below 2. Third, the
    virtual address is on the interface itself, for which the host answers even with
    `arp_ignore=1`. Without a plan, the addresses on loopback, dummies and tunnels count as virtual
    addresses. Not reported are servers behind NAT, interfaces with `noarp`, and virtual addresses
    that are routed to the director, because nobody asks for these on the link.

    A host may be director and real server at once: kube-proxy keeps the addresses of LoadBalancer
    services on kube-ipvs0 of every node, and directors may serve each other's services. The latter
    are reported only if a running program moves addresses between directors. An address that is
    also on a link is not reported, because the host has to answer for it.

    ## Why it matters
    The router caches this server's MAC address. All traffic for the virtual address then bypasses
    the director and goes to this server.

    ## Remediation
    With kube-proxy, set `ipvs.strictARP: true` in its configuration: kube-proxy then sets both.
    Elsewhere, set `net.ipv4.conf.all.arp_ignore=1` and `net.ipv4.conf.all.arp_announce=2` before
    you add the address, then flush the router's ARP entry. Setting only `conf.lo` has no effect,
    because the setting of the interface that receives the request counts. If other services need
    ARP for addresses on other interfaces, set only the interface instead of `all`.

    ## Known problems
    The check does not evaluate ARP filters: if there is a filter rule, the check is inconclusive.
    The check does not examine IPv6.

    ## References
    - Documentation/networking/ip-sysctl.rst, `arp_ignore`, `arp_announce`
    - net/ipv4/arp.c, `arp_ignore()`
    - LVS-HOWTO, the ARP problem
    """
    if forward(snapshot) == Forward.MASQ:
        yield not_applicable(
            "the director reaches this host by NAT, so this host needs no virtual address"
        )
        return
    for interface, own in on_links(snapshot).items():
        yield from _judged(snapshot, interface, own)


def _judged(
    snapshot: Snapshot, interface: str, own: tuple[InterfaceAddress, ...]
) -> Iterator[Finding | Undecided]:
    verdicts = [*_on_itself(snapshot, interface, own), *_from_loopback(snapshot, interface, own)]
    leaks = [verdict for verdict in verdicts if isinstance(verdict, Finding)]
    doubt = _filtered(snapshot) if leaks else None
    yield from (inconclusive(doubt),) if doubt else verdicts


def _on_itself(snapshot: Snapshot, interface: str, own: tuple[InterfaceAddress, ...]) -> Verdicts:
    planned = snapshot.place.vips if snapshot.place else ()
    ignore = _effective(snapshot, interface, "arp_ignore")
    for held in own:
        if held.address in planned and ignore is None:
            yield inconclusive(f"net.ipv4.conf.{interface}.arp_ignore could not be read")
        elif held.address in planned and ignore != _SILENT_FOR_ALL:
            yield _finding(
                interface,
                f"{interface} answers ARP for {held.address}, because the address is on "
                f"{interface} itself",
                {"vips": [held.address], "arp_ignore": ignore},
                (_move(snapshot, held, interface),),
            )


def _from_loopback(
    snapshot: Snapshot, interface: str, own: tuple[InterfaceAddress, ...]
) -> Verdicts:
    openly = {a.address for held in on_links(snapshot).values() for a in held}
    quiet = [v for v in held_quietly(snapshot) if v in vips(snapshot) and v not in openly]
    shared = {vip: _shares_link(snapshot, vip, own) for vip in quiet}
    on_link = [vip for vip, known in shared.items() if known]
    ignore = _effective(snapshot, interface, "arp_ignore")
    announce = _effective(snapshot, interface, "arp_announce")
    if on_link and (ignore is None or announce is None):
        yield inconclusive(f"arp_ignore and arp_announce of {interface} could not be read")
    elif on_link and ignore is not None and announce is not None:
        judge = _of_director if _may_answer(snapshot) else _loud
        yield from judge(snapshot, interface, on_link, (ignore, announce))
    unsure = [vip for vip, known in shared.items() if known is None]
    if unsure and ignore not in _SILENT:
        yield inconclusive(
            "no director address is known, so other hosts may send ARP requests for "
            f"{unsure[0]} on {interface}"
        )


def _may_answer(snapshot: Snapshot) -> bool:
    """Whether this host is a director that must answer ARP itself while it is the active one."""
    return Role.DIRECTOR in roles(snapshot) and owner(snapshot) not in KUBERNETES


def _of_director(
    snapshot: Snapshot, interface: str, on_link: list[str], settings: tuple[int, int]
) -> Verdicts:
    """Judge a director that serves as well: it must be silent only while another one answers."""
    mover = address_mover(snapshot)
    leaks = tuple(_loud(snapshot, interface, on_link, settings))
    if mover or not leaks:
        yield from leaks
    elif mover is None:
        yield inconclusive(
            "the running processes are unknown, so this director may be the one that must answer "
            f"ARP for {listed(on_link)}"
        )


def _loud(
    snapshot: Snapshot, interface: str, on_link: list[str], settings: tuple[int, int]
) -> Verdicts:
    ignore, announce = settings
    leaked = [vip for vip in on_link if not _silent(snapshot, vip, ignore)]
    if leaked:
        message = (
            f"{interface} answers ARP for {listed(leaked)}, because arp_ignore is {ignore} and "
            "must be 1"
        )
    elif announce < _ANNOUNCE_BEST and ignore != _SILENT_FOR_ALL:
        message = (
            f"{interface} announces {listed(on_link)}, because arp_announce is {announce} and "
            "must be 2"
        )
    else:
        return
    on_lo = snapshot.sysctls.conf("lo", "arp_ignore") if snapshot.sysctls else None
    if on_lo:
        message += f"; arp_ignore = {on_lo} on lo has no effect"
    yield _finding(
        interface,
        message,
        {
            "vips": leaked or on_link,
            "arp_ignore": ignore,
            "arp_announce": announce,
            "arp_ignore_lo": on_lo,
        },
        (*_strict(snapshot), _hide(snapshot)),
    )


def _strict(snapshot: Snapshot) -> tuple[Fix, ...]:
    if owner(snapshot) is not Owner.KUBE_PROXY:
        return ()
    title = (
        "Set ipvs.strictARP to true in kube-proxy's configuration and restart kube-proxy, which "
        "then sets arp_ignore and arp_announce on every node"
    )
    return (Fix("strict-arp", title, Risk.SAFE),)


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


def _move(snapshot: Snapshot, address: InterfaceAddress, interface: str) -> Fix:
    rows = (
        *_hide(snapshot).commands,
        ("ip", "addr", "del", f"{address.address}/{address.prefix}", "dev", interface),
        ("ip", "addr", "add", f"{address.address}/32", "dev", "lo"),
    )
    return Fix(
        "move-vip-to-loopback",
        "Move the virtual address to loopback, after arp_ignore and arp_announce are set",
        Risk.DISRUPTIVE,
        tuple(row if isinstance(row, str) else shlex.join(row) for row in rows),
    )


def _hide(snapshot: Snapshot) -> Fix:
    title = "Answer ARP only on the interface that holds the address"
    return sysctl(snapshot, "hide-vip-from-arp", title, _HIDE)


def _effective(snapshot: Snapshot, interface: str, name: str) -> int | None:
    return snapshot.sysctls.effective(interface, name) if snapshot.sysctls else None


def _silent(snapshot: Snapshot, vip: str, ignore: int) -> bool:
    scopes = {a.scope for a in snapshot.interface_addresses or () if a.address == vip}
    return ignore in _SILENT or (ignore == _SILENT_FOR_SCOPE_HOST and scopes == {"host"})


def _shares_link(snapshot: Snapshot, vip: str, own: tuple[InterfaceAddress, ...]) -> bool | None:
    """Whether other hosts on the link may send ARP requests for *vip*; None if unknown."""
    networks = [network(address) for address in own]
    if any(IPv4Address(vip) in near for near in networks):
        return True
    directors = snapshot.place.director_addresses if snapshot.place else frozenset()
    near = [a for a in directors if ":" not in a and any(IPv4Address(a) in n for n in networks)]
    return bool(near) if directors else None


def _filtered(snapshot: Snapshot) -> str | None:
    """Return why a filter may drop ARP replies; None if there is no such filter."""
    rules = snapshot.rulesets
    if rules is None or rules.nft is None or rules.arptables is None:
        return "the rules of arptables or nft are unknown, and may drop ARP replies"
    if any(row.startswith(("table arp", "table netdev", "table bridge")) for row in rules.nft):
        return "an nft ruleset filters ARP, and may drop ARP replies"
    if any(row.startswith("-A") for row in rules.arptables):
        return "arptables filters ARP, and may drop ARP replies"
    if policy_routed(snapshot) and _rule_names_vip(snapshot):
        return "an ip rule names the virtual address, and may prevent ARP replies"
    return None


def _rule_names_vip(snapshot: Snapshot) -> bool:
    rows = (snapshot.rulesets.routing if snapshot.rulesets else None) or ()
    addresses = frozenset(vips(snapshot))
    return any(not addresses.isdisjoint(row.split()) for row in rows)
