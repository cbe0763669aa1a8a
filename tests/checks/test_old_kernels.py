"""Kernels whose softnet_stat does not number its rows: 9, 10 and 11 columns, before Linux 5.10."""

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.softirq.backlog_drops import backlog_drops
from dirtune.checks.softirq.rx_imbalance import rx_imbalance
from dirtune.checks.softirq.time_squeeze import time_squeeze
from dirtune.fetch import record
from dirtune.host import RecordedHost
from dirtune.snapshot import FIELDS, moving, patterns_of, take_all

CPU, NET = "/sys/devices/system/cpu", "/sys/class/net/eth0"
CHECKS = (backlog_drops, time_squeeze, rx_imbalance)


def softnet(columns, *rows):
    """Each row is (processed, dropped, squeezed); columns 10 and 11 are RPS and the flow limit."""
    return "".join(
        " ".join(f"{value:08x}" for value in (*row, *[0] * columns)[:columns]) + "\n"
        for row in rows
    )


def host(columns, taken_s, *rows, softirq=0, packets=0, online="0-3", rps="f"):
    head = "                    CPU0       CPU1       CPU2       CPU3\n"
    ticks = round(100 * taken_s)
    busy = f"cpu0 0 0 0 {ticks - softirq} 0 0 {softirq} 0\n"
    busy += "".join(f"cpu{n} 0 0 0 {ticks} 0 0 0 0\n" for n in (1, 2, 3))
    rows = (*rows, *[(0, 0, 0)] * 4)[:4]
    files = {
        "/proc/net/softnet_stat": softnet(columns, *rows),
        "/proc/softirqs": f"{head}      NET_RX:  {packets // 300} 0 0 0\n",
        "/proc/stat": f"cpu 0 0 0 0 0 0 0 0\n{busy}",
        f"{CPU}/online": f"{online}\n",
        f"{NET}/operstate": "up\n",
        f"{NET}/statistics/rx_packets": f"{packets}\n",
        f"{NET}/statistics/tx_packets": "0\n",
        f"{NET}/queues/rx-0/rps_cpus": f"{rps}\n",
    }
    links = {NET: "../../devices/pci0000:00/0000:00:03.0/net/eth0"}
    return RecordedHost(files, links, frozenset(), taken_s=taken_s)


def audited(earlier, later):
    """The outcomes for two samples, each recorded as `dirtune snapshot` records it."""
    first = record(earlier, patterns_of(moving(FIELDS)))
    second = record(later, patterns_of(FIELDS))
    return {o.check.id: o for o in run(CHECKS, take_all((first, second)))}


@pytest.mark.parametrize("columns", [9, 10, 11])
def test_drops_squeezes_and_imbalance_are_found_as_on_a_new_kernel(columns):
    earlier = host(columns, 0.0, (0, 7, 0))
    later = host(columns, 10.0, (900_000, 1_917, 500), (1_000, 0, 0), softirq=950, packets=900_000)

    found = audited(earlier, later)

    drops = found["softirq/backlog-drops"].findings[0]
    assert (drops.severity, drops.evidence["dropped"]) == (Severity.CRITICAL, {"0": 1_910})
    squeeze = found["softirq/time-squeeze"].findings[0]
    assert (squeeze.severity, squeeze.evidence["squeezed"]) == (Severity.MEDIUM, {"0": 500})
    assert found["softirq/rx-imbalance"].findings[0].subject == "CPU 0"
    assert found["softirq/rx-imbalance"].severity is Severity.HIGH


@pytest.mark.parametrize("columns", [9, 10, 11])
def test_a_cpu_that_came_between_the_samples_is_not_compared(columns):
    earlier = host(columns, 0.0, (0, 7, 0), online="0-2,7")
    later = host(columns, 10.0, (9, 9, 0), (9, 9, 0), packets=900_000)

    found = audited(earlier, later)

    assert found["softirq/rx-imbalance"].status is Status.INCONCLUSIVE
    assert found["softirq/backlog-drops"].severity is Severity.INFO


def test_without_sysfs_the_rows_of_proc_stat_name_the_cpus():
    earlier, later = host(10, 0.0), host(10, 10.0, (9, 0, 0), (9, 50, 0))
    for each in (earlier, later):
        del each.files[f"{CPU}/online"]

    found = audited(earlier, later)

    assert found["softirq/backlog-drops"].findings[0].evidence["dropped"] == {"1": 50}
