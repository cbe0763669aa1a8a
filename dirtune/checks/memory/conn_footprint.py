from collections.abc import Mapping

from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import entries, new_per_second, page_bytes, per_second, templates
from dirtune.checks.ipvs.conn_limit import LIMIT
from dirtune.checks.remedies import sysctl
from dirtune.snapshot import Snapshot

_VS = "net/ipv4/vs/"
_ENTRY_BYTES, _TRACKED_BYTES, _BUCKET_BYTES = 320, 256, 8
_SYN_RECV_S = 60  # fixed in the kernel
_HIGH_PERCENT = 50  # of memory
_THRESHOLD_PERCENT = 5  # of memory; an estimate, not calibrated


@check(
    "memory/conn-footprint",
    severity=Severity.HIGH,
    trust="A",
    needs=("services",),
    roles=(Role.DIRECTOR,),
)
def conn_footprint(snapshot: Snapshot, meminfo: Mapping[str, int]) -> Verdicts:
    """The connection table will not fit into memory.

    ## What it does
    The check reports as `high` that the IPVS table takes, or is expected to take, 50 % of memory
    or more. An entry takes 320 bytes, or 576 with `net.ipv4.vs.conntrack`, and a bucket takes 8
    bytes. The check uses the present number of entries or, if greater, an estimate: the new
    connections per second between two samples, times the shortest life of an entry. For TCP this
    is 60 s (SYN_RECV), or the `tcpfin` timeout if longer; for UDP it is the `udp` timeout.
    Services with one-packet scheduling make no entries. On kernels with `conn_max`, the number of
    entries is at most this limit; its default is 1,073,741,824.

    ## Why it matters
    Without `conn_max`, or with its default, nothing limits the number of entries. 1,000,000 SYN/s
    make 60,000,000 entries (19 GB) within a minute, and the host runs out of memory.

    ## Remediation
    Filter SYN floods in front of the director, or with XDP on the director. Set `drop_entry=1` and
    an `amemthresh` of a few per cent of memory; the default is a few MiB. Shorten timeouts
    (`ipvs/timeouts`). On kernels that have it, set `conn_max` to what memory allows.

    ## Known problems
    The sizes are those of Linux 6.1 on 64-bit machines. The check does not know the highest number
    of entries in the past. If netlink was not read, it does not know persistence templates, nor
    which services get the new connections, and assumes that every connection makes an entry.

    ## References
    - net/netfilter/ipvs/ip_vs_conn.c, `ip_vs_conn_new()`
    - Documentation/networking/ipvs-sysctl.rst, `amemthresh`, `drop_entry`
    """
    memory = meminfo["MemTotal"]
    held = entries(snapshot) + (templates(snapshot) or 0)
    coming = _coming(snapshot)
    limit = snapshot.sysctl(LIMIT)
    projected = max(held, coming or 0 if limit is None else min(coming or 0, limit))
    # If it is unknown whether entries are tracked, use the smaller size.
    least, most = (
        _footprint(snapshot, projected, size)
        for size in (_ENTRY_BYTES, _ENTRY_BYTES + _TRACKED_BYTES)
    )
    tracked = snapshot.sysctl(f"{_VS}conntrack")
    size = most if tracked else least
    if 100 * size >= _HIGH_PERCENT * memory:
        yield _finding(snapshot, projected, size, coming)
    elif tracked is None and 100 * most >= _HIGH_PERCENT * memory:
        yield inconclusive("net.ipv4.vs.conntrack is unknown")
    elif coming is None:
        yield inconclusive("the rate of new connections needs two samples, but only one was taken")


def _footprint(snapshot: Snapshot, count: int, entry_bytes: int) -> int:
    return count * entry_bytes + _BUCKET_BYTES * (snapshot.ip_vs_table_size or 0)


def _coming(snapshot: Snapshot) -> int | None:
    """Return the number of entries that new connections will make; None if unknown."""
    kept = tuple(s for s in snapshot.services or () if not s.ops)
    timeouts = snapshot.ipvs.timeouts_s if snapshot.ipvs else {}
    tcp_s = max(_SYN_RECV_S, timeouts.get("tcp_fin", 0))
    udp_s = max(_SYN_RECV_S, timeouts.get("udp", 0))
    coming = 0.0
    for service in kept:
        rate = new_per_second(snapshot, service)
        if rate is None:
            whole = per_second(snapshot, "connections")
            return None if whole is None else round(whole * _SYN_RECV_S)
        coming += rate * (udp_s if service.protocol == "UDP" else tcp_s)
    return round(coming)


def _finding(snapshot: Snapshot, projected: int, size: int, coming: int | None) -> Finding:
    memory = (snapshot.meminfo or {})["MemTotal"]
    percent = 100 * size / memory
    return Finding(
        subject="connection table",
        severity=Severity.HIGH,
        message=(
            f"The IPVS connection table {_limited(snapshot)}, and the expected {projected:,} "
            f"entries take {size / 2**30:.1f} GiB, which is {percent:.0f} % of memory"
        ),
        evidence={
            "entries": entries(snapshot),
            "templates": templates(snapshot),
            "projected_entries": projected,
            "projected_by_rate": coming,
            "size_bytes": size,
            "memory_bytes": memory,
            "percent": round(percent, 1),
        },
        fixes=(*_drop_entry(snapshot, memory), *_others()),
    )


def _limited(snapshot: Snapshot) -> str:
    limit = snapshot.sysctl(LIMIT)
    return "has no limit" if limit is None else f"has the limit conn_max = {limit:,}"


def _drop_entry(snapshot: Snapshot, memory: int) -> tuple[Fix, ...]:
    page = page_bytes(snapshot)
    if page is None:
        return ()
    pages = memory * _THRESHOLD_PERCENT // 100 // page
    values = {f"{_VS}amemthresh": pages, f"{_VS}drop_entry": 1}
    title = f"Forget half-open connections when less than {_THRESHOLD_PERCENT} % of memory is left"
    return (sysctl(snapshot, "arm-drop-entry", title, values, what="ipvs"),)


def _others() -> tuple[Fix, ...]:
    return (
        Fix(
            "filter-upstream",
            "Filter SYN floods in front of the director, or on the director with XDP",
            Risk.SAFE,
        ),
        Fix("shorten-timeouts", "Shorten the IPVS timeouts (see ipvs/timeouts)", Risk.SAFE),
    )
