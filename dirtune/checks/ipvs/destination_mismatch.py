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
)
from dirtune.checks.ipvs import destinations
from dirtune.checks.table_fixes import Part, in_table
from dirtune.collect.ip_vs import Destination, Forward, Service
from dirtune.snapshot import Snapshot

_KEEPS_PORT = frozenset({Forward.ROUTE, Forward.TUNNEL})


@check(
    "ipvs/destination-mismatch",
    severity=Severity.HIGH,
    trust="A",
    needs=("services",),
    roles=(Role.DIRECTOR,),
    mends=True,
)
def destination_mismatch(snapshot: Snapshot) -> Verdicts:
    """A destination's port or forwarding method does not fit the packets that it gets.

    ## What it does
    The check reports two kinds of destinations. First, a destination with direct routing or a
    tunnel whose port is not the service's port: these methods do not change the port, so the
    packets arrive at the service's port. Second, a destination with the method `Local` whose
    address is not an address of this host: IPVS delivers its packets to this host all the same.
    Services with a firewall mark or with port 0 have no port to compare.

    ## Why it matters
    The real server refuses the connections if no program listens on the service's port. This host
    refuses the connections of a `Local` destination, or answers them in another host's place.

    ## Remediation
    Give the destination the service's port and let the real server listen on it, or use NAT, which
    changes the port. Delete a `Local` destination and add it again: IPVS chose the method because
    the address was on this host when the destination was added.

    ## Known problems
    A rule of the real server may redirect the service's port to the destination's port.

    ## References
    - net/netfilter/ipvs/ip_vs_ctl.c, `__ip_vs_update_dest()`
    - net/netfilter/ipvs/ip_vs_xmit.c, `ip_vs_dr_xmit()`
    """
    for service, server in destinations(snapshot):
        name = f"{server.address}:{server.port}"
        if server.forward == Forward.LOCAL and not _here(snapshot, server.address):
            yield _elsewhere(snapshot, service, name)
        elif server.forward in _KEEPS_PORT and _other_port(service, server):
            yield _finding(
                service,
                f"{name} gets packets for port {service.port}, because {server.forward} does not "
                f"change the port of {service.name}",
                in_table(
                    snapshot,
                    "use-service-port",
                    "Let the real server listen on the service's port and give the destination "
                    "that port, or use NAT",
                    Part.DESTINATIONS,
                    risk=Risk.DISRUPTIVE,
                ),
            )


def _here(snapshot: Snapshot, address: str) -> bool:
    if address in (snapshot.addresses or ()):
        return True
    networks = () if ":" in address else snapshot.local_networks or ()
    return any(IPv4Address(address) in network for network in networks)


def _other_port(service: Service, server: Destination) -> bool:
    return bool(service.port) and server.port not in {0, service.port} and server.weight > 0


def _elsewhere(snapshot: Snapshot, service: Service, name: str) -> Finding | Undecided:
    if snapshot.addresses is None:
        return inconclusive("the addresses of this host are unknown")
    return _finding(
        service,
        f"{name} of {service.name} has the method Local, so this host itself gets its packets, "
        "but the address is not on this host",
        in_table(
            snapshot,
            "add-destination-again",
            "Delete the destination and add it again, so that IPVS chooses its method anew",
            Part.DESTINATIONS,
            risk=Risk.DISRUPTIVE,
        ),
    )


def _finding(service: Service, message: str, fix: Fix) -> Finding:
    return Finding(
        subject=service.name,
        severity=Severity.HIGH,
        message=message,
        evidence={"service": service.name, "port": service.port},
        fixes=(fix,),
    )
