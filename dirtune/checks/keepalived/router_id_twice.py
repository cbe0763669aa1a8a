from collections import defaultdict

from dirtune.checks import Finding, Role, Severity, Verdicts, check
from dirtune.checks.keepalived import WITHOUT, configured
from dirtune.checks.together import listed
from dirtune.keepalived.model import Conf, VrrpInstance
from dirtune.snapshot import Snapshot


@check("keepalived/router-id-twice", severity=Severity.HIGH, trust="A", roles=(Role.DIRECTOR,))
def router_id_twice(_: Snapshot, keepalived: Conf) -> Verdicts:
    """Two VRRP instances on one interface have the same virtual_router_id.

    ## What it does
    The check reports vrrp_instances of keepalived.conf(5) that have the same
    `virtual_router_id`, the same `interface` and addresses of the same IP version. It does not
    report instances with unicast peers, because their messages reach only these peers.

    ## Why it matters
    Routers with the same id and the same interface are one virtual router. Each instance takes the
    other's messages for those of a peer with other addresses, so both change their state again and
    again, or both are master.

    ## Remediation
    Give each instance an id of its own on both directors, and reload keepalived.

    ## Known problems
    The check does not know the ids of other hosts on the network, such as a firewall's.

    ## References
    - RFC 5798, section 5.2.3
    - keepalived.conf(5), `virtual_router_id`
    """
    if not configured(keepalived):
        yield WITHOUT
        return
    same: dict[tuple[str, int, bool], list[VrrpInstance]] = defaultdict(list)
    for instance in keepalived.instances:
        if instance.router_id is not None and not instance.peers:
            six = any(":" in address for address in instance.addresses[:1])
            same[instance.interface, instance.router_id, six].append(instance)
    for (interface, router_id, _six), instances in same.items():
        if len(instances) > 1:
            names = [instance.name for instance in instances]
            yield Finding(
                interface or "vrrp",
                Severity.HIGH,
                f"The vrrp_instances {listed(names)} on {interface or 'one interface'} have "
                f"the same virtual_router_id {router_id}",
                {"router_id": router_id, "instances": names},
            )
