"""Moments made by hand."""

from dirtune.watch.metrics import CONNTRACK_COUNT, CONNTRACK_MAX
from dirtune.watch.moment import Moment


def stat(*cpus):
    """Return /proc/stat of CPUs, each given as (user, idle, softirq) in ticks."""
    total = tuple(map(sum, zip(*cpus, strict=True)))
    rows = [("cpu", *total)] + [(f"cpu{n}", *cpu) for n, cpu in enumerate(cpus)]
    return "".join(
        f"{name} {user} 0 0 {idle} 0 0 {soft} 0 0 0\n" for name, user, idle, soft in rows
    )


def softnet(*dropped):
    """Return /proc/net/softnet_stat with the drops of each CPU."""
    zero = "00000000"
    rows = (
        f"00000064 {drops:08x} {' '.join([zero] * 10)} {cpu:08x} {zero} {zero}\n"
        for cpu, drops in enumerate(dropped)
    )
    return "".join(rows)


def percpu(connections):
    """Return /proc/net/ip_vs_stats_percpu of one CPU."""
    return (
        "       Total Incoming Outgoing         Incoming         Outgoing\n"
        "CPU    Conns  Packets  Packets            Bytes            Bytes\n"
        f"  0 {connections:8X}        0        0                0                0\n"
        f"  ~ {connections:8X}        0        0                0                0\n"
    )


def conntrack(count, most):
    return {CONNTRACK_COUNT: f"{count}\n", CONNTRACK_MAX: f"{most}\n"}


def moment(at_s, texts, *, asleep_s=0.0):
    """Return a moment; the host was suspended for *asleep_s* since it booted."""
    encoded = {path: text.encode() for path, text in texts.items()}
    return Moment(at_s, at_s + asleep_s, 1_800_000_000 + at_s, encoded)
