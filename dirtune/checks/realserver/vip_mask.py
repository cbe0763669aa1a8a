from ipaddress import IPv4Address, IPv4Network, ip_address

from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive
from dirtune.checks.realserver import network
from dirtune.checks.remedies import commands
from dirtune.collect.addresses import InterfaceAddress
from dirtune.snapshot import Snapshot


@check(
    "realserver/vip-mask",
    severity=Severity.HIGH,
    trust="A",
    needs=("interface_addresses",),
    roles=("real-server",),
)
def vip_mask(snapshot: Snapshot) -> Verdicts:
    """A virtual address stands on loopback with a mask that takes in its whole network.

    ## What it does
    Reports an address on `lo`, 127.0.0.0/8 and ::1 excepted, whose prefix is shorter than 32
    bits, or 128 for IPv6. An IPv4 network that the local table does not hold as a whole
    (`noprefixroute`) is left alone, and so are other interfaces, where a mask makes nothing local.

    ## Why it matters
    On loopback a /24 makes every address of the network this host's own: it answers itself in
    place of its neighbours, the director and the gateway among them.

    ## Remediation
    Add the address with /32 before the old one is deleted.

    ## Known problems
    Some servers take a whole network on purpose that way; `ip route add local NETWORK dev lo`
    says so better, and is not reported.

    ## References
    - LVS-HOWTO, netmask for the VIP
    """
    for each in snapshot.interface_addresses or ():
        if each.interface != "lo" or ip_address(each.address).is_loopback:
            continue
        whole = 128 if ":" in each.address else 32
        if each.prefix >= whole or _unheld(snapshot, each):
            continue
        if whole == 32 and snapshot.local_networks is None:
            yield inconclusive("which networks are local is not known")
        else:
            yield _finding(snapshot, each, whole)


def _unheld(snapshot: Snapshot, each: InterfaceAddress) -> bool:
    known = snapshot.local_networks
    return ":" not in each.address and known is not None and network(each) not in known


def _finding(snapshot: Snapshot, each: InterfaceAddress, whole: int) -> Finding:
    swallowed = [] if whole == 128 else _swallowed(snapshot, network(each))
    also = f", {', '.join(swallowed)} among them" if swallowed else ""
    return Finding(
        f"{each.address}/{each.prefix} on lo",
        Severity.HIGH,
        f"makes {2 ** (whole - each.prefix):,} addresses this host's own{also}",
        {"address": each.address, "prefix": each.prefix, "swallowed": swallowed},
        (
            commands(
                snapshot,
                "narrow-vip-mask",
                f"Give the address the prefix /{whole}",
                (
                    ("ip", "addr", "add", f"{each.address}/{whole}", "dev", "lo"),
                    ("ip", "addr", "del", f"{each.address}/{each.prefix}", "dev", "lo"),
                ),
            ),
        ),
    )


def _swallowed(snapshot: Snapshot, taken: IPv4Network) -> list[str]:
    """Return gateways and the director's addresses that the network takes in."""
    gateways = {route.gateway for route in snapshot.routes or () if route.gateway}
    director = snapshot.place.director_addresses if snapshot.place else frozenset()
    known = {a for a in gateways | director if ":" not in a and IPv4Address(a) in taken}
    return sorted(known, key=IPv4Address)
