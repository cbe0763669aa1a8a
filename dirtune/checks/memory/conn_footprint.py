from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import entries, new_per_second, page_bytes, per_second, templates
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
    needs=("services", "meminfo"),
    roles=("director",),
)
def conn_footprint(snapshot: Snapshot) -> Verdicts:
    """The connection table will not fit into memory.

    ## What it does
    Reports as `high` that IPVS's table takes, or is going to take, 50 % of memory or more: 320
    bytes for each entry, 256 more with `net.ipv4.vs.conntrack`, and 8 for each bucket. The
    entries are those there are now, or, where that is more, the new connections per second
    between two samples times the time an entry lives at least: 60 s of SYN_RECV, or `tcpfin`
    where that is longer, and `udp` for UDP where netlink tells them. Services of one-packet
    scheduling make no entries. A kernel with `conn_max`, which limits them, is left alone.

    ## Why it matters
    Without `conn_max` nothing limits the entries: 1,000,000 SYN/s make 60,000,000 entries, 19 GB,
    within a minute, and the host dies of it.

    ## Remediation
    Filter SYN floods before the director, or in it by XDP; arm `drop_entry=1` with an
    `amemthresh` of some per cent of memory, its default is a few MiB; shorten timeouts
    (ipvs/timeouts).

    ## Known problems
    Sizes are those of Linux 6.1 on 64 bits. The highest number of entries in the past is not
    known. Where netlink was not asked, templates of persistence, and which services have new
    connections, are not known: all count as if each made an entry.

    ## References
    - net/netfilter/ipvs/ip_vs_conn.c, `ip_vs_conn_new()`
    - Documentation/networking/ipvs-sysctl.rst, `amemthresh`, `drop_entry`
    """
    if snapshot.sysctls and snapshot.sysctls.text(f"{_VS}conn_max") is not None:
        return
    memory = (snapshot.meminfo or {})["MemTotal"]
    held = entries(snapshot) + (templates(snapshot) or 0)
    coming = _coming(snapshot)
    projected = max(held, coming or 0)
    # Whether entries are tracked is not known without settings: then the least is taken.
    least, most = (
        _footprint(snapshot, projected, each)
        for each in (_ENTRY_BYTES, _ENTRY_BYTES + _TRACKED_BYTES)
    )
    tracked = snapshot.sysctls.number(f"{_VS}conntrack") if snapshot.sysctls else None
    size = most if tracked else least
    if 100 * size >= _HIGH_PERCENT * memory:
        yield _finding(snapshot, projected, size, coming)
    elif tracked is None and 100 * most >= _HIGH_PERCENT * memory:
        yield inconclusive("net.ipv4.vs.conntrack is not known")
    elif coming is None:
        yield inconclusive("one sample: new connections per second are not known")


def _footprint(snapshot: Snapshot, count: int, each: int) -> int:
    return count * each + _BUCKET_BYTES * (snapshot.ip_vs_table_size or 0)


def _coming(snapshot: Snapshot) -> int | None:
    """Return the entries that new connections make; None where their rate is not known."""
    kept = tuple(s for s in snapshot.services or () if not s.ops)
    timeouts = snapshot.ipvs.timeouts_s if snapshot.ipvs else {}
    tcp_s = max(_SYN_RECV_S, timeouts.get("tcp_fin", 0))
    udp_s = max(_SYN_RECV_S, timeouts.get("udp", 0))
    found = 0.0
    for service in kept:
        rate = new_per_second(snapshot, service)
        if rate is None:
            whole = per_second(snapshot, "connections")
            return None if whole is None else round(whole * _SYN_RECV_S)
        found += rate * (udp_s if service.protocol == "UDP" else tcp_s)
    return round(found)


def _finding(snapshot: Snapshot, projected: int, size: int, coming: int | None) -> Finding:
    memory = (snapshot.meminfo or {})["MemTotal"]
    percent = 100 * size / memory
    return Finding(
        subject="connection table",
        severity=Severity.HIGH,
        message=(
            f"{projected:,} entries take {size / 2**30:.1f} GiB, {percent:.0f} % of memory, "
            "and nothing limits them"
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
        Fix("filter-upstream", "Filter SYN floods before the director, or by XDP", Risk.SAFE),
        Fix("shorten-timeouts", "Shorten IPVS's timeouts (ipvs/timeouts)", Risk.SAFE),
    )
