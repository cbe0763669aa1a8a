from collections.abc import Iterator

from dirtune.analyse import rates
from dirtune.checks import Finding, Fix, Role, Severity, Verdicts, check
from dirtune.checks.ipvs import thread_percents
from dirtune.checks.remedies import sysctl
from dirtune.snapshot import Snapshot

_BUSY_PERCENT = 70.0  # of one CPU
_PORTS, _BUFFER = "net/ipv4/vs/sync_ports", "net/ipv4/vs/sync_sock_size"
_THREADS = {"ipvs-m": "Udp.SndbufErrors", "ipvs-b": "Udp.RcvbufErrors"}
_OVERHEAD_BYTES = 28  # of IPv4 and UDP


@check(
    "ipvs/sync-overload",
    severity=Severity.MEDIUM,
    trust="A",
    needs=("processes",),
    roles=(Role.DIRECTOR,),
)
def sync_overload(snapshot: Snapshot) -> Verdicts:
    """The threads that synchronise connections cannot keep up, or lose messages.

    ## What it does
    The check reports a sync thread (`ipvs-m` sends, `ipvs-b` receives) that uses 70 % of a CPU or
    more. It also reports a rise of `SndbufErrors` (UDP) between the samples if `ipvs-m` runs, a
    rise of `RcvbufErrors` if `ipvs-b` runs, and sync messages larger than the interface's MTU.

    ## Why it matters
    If the queue is full, the kernel drops messages and does not count them. The backup director
    then lacks connections, which nobody notices before it takes over. Messages larger than the MTU
    are fragmented, and one lost fragment loses the whole message.

    ## Remediation
    Synchronise less (`sync_threshold`, `sync_refresh_period`). Set `sync_ports=4` on both
    directors, and restart the sync daemons. Use a larger `sync_sock_size`, or a dedicated link.

    ## Known problems
    The UDP counters include other programs of the network namespace. The check does not compare
    the numbers of connections on master and backup.

    ## References
    - net/netfilter/ipvs/ip_vs_sync.c
    - Documentation/networking/ipvs-sysctl.rst, `sync_ports`, `sync_sock_size`
    """
    threads = thread_percents(snapshot, tuple(_THREADS))
    for thread, percent in threads:
        if percent is not None and percent >= _BUSY_PERCENT:
            yield Finding(
                thread.name,
                Severity.MEDIUM,
                f"The sync thread {thread.name} uses {percent:.0f} % of a CPU",
                {"thread": thread.name, "cpu_percent": round(percent, 1)},
                (_more_ports(snapshot),),
            )
    for prefix, counter in _THREADS.items():
        if any(thread.name.startswith(prefix) for thread, _ in threads):
            yield from _lost(snapshot, prefix, counter)
    yield from _fragmented(snapshot)


def _lost(snapshot: Snapshot, prefix: str, counter: str) -> Iterator[Finding]:
    then = (snapshot.earlier.snmp if snapshot.earlier else None) or {}
    rise = rates.increase(then.get(counter), (snapshot.snmp or {}).get(counter))
    if rise:
        yield Finding(
            prefix,
            Severity.MEDIUM,
            f"UDP {counter.partition('.')[2]} rose by {rise:,}, so sync messages are lost",
            {"counter": counter, "rise": rise},
            (_larger_buffer(snapshot), _more_ports(snapshot)),
        )


def _fragmented(snapshot: Snapshot) -> Iterator[Finding]:
    mtus = {interface.name: interface.mtu for interface in snapshot.interfaces or ()}
    for daemon in snapshot.ipvs.daemons if snapshot.ipvs else ():
        mtu = mtus.get(daemon.interface or "")
        if mtu and daemon.maxlen and daemon.maxlen + _OVERHEAD_BYTES > mtu:
            yield Finding(
                f"sync daemon ({daemon.state})",
                Severity.MEDIUM,
                f"Sync messages of {daemon.maxlen} bytes plus headers exceed the MTU of "
                f"{daemon.interface}, which is {mtu} bytes",
                {"maxlen_bytes": daemon.maxlen, "mtu_bytes": mtu, "interface": daemon.interface},
            )


def _more_ports(snapshot: Snapshot) -> Fix:
    title = "Use four sync threads on both directors, and restart the sync daemons"
    return sysctl(snapshot, "more-sync-ports", title, {_PORTS: 4}, what="ipvs")


def _larger_buffer(snapshot: Snapshot) -> Fix:
    title = "Enlarge the socket buffers of the sync daemons to 8 MiB, and restart the daemons"
    return sysctl(snapshot, "larger-sync-buffer", title, {_BUFFER: 8 << 20}, what="ipvs")
