from ipaddress import IPv4Address

from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive, not_applicable
from dirtune.checks.host_roles import roles
from dirtune.checks.ipvs import counted
from dirtune.checks.net import address_mover
from dirtune.checks.realserver import policy_routed
from dirtune.checks.remedies import commands
from dirtune.checks.together import few
from dirtune.collect.ip_vs import Service
from dirtune.snapshot import Snapshot

_BACKUP = "this host holds none of its services' addresses, because it is a backup according to {}"


@check(
    "net/vip-not-local",
    severity=Severity.CRITICAL,
    trust="A",
    needs=("services", "addresses"),
    roles=(Role.DIRECTOR,),
)
def vip_not_local(snapshot: Snapshot) -> Verdicts:
    """A virtual address has a service but is not an address of this host.

    ## What it does
    The check reports as `critical` each service's virtual address that is neither an address of
    this host nor covered by a `local` route. It does not report services with a firewall mark,
    which have no address, and services whose packet counters rise between two samples. It does not
    report a backup director either. A host is a backup if it has none of its services' addresses,
    and a sync daemon is in state `backup` or a program that moves addresses runs (keepalived,
    ucarp, corosync, pacemaker, seesaw, kube-router).

    ## Why it matters
    IPVS receives packets in the hook LOCAL_IN, after the kernel has found that they are for this
    host. The kernel forwards or drops a packet to any other address, so it never reaches IPVS.

    ## Remediation
    Run `ip addr add VIP/32 dev lo`. For the next boot, configure the address in the program that
    manages the service, such as `virtual_ipaddress` in keepalived.

    ## Known problems
    If a program moves addresses and only some addresses are missing, the check is inconclusive,
    because another director may have them. It is also inconclusive if `ip rule` uses other tables,
    which may contain `local` routes, and for IPv6, because the check does not read `local` IPv6
    routes of whole networks.

    ## References
    - net/netfilter/ipvs/ip_vs_core.c, `ip_vs_ops4`, NF_INET_LOCAL_IN
    """
    missing = _missing(snapshot)
    if not missing:
        return
    mover = address_mover(snapshot)
    if Role.BACKUP in roles(snapshot) and (mover or _sync_backup(snapshot)):
        yield not_applicable(_BACKUP.format(mover or "the sync daemon"))
        return
    for address, services in missing.items():
        doubt = _doubt(snapshot, address, mover)
        yield (
            inconclusive(f"{address} is not on this host; {doubt}")
            if doubt
            else _finding(snapshot, address, services)
        )


def _missing(snapshot: Snapshot) -> dict[str, tuple[Service, ...]]:
    """Return the addresses that this host lacks and that get no packets, with their services."""
    found: dict[str, tuple[Service, ...]] = {}
    for service in snapshot.services or ():
        if service.address is not None and not _held(snapshot, service.address):
            found[service.address] = (*found.get(service.address, ()), service)
    reached = {a for a, all_ in found.items() if any(_packets(snapshot, s) for s in all_)}
    return {address: services for address, services in found.items() if address not in reached}


def _held(snapshot: Snapshot, address: str) -> bool:
    if address in (snapshot.addresses or ()):
        return True
    if ":" in address:
        return False
    return any(IPv4Address(address) in network for network in snapshot.local_networks or ())


def _packets(snapshot: Snapshot, service: Service) -> int | None:
    return counted(snapshot, service, "packets_in")


def _sync_backup(snapshot: Snapshot) -> bool:
    return any(d.state == "backup" for d in (snapshot.ipvs.daemons if snapshot.ipvs else ()))


def _doubt(snapshot: Snapshot, address: str, mover: str | None) -> str | None:
    """Return why the missing *address* may be intended; None if there is no reason."""
    if mover is None:
        return (
            "the running processes are unknown, so a program may move the address between "
            "directors"
        )
    if mover:
        return f"{mover} may have put the address on another director"
    if ":" in address:
        return "dirtune does not read local IPv6 routes"
    if snapshot.local_networks is None:
        return "the local routes are unknown"
    routed = policy_routed(snapshot)
    if routed is None:
        return "the routing rules are unknown"
    return "an ip rule uses routing tables that dirtune does not read" if routed else None


def _finding(snapshot: Snapshot, address: str, services: tuple[Service, ...]) -> Finding:
    names = [service.name for service in services]
    seen = [_packets(snapshot, service) for service in services]
    return Finding(
        subject=address,
        severity=Severity.CRITICAL,
        message=f"{address} is not an address of this host, so packets for its services "
        f"({few(names)}) never reach IPVS",
        evidence={"address": address, "services": names, "packets_in": seen},
        fixes=(
            commands(
                snapshot,
                "add-virtual-address",
                (
                    f"Add {address} to this host, and have the program that manages the service "
                    "add it at boot"
                ),
                (("ip", "addr", "add", f"{address}/32", "dev", "lo"),),
                what="ipvs",
            ),
        ),
    )
