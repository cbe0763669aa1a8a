import re

from dirtune.analyse.probed import LockWindow, SoftirqWindow
from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Severity,
    Undecided,
    Verdicts,
    check,
    inconclusive,
)
from dirtune.checks.lock import Waiting, notable
from dirtune.checks.nic import ports
from dirtune.checks.remedies import commands
from dirtune.collect.rulesets import Rulesets
from dirtune.snapshot import Snapshot

_LOCK = "qdisc root lock"
_ROOT = re.compile(r"qdisc (?P<kind>\S+) \S+ dev (?P<interface>\S+) root\b.*")
_MANY_QUEUES = frozenset({"mq", "mqprio", "taprio", "multiq", "noqueue"})
# These only queue packets; any other discipline shapes or sorts traffic, and was set for that.
_PLAIN = frozenset({"pfifo_fast", "pfifo", "bfifo", "fq_codel", "fq", "codel", "sfq", "pie"})


@check(
    "lock/qdisc-root",
    severity=Severity.INFO,
    trust="C",
    needs=("interfaces",),
)
def qdisc_root(
    snapshot: Snapshot, locks: LockWindow, softirq_window: SoftirqWindow, rulesets: Rulesets
) -> Verdicts:
    """CPUs wait for each other when they send, because a NIC has only one queueing discipline.

    ## What it does
    With `--probe`, the check examines waits in `__dev_queue_xmit` and `sch_direct_xmit`. If they
    take 2 % of softirq time or more, it reports each NIC whose transmit queues share a single root
    queueing discipline (htb, tbf, fq_codel, pfifo_fast, ...). `mq` and `noqueue` are not reported.

    ## Why it matters
    Every CPU takes the root discipline's lock for each packet that it sends, so the NIC's queues
    cannot work in parallel.

    ## Remediation
    Run `tc qdisc replace dev IF root mq`, which drops the queued packets. Unlike htb and tbf, mq
    does not shape traffic: shape elsewhere, or attach a shaper to each queue below mq.

    ## Known problems
    The probe does not show which NIC a lock belongs to: the finding names all NICs with a single
    discipline. For devices without a discipline, `__dev_queue_xmit` takes the lock of the device's
    queue, and these waits look the same.

    ## References
    - Documentation/admin-guide/sysctl/net.rst, `default_qdisc`
    """
    waiting = notable(locks, softirq_window, _LOCK)
    if isinstance(waiting, Undecided):
        yield waiting
    elif waiting:
        yield from _judged(snapshot, rulesets, waiting)


def _judged(snapshot: Snapshot, rulesets: Rulesets, waiting: Waiting) -> Verdicts:
    if rulesets.qdiscs is None:
        yield inconclusive(
            f"{waiting.message}; the queueing disciplines are unknown, because tc(8) did not "
            "answer"
        )
        return
    queues = {port.name: len(port.tx_queues) for port in ports(snapshot)}
    for root in filter(None, map(_ROOT.fullmatch, rulesets.qdiscs)):
        if queues.get(root["interface"], 0) > 1 and root["kind"] not in _MANY_QUEUES:
            yield _finding(snapshot, root["interface"], root["kind"], waiting)


def _finding(snapshot: Snapshot, interface: str, kind: str, waiting: Waiting) -> Finding:
    return Finding(
        interface,
        Severity.INFO,
        f"{interface} has one {kind} for all of its queues; {waiting.message}",
        {"interface": interface, "qdisc": kind} | waiting.evidence,
        (_fix(snapshot, interface, kind),),
    )


def _fix(snapshot: Snapshot, interface: str, kind: str) -> Fix:
    if kind not in _PLAIN:
        title = f"Shape traffic elsewhere or below mq, because mq cannot replace {kind}"
        return Fix("shape-elsewhere", title, Risk.DISRUPTIVE)
    row = ("tc", "qdisc", "replace", "dev", interface, "root", "mq")
    title = f"Give each queue of {interface} its own queueing discipline"
    return commands(snapshot, "root-mq", title, (row,), risk=Risk.DISRUPTIVE)
