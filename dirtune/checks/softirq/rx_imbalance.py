from collections.abc import Iterable, Iterator, Mapping

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive, run
from dirtune.checks.cpu import percents
from dirtune.checks.irq import near, nic_vectors
from dirtune.checks.irq.single_cpu import single_cpu
from dirtune.checks.softirq import by_cpu, window
from dirtune.snapshot import Snapshot

_GINI = 0.6
_TIMES_MEAN = 3.0
_IDLE_PERCENT = 20.0
_HIGH_PERCENT, _HIGH_SHARE = 80.0, 0.50
_MANY = 10_000_000  # packets since boot; an estimate, not calibrated


def _since_boot(snapshot: Snapshot) -> Iterator[Finding]:
    packets = {cpu: row.processed for cpu, row in (by_cpu(snapshot) or {}).items()}
    total = sum(packets.values())
    if len(packets) < 2 or total < _MANY:
        return
    top = max(packets, key=lambda cpu: packets[cpu])
    if _gini(packets.values()) < _GINI and len(packets) * packets[top] < _TIMES_MEAN * total:
        return
    concentrated = bool(run((single_cpu,), snapshot)[0].findings)
    yield Finding(
        subject=f"CPU {top}",
        severity=Severity.LOW,
        message=f"Since boot, CPU {top} processed {100 * packets[top] / total:.0f} % of the "
        f"{total:,} packets that {len(packets)} CPUs received",
        evidence={"cpu": top, "packets_since_boot": {str(cpu): n for cpu, n in packets.items()}},
        cause="irq/single-cpu" if concentrated else None,
    )


@check(
    "softirq/rx-imbalance",
    severity=Severity.HIGH,
    trust="B",
    needs=("softnet", "stat", "cpus"),
    traffic=True,
    since_boot=_since_boot,
)
def rx_imbalance(snapshot: Snapshot) -> Verdicts:
    """A few CPUs process most of the received packets.

    ## What it does
    The check compares the packets of each CPU (first column of /proc/net/softnet_stat) between two
    samples. It considers the CPUs near the NICs that are not isolated. It reports a Gini
    coefficient of 0.6 or more, or a CPU with at least three times the mean. The finding is `high`
    if the busiest CPU processes half of the packets or more and spends 80 % of its time or more in
    softirqs, else `medium`. A host on which every CPU is busy for less than 20 % of its time is
    not reported. With only one sample, the packets since boot count, and the finding is `low`.

    ## Why it matters
    A director reaches its limit when its busiest core is full, whatever the average is.

    ## Remediation
    Spread the queues over CPUs (`irq/single-cpu`), use more queues (`nic/single-queue`), or repair
    the RSS table (`nic/rss-skew`).

    ## Known problems
    One elephant flow, or one tunnel, goes to one CPU by design and looks the same. Packets that
    RPS steers are counted on two CPUs. With only two or three CPUs near a NIC, even a strong
    imbalance may stay below both limits.

    ## References
    - Documentation/networking/scaling.rst
    """
    rows, busy = window(snapshot), percents(snapshot)
    if rows is None or not busy:
        yield inconclusive("CPUs came online or went offline between the samples")
        return
    packets = {cpu: row.processed for cpu, row in rows.items()}
    top = max(packets, key=lambda cpu: packets[cpu])
    work = {cpu: packets.get(cpu, 0) for cpu in (*_local(snapshot), top)}
    mean = sum(work.values()) / len(work)
    if all(p.get("busy", 0.0) < _IDLE_PERCENT for p in busy.values()):
        return
    if _gini(work.values()) >= _GINI or (mean and packets[top] >= _TIMES_MEAN * mean):
        yield _finding(snapshot, top, work, busy.get(top, {}))


def _local(snapshot: Snapshot) -> tuple[int, ...]:
    names = {vector.interface for vector in nic_vectors(snapshot)}
    names |= {i.name for i in snapshot.interfaces or () if i.physical}
    return tuple(sorted({cpu for name in names for cpu in near(snapshot, name)}))


def _gini(values: Iterable[int]) -> float:
    """Return the Gini coefficient: 0 if all values are equal, nearly 1 if one value dominates."""
    ranked = sorted(values)
    n, total = len(ranked), sum(ranked)
    if not total:
        return 0.0
    weighted = sum(rank * value for rank, value in enumerate(ranked, 1))
    return 2 * weighted / (n * total) - (n + 1) / n


def _finding(
    snapshot: Snapshot, top: int, work: Mapping[int, int], busy: Mapping[str, float]
) -> Finding:
    share = work[top] / sum(work.values())
    softirq = busy.get("softirq", 0.0)
    high = softirq >= _HIGH_PERCENT and share >= _HIGH_SHARE
    concentrated = bool(run((single_cpu,), snapshot)[0].findings)
    title = "Spread the queues over CPUs, use more queues, or repair the RSS table"
    return Finding(
        subject=f"CPU {top}",
        severity=Severity.HIGH if high else Severity.MEDIUM,
        message=f"CPU {top} processes {100 * share:.0f} % of the packets that {len(work)} CPUs "
        f"receive, and spends {softirq:.0f} % of its time in softirqs",
        evidence={
            "cpu": top,
            "packets": {str(cpu): n for cpu, n in work.items()},
            "gini": round(_gini(work.values()), 3),
            "softirq_percent": round(softirq, 1),
        },
        fixes=(Fix("spread-receiving", title, Risk.DISRUPTIVE),),
        cause="irq/single-cpu" if concentrated else None,
    )
