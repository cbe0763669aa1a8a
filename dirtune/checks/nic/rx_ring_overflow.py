from collections.abc import Iterator

from dirtune.analyse.losses import Loss, losses
from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.counters import card, loss, rises
from dirtune.checks.nic import longer_ring, ports, received
from dirtune.checks.together import listed
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

_CRITICAL_PERCENT = 0.1  # of the packets that arrived
_QUOTA = "_allowance_exceeded"


def _since_boot(snapshot: Snapshot) -> Iterator[Finding]:
    for port in ports(snapshot):
        lost = losses(port.driver, port.statistics, card(snapshot, port.name).statistics)
        if lost is None or not lost.packets:
            continue
        taken = port.rx_packets
        percent = None if taken is None else 100 * lost.packets / (taken + lost.packets)
        share = "" if percent is None else f", {percent:.2g} % of the packets that arrived"
        yield Finding(
            subject=port.name,
            severity=Severity.LOW if (percent or 0) >= _CRITICAL_PERCENT else Severity.INFO,
            message=f"Since boot, {port.name} lost {lost.packets:,} packets because its ring was "
            f"full{share}",
            evidence={"counters_since_boot": dict(lost.counters), "received_packets": taken},
        )


@check(
    "nic/rx-ring-overflow",
    severity=Severity.CRITICAL,
    trust="B",
    needs=("interfaces",),
    traffic=True,
    mends=True,
    since_boot=_since_boot,
)
def rx_ring_overflow(snapshot: Snapshot) -> Verdicts:
    """A NIC drops packets because its receive ring is full.

    ## What it does
    The check compares counters of each physical interface between two samples: the kernel's
    `rx_missed_errors`, `rx_fifo_errors` and `rx_over_errors`, and the driver's counters with the
    same meaning (`rx_out_of_buffer` of mlx5, `rx_drops_no_frags` of be2net, `pkts rx OOB` of
    vmxnet3, ...). Counters of single queues are added up, and the finding names the queue that
    lost most. If dirtune does not know the driver, it goes by the words in the counters' names,
    such as `no_buf`, `overflow` and `missed`. Lost packets count as traffic, so a NIC that loses
    everything is not idle. The finding is `critical` if
    0.1 % of the arriving packets or more were lost, and `high` if fewer were lost. It is also
    `high` if `rx_no_buffer_count` rose, although the NIC's FIFO may have kept these packets. If
    several counters show the same loss, it counts once. The check does not use `rx_dropped`, which
    also counts packets of protocols and VLANs that this host does not use. A cloud provider's
    quota (`*_allowance_exceeded` of ena) is `info`, because the ring is not the cause.

    With only one sample, losses since boot are `low` from 0.1 % on, else `info`.

    ## Why it matters
    The ring is the first place on the host where a packet can be lost. After a lost SYN, the
    client waits 1 s.

    ## Remediation
    Lengthen the ring (`ethtool -G`). Many drivers reset the port, so start with the backup
    director. If that does not suffice, spread the queues over more CPUs. Use pause frames only as
    the last resort, because they move the loss to the switch. A reboot resets the ring: keep its
    length with `RxBufferSize=` in a systemd.link(5) file or a udev rule.

    ## Known problems
    Names and meanings of counters change between driver versions. `rx_discards_phy` of mlx5 counts
    for the whole port, so it includes losses of other functions of the NIC. ena (except Amazon's
    own driver), hv_netvsc, nfp and virtio_net have no counter of these losses alone, so the check
    passes even if such a NIC loses packets.

    ## References
    - Documentation/networking/statistics.rst
    - Documentation/networking/device_drivers/ethernet/
    """
    for port in ports(snapshot):
        lost = loss(snapshot, port)
        if lost is None:
            yield inconclusive(
                f"no counter of lost packets was read in both samples for {port.name}"
            )
        elif lost.packets or lost.stalls:
            yield _finding(snapshot, port, lost)
        yield from _quota(snapshot, port)


def _finding(snapshot: Snapshot, port: Interface, lost: Loss) -> Finding:
    arrived = received(snapshot, port)
    percent = None
    if arrived is not None and lost.packets:
        percent = 100 * lost.packets / (arrived + lost.packets)
    critical = percent is not None and percent >= _CRITICAL_PERCENT
    if lost.packets:
        share = "" if percent is None else f", {percent:.3g} % of the packets that arrived"
        most = f"; queue {lost.queue} lost most of them" if lost.queue is not None else ""
        words = (
            f"; the driver {port.driver or 'of the NIC'} is not one that dirtune knows, so the "
            f"meaning of {listed(lost.counters)} is taken from its name"
            if lost.by_word
            else ""
        )
        message = (
            f"{port.name} lost {lost.packets:,} packets because its ring was full{share}{most}"
            f"{words}"
        )
    else:
        message = (
            f"{port.name} had no free descriptor {lost.stalls:,} times; its FIFO may have kept "
            "the packets"
        )
    spread = Fix("spread-queues", f"Spread the queues of {port.name} over more CPUs", Risk.SAFE)
    return Finding(
        subject=port.name,
        severity=Severity.CRITICAL if critical else Severity.HIGH,
        message=message,
        evidence={
            "counters": dict(lost.counters),
            "lost_packets": lost.packets,
            "queue": lost.queue,
            "received_packets": arrived,
            "lost_percent": None if percent is None else round(percent, 4),
            "seconds": round(snapshot.seconds or 0, 2),
        },
        fixes=(*longer_ring(snapshot, port.name), spread),
    )


def _quota(snapshot: Snapshot, port: Interface) -> Verdicts:
    risen = rises(snapshot, port.name) or {}
    over = {name: rise for name, rise in risen.items() if name.endswith(_QUOTA) and rise}
    if over:
        named = listed(f"{name} +{rise}" for name, rise in over.items())
        yield Finding(
            subject=port.name,
            severity=Severity.INFO,
            message="A quota of the cloud provider, not the ring, held back packets of "
            f"{port.name}: {named}",
            evidence={"counters": over},
            fixes=(
                Fix("larger-instance", "Move to an instance with a larger quota", Risk.REBOOT),
            ),
        )
