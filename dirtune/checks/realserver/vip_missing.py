from ipaddress import IPv4Address

from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive, not_applicable
from dirtune.checks.realserver import UNPLANNED, forward, rules_with, tunnels
from dirtune.checks.remedies import commands
from dirtune.collect.ip_vs import Forward
from dirtune.snapshot import Snapshot

_REDIRECT = frozenset({"TPROXY", "REDIRECT", "DNAT", "tproxy", "redirect", "dnat"})
_MODULES = frozenset(
    {"ip_tables", "nf_nat", "nf_tables", "nf_tproxy_ipv4", "nf_tproxy_ipv6", "xt_TPROXY"}
)


@check(
    "realserver/vip-missing",
    severity=Severity.CRITICAL,
    trust="A",
    needs=("addresses",),
    roles=(Role.REAL_SERVER,),
)
def vip_missing(snapshot: Snapshot) -> Verdicts:
    """A real server lacks the virtual address of its service.

    ## What it does
    The check examines real servers that the director reaches by direct routing or through a
    tunnel. It reports each virtual address of the server's services that is neither an address of
    the host nor in a network that is completely local to the host. If rules may redirect or proxy
    packets, or if the rules could not be read, the check is inconclusive.

    ## Why it matters
    Without the address, packets for it are not for this host: the kernel drops them, or forwards
    them back, which makes a loop.

    ## Remediation
    First set `arp_ignore` and `arp_announce`, then add the address with /32 to loopback. For a
    tunnel, add it to the tunnel interface.

    ## References
    - LVS-HOWTO, LVS-DR
    """
    place = snapshot.place
    if place is None or place.forward is None or not place.vips:
        yield UNPLANNED
        return
    if forward(snapshot) not in {"Route", "Tunnel"}:
        yield not_applicable(
            "the director reaches this host by NAT, so this host needs no virtual address"
        )
        return
    missing = [vip for vip in place.vips if not _held(snapshot, vip)]
    redirected = rules_with(snapshot, _REDIRECT, _MODULES) if missing else False
    if redirected is None:
        yield inconclusive(
            f"{missing[0]} is not on this host, and rules that may redirect packets could not "
            "be read"
        )
    elif redirected:
        yield inconclusive(
            f"{missing[0]} is not on this host, but packet filter rules redirect packets and may "
            "replace it"
        )
    else:
        yield from (_finding(snapshot, vip) for vip in missing)


def _held(snapshot: Snapshot, vip: str) -> bool:
    networks = snapshot.local_networks or ()
    return vip in (snapshot.addresses or ()) or (
        ":" not in vip and any(IPv4Address(vip) in network for network in networks)
    )


def _finding(snapshot: Snapshot, vip: str) -> Finding:
    place, length = snapshot.place, 128 if ":" in vip else 32
    tunnel = place is not None and place.forward == Forward.TUNNEL
    names = [i.name for i in tunnels(snapshot)]
    device = (names or ["tunl0"])[0] if tunnel else "lo"
    return Finding(
        vip,
        Severity.CRITICAL,
        f"{vip} is not on this host, but the director forwards its packets here by "
        f"{place.forward if place else '?'}",
        {"vip": vip, "forward": place.forward if place else None},
        (
            commands(
                snapshot,
                "add-vip",
                "Add the virtual address, after arp_ignore and arp_announce are set",
                (("ip", "addr", "add", f"{vip}/{length}", "dev", device),),
            ),
        ),
    )
