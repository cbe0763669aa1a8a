import statistics
from collections.abc import Mapping

from dirtune.checks import Finding, Fix, Severity, Verdicts, check, inconclusive
from dirtune.checks.counters import card
from dirtune.checks.ipvs import entries
from dirtune.checks.nic import ports, queue_packets, received
from dirtune.checks.realserver import tunnelled
from dirtune.checks.remedies import commands
from dirtune.collect.net import Interface
from dirtune.settings import EvenRss
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
    The check reports a NIC whose RSS table omits receive queues that received no packets between
    two samples. It also reports a NIC with 8 queues or more if one queue received at least three
    times the median of the queues, by the driver's counters. The NIC must receive 1,000 packets/s
    or more, and the host must have 1,000 flows or more. The number of flows is the largest of
    three counts: IPVS connections, tracked connections and established TCP connections. For real
    servers that receive through a tunnel, see `nic/tunnel-entropy`.

    ## Why it matters
    One full queue drops packets while other queues are idle, and averages look healthy. A table
    omits queues if somebody set it for fewer queues, or if the driver did not renew it when queues
    were added, as virtio_net in Linux 6.1.

    ## Remediation
    Spread the indirection table evenly over the queues (`ethtool -X IF equal N`), and hash ports
    as well as addresses (`ethtool -N IF rx-flow-hash tcp4 sdfn`). Hash ports for UDP only if no
    UDP packets are fragmented, because only the first fragment has ports, and the other fragments
    would go to another queue.

    ## Known problems
    The check does not read the hash, only its effect. A few elephant flows among many small flows
    look the same as a bad hash. If the driver neither reports its table nor counts by queue, the
    check is inconclusive. Queues may be kept out of the table on purpose, for rules that steer
    flows. With ixgbe, the table can hold only 16 queues; set 16 queues (`ethtool -L`).

    ## References
    - Documentation/networking/scaling.rst, "RSS: Receive Side Scaling"
    - ethtool(8), `-X` and `-N`
    """
    for port in ports(snapshot):
        packets = received(snapshot, port)
        if packets is None:
            yield inconclusive(f"the packets of {port.name} were not counted in both samples")
        elif packets >= _LEAST_PPS * seconds:
            yield from _judged(snapshot, port)


def _judged(snapshot: Snapshot, port: Interface) -> Verdicts:
    table = card(snapshot, port.name).rss
    queues = queue_packets(snapshot, port.name)
    idle = _omitted(port, table, queues)
    if not idle and len(port.rx_queues) < _QUEUES:
        return
    if not idle and not queues:
        yield inconclusive(f"the driver of {port.name} does not count packets by queue")
        return
    if (not idle and not _skewed(queues)) or tunnelled(snapshot):
        return
    flows = _flows(snapshot)
    if flows is None:
        what = "the RSS table omits queues" if idle else "one queue receives most packets"
        yield inconclusive(f"{port.name}: {what}, but the number of flows is unknown")
    elif flows >= _MANY_FLOWS:
        yield _finding(snapshot, port, queues, idle, flows)


def _omitted(
    port: Interface, table: tuple[int, ...] | None, queues: Mapping[int, int]
) -> tuple[int, ...]:
    """Return the receive queues that *table* omits and that received no packets in other ways."""
    if not table:
        return ()
    numbers = range(len(port.rx_queues))
    return tuple(n for n in numbers if n not in table and not queues.get(n))


def _skewed(queues: Mapping[int, int]) -> bool:
    top, median = max(queues.values()), statistics.median(queues.values())
    return len(queues) >= _QUEUES and top > 0 and top >= _TIMES_MEDIAN * median


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
    snapshot: Snapshot,
    port: Interface,
    queues: Mapping[int, int],
    idle: tuple[int, ...],
    flows: int,
) -> Finding:
    name, number = port.name, len(port.rx_queues)
    top = max(queues, key=lambda queue: queues[queue], default=None)
    if idle or top is None:
        message = (
            f"The RSS table of {name} uses only {number - len(idle)} of {number} receive queues, "
            f"although the host has at least {flows:,} flows"
        )
    else:
        share = 100 * queues[top] / sum(queues.values())
        message = (
            f"Queue {top} of {name} received {share:.0f} % of the packets, although at least "
            f"{flows:,} flows are spread over {len(queues)} queues"
        )
    return Finding(
        subject=name,
        severity=Severity.MEDIUM,
        message=message,
        evidence={
            "queue": top,
            "packets": {str(queue): n for queue, n in sorted(queues.items())},
            "median_packets": statistics.median(queues.values()) if queues else None,
            "omitted_queues": list(idle),
            "flows": flows,
        },
        fixes=_fixes(snapshot, name, number),
    )


def _fixes(snapshot: Snapshot, name: str, queues: int) -> tuple[Fix, ...]:
    table = card(snapshot, name).rss
    spread: EvenRss | tuple[str, ...] = (
        EvenRss(name, queues) if table else ("ethtool", "-X", name, "equal", str(queues))
    )
    tcp, udp = (
        ("ethtool", "-N", name, "rx-flow-hash", f"{kind}4", "sdfn") for kind in ("tcp", "udp")
    )
    ways: list[tuple[str, str, EvenRss | tuple[str, ...]]] = [
        ("spread-rss", "Spread the RSS table evenly over the queues", spread),
        ("hash-tcp-ports", "Hash the ports of TCP too", tcp),
    ]
    if any(s.protocol == "UDP" for s in snapshot.services or ()):
        title = "Hash the ports of UDP too, if no UDP packets are fragmented"
        ways.append(("hash-udp-ports", title, udp))
    if table and _even(table, queues):
        ways = ways[1:]
    return tuple(commands(snapshot, way, title, (row,)) for way, title, row in ways)


def _even(table: tuple[int, ...], queues: int) -> bool:
    counts = [table.count(queue) for queue in range(queues)]
    return max(counts) - min(counts) <= 1
