from ipaddress import IPv4Address, IPv4Network, ip_address

from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.realserver import network
from dirtune.checks.remedies import commands
from dirtune.checks.together import listed
from dirtune.collect.addresses import InterfaceAddress
from dirtune.snapshot import Snapshot


@check(
    "realserver/vip-mask",
    severity=Severity.HIGH,
    trust="A",
    roles=(Role.REAL_SERVER,),
)
def vip_mask(snapshot: Snapshot, interface_addresses: tuple[InterfaceAddress, ...]) -> Verdicts:
    """A virtual address on loopback has a mask that covers other addresses.

    ## What it does
    The check reports an address on `lo`, other than 127.0.0.0/8 and ::1, whose prefix is shorter
    than /32 (IPv4) or /128 (IPv6). It does not report an IPv4 network that is not completely in
    the local table (`noprefixroute`). On other interfaces, a mask makes no further addresses
    local.

    ## Why it matters
    On loopback, a /24 makes every address of the network local to this host. The host then cannot
    reach its neighbours, including the director and the gateway, but answers in their place.

    ## Remediation
    Add the address with /32 (/128 for IPv6), then delete the address with the shorter prefix.

    ## Known problems
    Some servers make a complete network local on purpose. Use `ip route add local NETWORK dev lo`
    for this purpose, which is not reported.

    ## References
    - LVS-HOWTO, netmask for the VIP
    """
    for held in interface_addresses:
        if held.interface != "lo" or ip_address(held.address).is_loopback:
            continue
        whole = 128 if ":" in held.address else 32
        if held.prefix >= whole or _unheld(snapshot, held):
            continue
        if whole == 32 and snapshot.local_networks is None:
            yield inconclusive("the local networks of this host are unknown")
        else:
            yield _finding(snapshot, held, whole)


def _unheld(snapshot: Snapshot, held: InterfaceAddress) -> bool:
    known = snapshot.local_networks
    return ":" not in held.address and known is not None and network(held) not in known


def _finding(snapshot: Snapshot, held: InterfaceAddress, whole: int) -> Finding:
    swallowed = [] if whole == 128 else _swallowed(snapshot, network(held))
    others = f", including {listed(swallowed)}" if swallowed else ""
    return Finding(
        f"{held.address}/{held.prefix} on lo",
        Severity.HIGH,
        f"{held.address}/{held.prefix} on lo makes {2 ** (whole - held.prefix):,} addresses local "
        f"to this host{others}",
        {"address": held.address, "prefix": held.prefix, "swallowed": swallowed},
        (
            commands(
                snapshot,
                "narrow-vip-mask",
                f"Give {held.address} the prefix /{whole}",
                (
                    ("ip", "addr", "add", f"{held.address}/{whole}", "dev", "lo"),
                    ("ip", "addr", "del", f"{held.address}/{held.prefix}", "dev", "lo"),
                ),
            ),
        ),
    )


def _swallowed(snapshot: Snapshot, taken: IPv4Network) -> list[str]:
    """Return the addresses of gateways and directors that are in the network *taken*."""
    gateways = {route.gateway for route in snapshot.routes or () if route.gateway}
    director = snapshot.place.director_addresses if snapshot.place else frozenset()
    known = {a for a in gateways | director if ":" not in a and IPv4Address(a) in taken}
    return sorted(known, key=IPv4Address)
