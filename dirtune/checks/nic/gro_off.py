import re

from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.counters import card
from dirtune.checks.ipvs import forwarding
from dirtune.checks.nic import mean_bytes, ports
from dirtune.checks.remedies import gro_on
from dirtune.collect.ip_vs import Forward
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

_BULK_BYTES = 700
_MODERN = 4  # major version of the kernel


@check(
    "nic/gro-off",
    severity=Severity.LOW,
    trust="B",
    needs=("interfaces", "ethtool", "kernel"),
    roles=(Role.DIRECTOR,),
    traffic=True,
)
def gro_off(snapshot: Snapshot) -> Verdicts:
    """GRO is off on a director that forwards long packets.

    ## What it does
    The check reports a NIC with `rx-gro` off whose received packets had 700 bytes or more on
    average between the samples. GRO cannot merge short packets. The finding is `medium` if IPVS
    forwards with NAT, because the replies then also pass the director, else `low`. Kernels before
    4.0 are not reported, because their IPVS may not handle merged packets.

    ## Why it matters
    IPVS forwards merged packets if their original packets fit the MTU, so the old advice to turn
    GRO off for LVS is obsolete. Without GRO, the kernel looks up and forwards each packet of a
    transfer separately.

    ## Remediation
    Run `ethtool -K IF gro on`, which takes effect immediately. `GenericReceiveOffload=yes` in a
    systemd.link(5) file keeps it.

    ## Known problems
    GRO does not affect packets that an XDP program redirects, and the check does not see such
    programs. A vendor's kernel with an old version number may have newer code.

    ## References
    - net/netfilter/ipvs/ip_vs_xmit.c, `ip_vs_exceeds_mtu()`
    """
    major = _major(snapshot)
    if major is None:
        yield inconclusive("the kernel version is unknown")
    elif major >= _MODERN:
        for port in ports(snapshot):
            yield from _judged(snapshot, port)


def _major(snapshot: Snapshot) -> int | None:
    release = (snapshot.kernel and snapshot.kernel.osrelease) or ""
    found = re.match(r"(\d+)\.\d+", release)
    return int(found[1]) if found else None


def _judged(snapshot: Snapshot, port: Interface) -> Verdicts:
    gro = (card(snapshot, port.name).features or {}).get("rx-gro")
    if gro is None:
        yield inconclusive(f"the offloads of {port.name} are unknown")
        return
    if gro.on:
        return
    size = mean_bytes(snapshot, port)
    if size is None:
        yield inconclusive(f"the average packet size of {port.name} is unknown")
    elif size >= _BULK_BYTES:
        nat = Forward.MASQ in forwarding(snapshot)
        yield Finding(
            subject=port.name,
            severity=Severity.MEDIUM if nat else Severity.LOW,
            message=f"GRO is off on {port.name}, which receives packets of {size:.0f} bytes on "
            "average",
            evidence={"rx-gro": False, "mean_received_bytes": round(size), "nat": nat},
            fixes=(gro_on(snapshot, port.name),),
        )
