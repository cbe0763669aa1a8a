import re

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
from dirtune.snapshot import Snapshot

_LOCK = "qdisc root lock"
_ROOT = re.compile(r"qdisc (?P<kind>\S+) \S+ dev (?P<interface>\S+) root\b.*")
_MANY_QUEUES = frozenset({"mq", "mqprio", "taprio", "multiq", "noqueue"})
# What only queues packets; anything else shapes or sorts traffic, and was set for that.
_PLAIN = frozenset({"pfifo_fast", "pfifo", "bfifo", "fq_codel", "fq", "codel", "sfq", "pie"})


@check(
    "lock/qdisc-root",
    severity=Severity.INFO,
    trust="C",
    needs=("locks", "softirq_window", "rulesets", "interfaces"),
)
def qdisc_root(snapshot: Snapshot) -> Verdicts:
    """CPUs wait for each other to send, behind the one queueing discipline of a card.

    ## What it does
    With `--probe`, reports a card with several transmit queues under a single root discipline
    (htb, tbf, fq_codel, pfifo_fast, ...) where waits in `__dev_queue_xmit` and `sch_direct_xmit`
    take 2 % of softirq time or more. `mq` and `noqueue` are left alone.

    ## Why it matters
    Every CPU takes the root's lock for each packet it sends: the card's queues are of no use.

    ## Remediation
    `tc qdisc replace dev IF root mq`, which drops what is queued. A discipline that shapes (htb,
    tbf) does something that mq does not: shape elsewhere, or below mq for each queue.

    ## Known problems
    The lock does not say whose it is: all cards of this kind are named. `__dev_queue_xmit` takes
    a device queue's own lock for devices without a discipline, which looks the same.

    ## References
    - Documentation/admin-guide/sysctl/net.rst, `default_qdisc`
    """
    found = notable(snapshot, _LOCK)
    if isinstance(found, Undecided):
        yield found
    elif found:
        yield from _judged(snapshot, found)


def _judged(snapshot: Snapshot, found: Waiting) -> Verdicts:
    assert snapshot.rulesets is not None
    if snapshot.rulesets.qdiscs is None:
        yield inconclusive(f"{found.message}; tc(8) could not be asked for disciplines")
        return
    queues = {port.name: len(port.tx_queues) for port in ports(snapshot)}
    for root in filter(None, map(_ROOT.fullmatch, snapshot.rulesets.qdiscs)):
        if queues.get(root["interface"], 0) > 1 and root["kind"] not in _MANY_QUEUES:
            yield _finding(snapshot, root["interface"], root["kind"], found)


def _finding(snapshot: Snapshot, interface: str, kind: str, found: Waiting) -> Finding:
    return Finding(
        interface,
        Severity.INFO,
        f"one {kind} for all of its queues; {found.message}",
        {"interface": interface, "qdisc": kind} | found.evidence,
        (_fix(snapshot, interface, kind),),
    )


def _fix(snapshot: Snapshot, interface: str, kind: str) -> Fix:
    if kind not in _PLAIN:
        title = f"Shape elsewhere, or below mq: {kind} does what mq does not"
        return Fix("shape-elsewhere", title, Risk.DISRUPTIVE)
    row = ("tc", "qdisc", "replace", "dev", interface, "root", "mq")
    title = "Give each queue a discipline of its own"
    return commands(snapshot, "root-mq", title, (row,), risk=Risk.DISRUPTIVE)
