from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check
from dirtune.checks.host_roles import KUBE_PROXY_INTERFACE
from dirtune.checks.together import few, listed
from dirtune.collect.ip_vs import Forward, Service
from dirtune.collect.processes import Process
from dirtune.snapshot import Snapshot

# keepalived is not here: on many nodes it only moves addresses.
_WRITERS = ("kube-vip", "kube-router", "ldirectord", "lvscare", "pybal", "seesaw_ncc")
_KUBE_PROXY = "kube-proxy"
_OF_KUBE_PROXY = frozenset({Forward.MASQ, Forward.LOCAL})


@check(
    "ipvs/two-owners",
    severity=Severity.HIGH,
    trust="A",
    roles=(Role.DIRECTOR,),
    mends=True,
)
def two_owners(
    snapshot: Snapshot, services: tuple[Service, ...], processes: tuple[Process, ...]
) -> Verdicts:
    """Two programs write the IPVS table, and kube-proxy deletes the services of the other one.

    ## What it does
    The check examines hosts on which kube-proxy runs in IPVS mode: an interface `kube-ipvs0`
    exists. It reports another program that writes services (kube-vip, kube-router, ldirectord,
    lvscare, pybal or seesaw), and services that are not kube-proxy's: those with a firewall mark,
    direct routing or a tunnel, because kube-proxy uses NAT only.

    ## Why it matters
    At each synchronisation, kube-proxy deletes the services that it does not know. The other
    program creates them again. In between, clients are refused.

    ## Remediation
    Name the addresses of the other program's services in `--ipvs-exclude-cidrs` of kube-proxy
    (`ipvs.excludeCIDRs`), or let kube-proxy use nftables or iptables, or turn the balancing of the
    other program off.

    ## Known problems
    The check does not read kube-proxy's configuration, so it also reports a host whose addresses
    are excluded already. It does not report keepalived without a service of its own.

    ## References
    - https://github.com/kube-vip/kube-vip/issues/745
    - https://kubernetes.io/docs/reference/command-line-tools-reference/kube-proxy/
    """
    names = {process.name for process in processes if not process.kernel}
    if _KUBE_PROXY not in names or not _ipvs_mode(snapshot):
        return
    others = tuple(name for name in _WRITERS if name in names)
    foreign = tuple(s.name for s in services if _foreign(s))
    if not others and not foreign:
        return
    owners = [_KUBE_PROXY, *others] if others else [_KUBE_PROXY, "another program"]
    what = f"; {few(foreign)} cannot be kube-proxy's" if foreign else ""
    exclude = Fix(
        "exclude-addresses",
        "Name the other program's addresses in --ipvs-exclude-cidrs of kube-proxy",
        Risk.SAFE,
    )
    yield Finding(
        subject="IPVS table",
        severity=Severity.HIGH if foreign else Severity.MEDIUM,
        message=f"{listed(owners)} write one IPVS table, and kube-proxy deletes services that it "
        f"does not know{what}",
        evidence={"owners": owners, "foreign_services": list(foreign)},
        fixes=(exclude,),
    )


def _ipvs_mode(snapshot: Snapshot) -> bool:
    held = {i.name for i in snapshot.interfaces or ()}
    held |= {a.interface for a in snapshot.interface_addresses or ()}
    return any(name.startswith(KUBE_PROXY_INTERFACE) for name in held)


def _foreign(service: Service) -> bool:
    methods = {d.forward for d in service.destinations}
    return service.fwmark is not None or not methods <= _OF_KUBE_PROXY
