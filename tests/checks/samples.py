"""Two samples of a director with several queues and CPUs, written by hand, 10 s apart."""

import dataclasses

from dirtune.collect.cpus import Cpus
from dirtune.collect.interrupts import Interrupts, Line
from dirtune.collect.net import Interface, Queue
from dirtune.collect.proc_irq import IrqState
from dirtune.collect.processes import Process
from dirtune.collect.softirqs import Softirqs
from dirtune.collect.softnet import SoftnetRow
from dirtune.collect.stat import CpuTimes, Stat
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot
from tests.checks.earlier import with_earlier

SECONDS = 10.0


def interface(name="eth0", *, packets=10**6, rps=(), **fields):
    queue = Queue("rx-0", None if rps is None else tuple(rps))
    known = {"operstate": "up", "rx_queues": (queue,), "physical": True}
    return Interface(name, None, None, rx_packets=packets, tx_packets=0, **(known | fields))


def cpus(n, **fields):
    return Cpus(tuple(range(n)), **fields)


def msi(irq, action, *counts):
    return Line(str(irq), counts, "PCI-MSI", 500 + irq, "edge", (action,))


def interrupts(*lines, n=4):
    return Interrupts(tuple(range(n)), lines)


def zeroed(table):
    lines = (dataclasses.replace(x, counts=(0,) * len(x.counts)) for x in table.lines)
    return dataclasses.replace(table, lines=tuple(lines))


def stat(*rows):
    """Each row is one CPU's columns by name, in ticks; what is left of 1,000 is idle."""
    columns = ("user", "nice", "system", "iowait", "irq", "softirq", "steal")
    times = [CpuTimes(n, *_ticks(row, columns)) for n, row in enumerate(rows)]
    return Stat(CpuTimes(None, 0, 0, 0, 0), tuple(times), None)


def _ticks(row, columns):
    ticks = {column: row.get(column, 0) for column in columns}
    idle = 1000 - sum(ticks.values())
    return (ticks["user"], ticks["nice"], ticks["system"], idle, ticks["iowait"], ticks["irq"],
            ticks["softirq"], ticks["steal"])  # fmt: skip


def no_time(n):
    return Stat(
        CpuTimes(None, 0, 0, 0, 0),
        tuple(CpuTimes(cpu, 0, 0, 0, 0, 0, 0, 0, 0) for cpu in range(n)),
        None,
    )


def softnet(*rows):
    """Each row is (processed, dropped, squeezed, received_rps, flow_limit), the rest 0."""
    return tuple(SoftnetRow(cpu, *(*row, 0, 0, 0, 0, 0)[:5]) for cpu, row in enumerate(rows))


def net_rx(*counts):
    return Softirqs(tuple(range(len(counts))), {"NET_RX": counts})


def process(pid, name, ticks=0, *, cpu=0, kernel=False, policy="other"):
    return Process(pid, name, kernel, ticks, cpu, policy, 0 if policy == "other" else 50)


def placed(affinity, effective=None, *, managed=False, unhandled=0):
    return IrqState(tuple(affinity), tuple(effective or affinity), unhandled, managed)


def sysctls(**values):
    return Sysctls({f"net/core/{name}": str(value) for name, value in values.items()})


def two(earlier=None, *, seconds=SECONDS, pps=100_000, **now):
    """A snapshot with a sample before it: *earlier* holds only what differed then.

    Packets of the interfaces rise by *pps*; counters of interrupts, softnet and time began at 0.
    """
    now.setdefault("interfaces", (interface(),))
    before = {}
    before["interfaces"] = tuple(
        dataclasses.replace(i, rx_packets=i.rx_packets - int(pps * seconds))
        for i in now["interfaces"]
    )
    if now.get("interrupts"):
        before["interrupts"] = zeroed(now["interrupts"])
    if now.get("stat"):
        before["stat"] = no_time(len(now["stat"].cpus))
    if now.get("softnet"):
        before["softnet"] = softnet(*((0,) for _ in now["softnet"]))
    if now.get("softirqs"):
        before["softirqs"] = net_rx(*(0 for _ in now["softirqs"].cpus))
    before |= earlier or {}
    return with_earlier(Snapshot(taken_s=100.0 + seconds, **now), 100.0, **before)
