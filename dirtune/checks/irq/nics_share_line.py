from dirtune.analyse.lines import pic
from dirtune.analyse.rates import nic_packets
from dirtune.checks import Cause, Finding, Severity, Verdicts, check, inconclusive, uncounted
from dirtune.checks.irq.legacy_lines import NicLine, cut_off, shared_nic_lines
from dirtune.checks.together import listed
from dirtune.snapshot import Snapshot

_BUSY_PPS = 1000
_CARRIES_PPS = 1


@check("irq/nics-share-line", severity=Severity.HIGH, trust="A", needs=("interrupts",))
def nics_share_line(snapshot: Snapshot) -> Verdicts:
    """Two NICs share one interrupt line.

    ## What it does
    The check reports a line with two or more NICs that together carry 1,000 packets/s or more. The
    finding is `high` if more than one of these NICs carries traffic, else `medium`. Without two
    samples, or without traffic, the check is inconclusive.

    ## Why it matters
    Each interrupt runs the handlers of both NICs, on the same CPU. So the inside and the outside
    NIC of a director cannot use different CPUs.

    ## Remediation
    Let one of the NICs use MSI, or move it to another slot, as `irq/shared-with-nic` describes.

    ## References
    - kernel/irq/handle.c
    """
    for shared in shared_nic_lines(snapshot):
        if len(_cards(shared)) < 2:
            continue
        pps = _pps(snapshot, shared)
        if pps is None:
            yield uncounted(
                snapshot,
                f"the packets of the NICs on {shared.subject} were not counted in two samples",
            )
        elif sum(pps.values()) < _BUSY_PPS:
            yield inconclusive(
                f"the NICs on {shared.subject} handle only {sum(pps.values()):.0f} packets/s, and "
                f"this check needs {_BUSY_PPS:,} packets/s or more",
                Cause.IDLE,
            )
        else:
            yield _finding(shared, pps)
    yield from cut_off(snapshot)


def _cards(shared: NicLine) -> set[str]:
    return {c.device.address if c.device else c.action for c in shared.cards}


def _pps(snapshot: Snapshot, shared: NicLine) -> dict[str, float] | None:
    if snapshot.earlier is None or not snapshot.seconds:
        return None
    counted = nic_packets(snapshot.earlier.interfaces, snapshot.interfaces) or {}
    names = {n for c in shared.cards for n in (c.device.nets if c.device else (c.action,))}
    found = {name: counted[name] / snapshot.seconds for name in names if name in counted}
    return found or None


def _finding(shared: NicLine, pps: dict[str, float]) -> Finding:
    carrying = [name for name, rate in pps.items() if rate >= _CARRIES_PPS]
    return Finding(
        subject=shared.subject,
        severity=Severity.HIGH if len(carrying) > 1 else Severity.MEDIUM,
        message=f"{listed(c.action for c in shared.cards)} share {shared.subject}, and therefore "
        f"one CPU; together they carry {sum(pps.values()):.0f} packets/s",
        evidence=shared.evidence | {"packets_per_second": {n: round(r) for n, r in pps.items()}},
        cause="irq/xtpic-mode" if pic(shared.line) else None,
    )
