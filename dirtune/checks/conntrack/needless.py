from collections.abc import Iterable

from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive, not_applicable
from dirtune.checks.conntrack import (
    COUNT,
    VS_CONNTRACK,
    Rules,
    exempted,
    may_touch,
    number,
    rules,
    stateful,
    stop_tracking,
)
from dirtune.checks.conntrack.table_full import lacks_room
from dirtune.checks.ipvs import forwarding, per_second, running, vips
from dirtune.snapshot import Snapshot

_MANY_CPS, _MANY_PPS = 20_000, 200_000  # per second; estimates, not calibrated
_NEEDS_IT = ("kube-proxy", "kube-router")
_SHOWN = 5  # rules


@check(
    "conntrack/needless",
    severity=Severity.HIGH,
    trust="A",
    needs=("sysctls", "services"),
    roles=("director",),
)
def needless(snapshot: Snapshot) -> Verdicts:
    """Connection tracking works on virtual services' packets for nothing.

    ## What it does
    Reports `net.ipv4.vs.conntrack=1` where tracking is at work and no rule that needs it can
    match packets to a virtual address; and `net.ipv4.vs.conntrack=0` where another rule hooks
    tracking in for all packets and no `notrack` rule takes out those to the virtual addresses.
    It is `high` at 20,000 new connections/s or 200,000 packets/s, else `medium`. Left alone are
    kube-proxy and kube-router, which masquerade by it, IPVS's FTP helper, a firewall that judges
    packets to virtual addresses by state, and a module that is loaded but tracks nothing.

    ## Why it matters
    With 1 every connection has a second hash entry of 256 bytes and a second timer. With 0 the
    cost does not show in `nf_conntrack_count`: tracking makes an entry for every packet before
    IPVS sees it, and IPVS throws it away again.

    ## Remediation
    `net.ipv4.vs.conntrack=0`, and notrack rules for the virtual addresses and, with Masq, for
    the real servers' replies. Stateful rules then no longer match these packets: read the rules
    first, and apply with a timed way back.

    ## Known problems
    A rule is taken to match virtual addresses unless it names another destination or loopback;
    jumps between chains, sets and marks are not followed. ip6tables of the old kind is not read.
    Which hooks are registered is not asked of the kernel.

    ## References
    - include/net/ip_vs.h, `ip_vs_notrack()`
    - Documentation/networking/ipvs-sysctl.rst, conntrack
    """
    tracked = number(snapshot, VS_CONNTRACK)
    if tracked is None:
        yield not_applicable("IPVS of this kernel does not work with connection tracking")
        return
    loaded = snapshot.modules.loaded if snapshot.modules else frozenset()
    wanted = running(snapshot, _NEEDS_IT)
    if wanted or "ip_vs_ftp" in loaded:
        return
    found = rules(snapshot)
    if found is None:
        yield inconclusive("the packet filter's rules are not known")
    elif wanted is None:
        yield inconclusive("whether kube-proxy runs is not known: no processes in the record")
    elif tracked:
        yield from _second_entry(snapshot, found)
    else:
        yield from _thrown_away(snapshot, found)


def _second_entry(snapshot: Snapshot, found: Rules) -> Verdicts:
    if any(may_touch(row, vips(snapshot)) for row in found.tracking):
        return
    count = number(snapshot, COUNT)
    if count is None and not found.tracking:
        yield inconclusive("whether anything is tracked is not known: no nf_conntrack_count")
    elif count or found.tracking:
        said = "every connection is tracked a second time, and no rule asks for it"
        yield _finding(snapshot, said, found.tracking)


def _thrown_away(snapshot: Snapshot, found: Rules) -> Verdicts:
    exposed = [address for address in sorted(vips(snapshot)) if not exempted(found, address)]
    if not found.tracking or not exposed or stateful(found, vips(snapshot)):
        return
    rows = len(found.tracking)
    said = f"{rows} rule{'s' * (rows > 1)} hook tracking in for packets that IPVS takes out again"
    yield _finding(snapshot, said, found.tracking)


def _finding(snapshot: Snapshot, said: str, rows: Iterable[str]) -> Finding:
    speeds = {
        "new_connections_per_second": per_second(snapshot, "connections"),
        "packets_in_per_second": per_second(snapshot, "packets_in"),
    }
    cps, pps = (speed or 0 for speed in speeds.values())
    return Finding(
        subject="net.ipv4.vs.conntrack",
        severity=Severity.HIGH if cps >= _MANY_CPS or pps >= _MANY_PPS else Severity.MEDIUM,
        message=said,
        evidence={
            "vs_conntrack": number(snapshot, VS_CONNTRACK),
            "tracking_rules": list(rows)[:_SHOWN],
            "nf_conntrack_count": number(snapshot, COUNT),
            "forwarding": sorted(forwarding(snapshot)),
            **{name: speed and round(speed, 1) for name, speed in speeds.items()},
        },
        fixes=(stop_tracking(snapshot),),
        cause="conntrack/table-full" if lacks_room(snapshot) else None,
    )
