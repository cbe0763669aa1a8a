import statistics
from collections.abc import Mapping

from dirtune.checks import Finding, Fix, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import entries
from dirtune.checks.nic import ports, queue_packets, received
from dirtune.checks.realserver import tunnelled
from dirtune.checks.remedies import commands
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

_QUEUES = 8
_TIMES_MEDIAN = 3.0
_LEAST_PPS = 1_000
_MANY_FLOWS = 1_000  # an estimate, not calibrated


@check(
    "nic/rss-skew",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("interfaces", "ethtool"),
    traffic=True,
)
def rss_skew(snapshot: Snapshot, seconds: float) -> Verdicts:
    """A NIC spreads many flows unevenly over its receive queues.

    ## What it does
    The check compares the driver's counters of each receive queue between two samples. It reports
    a NIC if one queue received at least three times the median of the queues. The NIC must have 8
    queues or more and receive 1,000 packets/s or more, and the host must have 1,000 flows or more.
    The number of flows is the largest of three counts: IPVS connections, tracked connections and
    established TCP connections. For real servers that receive through a tunnel, see
    `nic/tunnel-entropy`.

    ## Why it matters
    One full queue drops packets while other queues are idle, and averages look healthy.

    ## Remediation
    Spread the indirection table evenly over the queues (`ethtool -X IF equal N`), and hash ports
    as well as addresses (`ethtool -N IF rx-flow-hash tcp4 sdfn`). Hash ports for UDP only if no
    UDP packets are fragmented, because only the first fragment has ports, and the other fragments
    would go to another queue.

    ## Known problems
    The check does not read the indirection table and the hash, only their effect: it notices a
    table that omits queues only if more than half of the queues are idle. A few elephant flows
    among many small flows look the same. If the driver does not count by queue, the check is
    inconclusive.

    ## References
    - Documentation/networking/scaling.rst, "RSS: Receive Side Scaling"
    - ethtool(8), `-X` and `-N`
    """
    for port in ports(snapshot):
        packets = received(snapshot, port)
        if packets is None:
            yield inconclusive(f"the packets of {port.name} were not counted in both samples")
        elif len(port.rx_queues) >= _QUEUES and packets >= _LEAST_PPS * seconds:
            yield from _judged(snapshot, port)


def _judged(snapshot: Snapshot, port: Interface) -> Verdicts:
    queues = queue_packets(snapshot, port.name)
    if not queues:
        yield inconclusive(f"the driver of {port.name} does not count packets by queue")
        return
    top = max(queues, key=lambda queue: queues[queue])
    median = statistics.median(queues.values())
    if len(queues) < _QUEUES or not queues[top] or queues[top] < _TIMES_MEDIAN * median:
        return
    flows = _flows(snapshot)
    if tunnelled(snapshot):
        return
    if flows is None:
        yield inconclusive(
            f"queue {top} of {port.name} receives most packets, but the number of flows is unknown"
        )
    elif flows >= _MANY_FLOWS:
        yield _finding(snapshot, port, queues, top, flows)


def _flows(snapshot: Snapshot) -> int | None:
    """Return the least number of flows that this host can have; None if unknown."""
    tracked = "net/netfilter/nf_conntrack_count"
    counts = (
        entries(snapshot) if snapshot.services else None,
        snapshot.sysctl(tracked),
        snapshot.snmp.get("Tcp.CurrEstab") if snapshot.snmp else None,
    )
    return max((flows for flows in counts if flows is not None), default=None)


def _finding(
    snapshot: Snapshot, port: Interface, queues: Mapping[int, int], top: int, flows: int
) -> Finding:
    share = 100 * queues[top] / sum(queues.values())
    return Finding(
        subject=port.name,
        severity=Severity.MEDIUM,
        message=f"Queue {top} of {port.name} received {share:.0f} % of the packets, although at "
        f"least {flows:,} flows are spread over {len(queues)} queues",
        evidence={
            "queue": top,
            "packets": {str(queue): n for queue, n in sorted(queues.items())},
            "median_packets": statistics.median(queues.values()),
            "flows": flows,
        },
        fixes=_fixes(snapshot, port.name, len(queues)),
    )


def _fixes(snapshot: Snapshot, name: str, queues: int) -> tuple[Fix, ...]:
    ways = [
        (
            "spread-rss",
            "Spread the RSS table evenly over the queues",
            ("-X", name, "equal", str(queues)),
        ),
        (
            "hash-tcp-ports",
            "Hash the ports of TCP too",
            ("-N", name, "rx-flow-hash", "tcp4", "sdfn"),
        ),
    ]
    if any(s.protocol == "UDP" for s in snapshot.services or ()):
        title = "Hash the ports of UDP too, if no UDP packets are fragmented"
        ways.append(("hash-udp-ports", title, ("-N", name, "rx-flow-hash", "udp4", "sdfn")))
    return tuple(commands(snapshot, way, title, (("ethtool", *row),)) for way, title, row in ways)
