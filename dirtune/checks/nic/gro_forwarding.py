import re

from dirtune.analyse import rates
from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Role,
    Severity,
    Verdicts,
    check,
    inconclusive,
    uncounted,
)
from dirtune.checks.counters import card
from dirtune.checks.ipvs import forwarding
from dirtune.checks.nic import ports
from dirtune.checks.remedies import commands
from dirtune.collect.ip_vs import Forward
from dirtune.collect.net import Interface
from dirtune.settings import FEATURES, CardValues
from dirtune.snapshot import Snapshot

_FORWARDS_MERGED = (3,)
_CHECKS_MERGED = (7, 1)
_FRAGMENTS, _UNREACHABLE = "Ip.FragCreates", "Icmp.OutDestUnreachs"
_PMTU_DISC = "net/ipv4/vs/pmtu_disc"
_PER_SECOND = 10.0  # an estimate, not calibrated


@check(
    "nic/gro-forwarding",
    severity=Severity.HIGH,
    trust="A",
    needs=("services", "interfaces", "ethtool", "kernel"),
    roles=(Role.DIRECTOR,),
    mends=True,
)
def gro_forwarding(snapshot: Snapshot) -> Verdicts:
    """GRO merges packets that IPVS of this kernel cannot forward correctly.

    ## What it does
    The check reports NICs with `rx-gro` on in two cases. First, on a kernel 2.6 that sent 10 ICMP
    unreachable messages per second or more between two samples. Second, on a kernel before 7.1
    that forwards through tunnels with `net.ipv4.vs.pmtu_disc=1`, and made 10 fragments per second
    or more (`FragCreates`).

    ## Why it matters
    IPVS of old kernels compares the size of a merged packet with the MTU, drops the packet, and
    sends the ICMP error "fragmentation needed": transfers crawl, although small requests work.
    Before 7.1, IPVS does not compare the size of merged packets at all. With the tunnel's header
    each of their packets is too large, and is fragmented after it was encapsulated; clients never
    learn the smaller MTU.

    ## Remediation
    Run `ethtool -K IF gro off`, or use a kernel in which this is corrected. With tunnels, also let
    the real servers announce a smaller MSS (`realserver/tun-mss`).

    ## Known problems
    Distributions have put both corrections into older kernels: Red Hat's 2.6.18-308.18.1.el5 and
    2.6.32-642.6.2.el6 have the first, and stable kernels since May 2026 (5.10, 6.1, 6.6 and
    others) the second. So the check asks for messages and fragments, which may have other causes.

    ## References
    - net/netfilter/ipvs/ip_vs_xmit.c, `ensure_mtu_is_adequate()`, `ip_vs_exceeds_mtu()`
    - Linux commit 67bf42cae41d, "ipvs: fix MTU check for GSO packets in tunnel mode"
    - Red Hat bug 854067, "ipvs: allow transmit of GRO aggregated skbs"
    """
    release = _release(snapshot)
    if release is None:
        yield inconclusive("the kernel version is unknown")
    elif release < _FORWARDS_MERGED:
        yield from _judged(
            snapshot, _UNREACHABLE, "IPVS drops packets that GRO merged", "messages"
        )
    elif release < _CHECKS_MERGED and _may_fragment(snapshot):
        what = "packets that GRO merged are fragmented after encapsulation"
        yield from _judged(snapshot, _FRAGMENTS, what, "fragments")


def _may_fragment(snapshot: Snapshot) -> bool:
    """Whether IPVS encapsulates packets, and fragments none of them on purpose."""
    return Forward.TUNNEL in forwarding(snapshot) and snapshot.sysctl(_PMTU_DISC) != 0


def _release(snapshot: Snapshot) -> tuple[int, ...] | None:
    release = (snapshot.kernel and snapshot.kernel.osrelease) or ""
    found = re.match(r"\d{1,4}(?:\.\d{1,4}){1,2}", release)
    return tuple(map(int, found[0].split("."))) if found else None


def _judged(snapshot: Snapshot, counter: str, what: str, unit: str) -> Verdicts:
    ethtool = ((p, (card(snapshot, p.name).features or {}).get("rx-gro")) for p in ports(snapshot))
    merging = [port for port, gro in ethtool if gro is not None and gro.on]
    if not merging:
        return
    before = (snapshot.earlier.snmp if snapshot.earlier else None) or {}
    rise = rates.increase(before.get(counter), (snapshot.snmp or {}).get(counter))
    if rise is None or not snapshot.seconds:
        yield uncounted(snapshot, f"{counter} was not counted in two samples")
        return
    per_second = rise / snapshot.seconds
    if per_second >= _PER_SECOND:
        reason = f"{what} ({per_second:,.0f} {unit}/s), unless this kernel has the correction"
        for port in merging:
            yield _finding(snapshot, port, reason, {counter: round(per_second, 1)})


def _finding(
    snapshot: Snapshot, port: Interface, reason: str, per_second: dict[str, float]
) -> Finding:
    row = CardValues(port.name, FEATURES, {"rx-gro": 0})
    off = commands(snapshot, "turn-gro-off", f"Turn GRO off on {port.name}", (row,))
    newer = Fix("newer-kernel", "Use a kernel in which this fault is corrected", Risk.REBOOT)
    release = snapshot.kernel.osrelease if snapshot.kernel else None
    return Finding(
        subject=port.name,
        severity=Severity.HIGH,
        message=f"GRO is on on {port.name}, and {reason}",
        evidence={"rx-gro": True, "kernel": release, "per_second": per_second},
        fixes=(off, newer),
    )
