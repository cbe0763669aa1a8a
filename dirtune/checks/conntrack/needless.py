from collections.abc import Iterable

from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive, not_applicable
from dirtune.checks.conntrack import (
    COUNT,
    VS_CONNTRACK,
    Rules,
    exempted,
    may_touch,
    rules,
    stateful,
    stop_tracking,
)
from dirtune.checks.conntrack.table_full import lacks_room
from dirtune.checks.ipvs import forwarding, per_second, running, vips
from dirtune.checks.owners import TRACKING, owner
from dirtune.snapshot import Snapshot

_MANY_CPS, _MANY_PPS = 20_000, 200_000  # per second; estimates, not calibrated
_NEEDS_IT = ("kube-proxy", "kube-router")
_SHOWN = 5  # rules


@check(
    "conntrack/needless",
    severity=Severity.HIGH,
    trust="A",
    needs=("sysctls", "services"),
    roles=(Role.DIRECTOR,),
)
def needless(snapshot: Snapshot) -> Verdicts:
    """Packets of virtual services are tracked although no rule needs it.

    ## What it does
    The check reports `net.ipv4.vs.conntrack=1` if packets are tracked, but no rule that needs
    tracking can match packets to a virtual address. It also reports `net.ipv4.vs.conntrack=0` if a
    rule turns tracking on for all packets, and no `notrack` rule exempts packets to virtual
    addresses. The finding is `high` at 20,000 new connections/s or 200,000 packets/s, else
    `medium`. The check does not report hosts that need tracking: hosts on which kube-proxy,
    kube-router or Docker Swarm runs (all masquerade), hosts that use the FTP helper of IPVS, and
    hosts whose firewall judges packets to virtual addresses by the connection's state. Nor does it
    report a module that is loaded but tracks nothing.

    ## Why it matters
    If the setting is 1, every connection has a second table entry of 256 bytes and a second timer.
    If it is 0, connection tracking makes an entry for every packet before IPVS gets the packet,
    and IPVS discards the entry. `nf_conntrack_count` does not show this cost.

    ## Remediation
    Set `net.ipv4.vs.conntrack=0`. Add notrack rules for the virtual addresses and, with NAT
    (Masq), for the real servers' replies. Stateful rules then no longer match these packets: read
    the rules first, and apply the change with a timed rollback.

    ## Known problems
    The check assumes that a rule matches virtual addresses if it names neither another destination
    nor loopback. It does not evaluate jumps, sets and marks. It does not read the legacy
    ip6tables, and does not ask the kernel which hooks are registered.

    ## References
    - include/net/ip_vs.h, `ip_vs_notrack()`
    - Documentation/networking/ipvs-sysctl.rst, conntrack
    """
    tracked = snapshot.sysctl(VS_CONNTRACK)
    if tracked is None:
        yield not_applicable("IPVS in this kernel does not support connection tracking")
        return
    loaded = snapshot.modules.loaded if snapshot.modules else frozenset()
    programs = running(snapshot, _NEEDS_IT)
    if programs or owner(snapshot) in TRACKING or "ip_vs_ftp" in loaded:
        return
    filters = rules(snapshot)
    if filters is None:
        yield inconclusive("the rules of the packet filter are unknown")
    elif programs is None:
        yield inconclusive("the running processes are unknown, so kube-proxy may be running")
    elif tracked:
        yield from _second_entry(snapshot, filters)
    else:
        yield from _thrown_away(snapshot, filters)


def _second_entry(snapshot: Snapshot, filters: Rules) -> Verdicts:
    addresses = vips(snapshot)
    if any(may_touch(row, addresses) for row in filters.tracking):
        return
    count = snapshot.sysctl(COUNT)
    if count is None and not filters.tracking:
        yield inconclusive("nf_conntrack_count is unknown, so packets may or may not be tracked")
    elif count or filters.tracking:
        message = (
            "net.ipv4.vs.conntrack is 1, so every IPVS connection is also entered in the "
            "connection tracking table, but no rule needs it"
        )
        yield _finding(snapshot, message, filters.tracking)


def _thrown_away(snapshot: Snapshot, filters: Rules) -> Verdicts:
    exposed = vips(snapshot) - exempted(snapshot)
    if not filters.tracking or not exposed or stateful(filters, vips(snapshot)):
        return
    rows = len(filters.tracking)
    hooks = "1 rule enables" if rows == 1 else f"{rows} rules enable"
    message = (
        f"net.ipv4.vs.conntrack is 0, but {hooks} connection tracking, so packets of virtual "
        "services are tracked and IPVS discards their entries"
    )
    yield _finding(snapshot, message, filters.tracking)


def _finding(snapshot: Snapshot, message: str, rows: Iterable[str]) -> Finding:
    speeds = {
        "new_connections_per_second": per_second(snapshot, "connections"),
        "packets_in_per_second": per_second(snapshot, "packets_in"),
    }
    cps, pps = (speed or 0 for speed in speeds.values())
    return Finding(
        subject="net.ipv4.vs.conntrack",
        severity=Severity.HIGH if cps >= _MANY_CPS or pps >= _MANY_PPS else Severity.MEDIUM,
        message=message,
        evidence={
            "vs_conntrack": snapshot.sysctl(VS_CONNTRACK),
            "tracking_rules": list(rows)[:_SHOWN],
            "nf_conntrack_count": snapshot.sysctl(COUNT),
            "forwarding": sorted(forwarding(snapshot)),
            **{name: speed and round(speed, 1) for name, speed in speeds.items()},
        },
        fixes=stop_tracking(snapshot),
        cause="conntrack/table-full" if lacks_room(snapshot) else None,
    )
