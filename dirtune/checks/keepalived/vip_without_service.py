from collections.abc import Iterator

from dirtune.checks import Finding, Role, Severity, Verdicts, check
from dirtune.checks.keepalived import WITHOUT, configured
from dirtune.keepalived.model import Conf
from dirtune.lvs import keepalived_conf
from dirtune.lvs.model import Table
from dirtune.snapshot import Snapshot


@check(
    "keepalived/vip-without-service", severity=Severity.MEDIUM, trust="B", roles=(Role.DIRECTOR,)
)
def vip_without_service(snapshot: Snapshot, keepalived: Conf) -> Verdicts:
    """A virtual address has no service, or a service has no virtual address.

    ## What it does
    The check compares the addresses of the vrrp_instances of keepalived.conf(5) with those of its
    virtual servers. A service whose address is in no instance, and not on this host either, is
    `medium`. An address without a service is `info`, and is reported only if there is no
    service with a firewall mark and none by NAT, because NAT needs an address that real servers
    use as their gateway. A configuration without vrrp_instance is not reported.

    ## Why it matters
    Clients cannot reach a service whose address no director has. An address without a service
    moves with the others, but connections to it end on the director.

    ## Remediation
    Add the address to `virtual_ipaddress`, or the virtual_server for the address.

    ## References
    - keepalived.conf(5), `virtual_ipaddress`
    """
    if not configured(keepalived):
        yield WITHOUT
        return
    held = {address for instance in keepalived.instances for address in instance.addresses}
    if keepalived.instances:
        table = keepalived_conf.derive(keepalived).table
        yield from _services(snapshot, table, held)
        yield from _addresses(table, held)


def _services(snapshot: Snapshot, table: Table, held: set[str]) -> Iterator[Finding]:
    reached = held | (snapshot.addresses or frozenset())
    missing = [s for s in table.services if s.address and s.address not in reached]
    if missing:
        yield Finding(
            missing[0].name,
            Severity.MEDIUM,
            f"No vrrp_instance has the address of {missing[0].name}, and this host lacks it too",
            {"address": missing[0].address},
            also=tuple(service.name for service in missing[1:]),
        )


def _addresses(table: Table, held: set[str]) -> Iterator[Finding]:
    served = {service.address for service in table.services}
    methods = {real.forwarding for service in table.services for real in service.destinations}
    unused = sorted(held - served)
    if unused and "" not in served and "nat" not in methods and served:
        yield Finding(
            unused[0],
            Severity.INFO,
            f"No virtual_server has the virtual address {unused[0]}",
            {"address": unused[0]},
            also=tuple(unused[1:]),
        )
