"""Windows of both probes that the checks of locks judge."""

from dirtune.analyse.probed import LockWaits, LockWindow, SoftirqTime, SoftirqWindow
from dirtune.checks import run
from dirtune.collect.ip_vs import Stats
from tests.checks.machines import director, service

TABLE = "__ip_vs_conntbl_lock_array"


SCHED, SYNC, QDISC = "svc->sched_lock", "ipvs->sync_buff_lock", "qdisc root lock"


SECOND_NS = 1_000_000_000


def waits(lock, caller, ms, *, waits=1000, most_us=90):
    return LockWaits(lock, "spinlock", caller, (caller,), waits, ms * 10**6, most_us * 1000)


def probed(*locks, seconds=5.0, softirq_s=1.0, softirq_seconds=None):
    """Windows of both probes: NET_RX took 4/5 and TIMER 1/5 of *softirq_s* on two CPUs."""
    parts = (("NET_RX", 0, 0.5), ("NET_RX", 1, 0.3), ("TIMER", 0, 0.2))
    times = tuple(
        SoftirqTime(vector, cpu, 1, int(softirq_s * part * SECOND_NS), 0, 0, 0, 0)
        for vector, cpu, part in parts
    )
    window = SoftirqWindow(seconds if softirq_seconds is None else softirq_seconds, times, (), {})
    return {"locks": LockWindow(seconds, locks), "softirq_window": window}


def at_rate(connections=0, packets=0):
    """IPVS counters 10 s apart."""
    return {
        "ip_vs_stats": Stats(10 * connections, 10 * packets, 0, 0, 0),
        "earlier": {"ip_vs_stats": Stats(0, 0, 0, 0, 0)},
    }


def judged(check, *services, **fields):
    return run((check,), director(*(services or (service(1, 1),)), **fields))[0]
