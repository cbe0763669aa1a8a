"""Between the list of files and the reading of one, a process ends or a device is unplugged."""

import shutil
import subprocess

import pytest

from dirtune import snapshot
from dirtune.errors import SourceMissing, SourceRefused
from dirtune.fetch import record
from dirtune.host import LiveHost, RecordedHost

STAT = f"{{}} (x) S 1 {'1 ' * 40}"
_CPU = "/sys/devices/system/cpu"
_PCI = "/sys/bus/pci/devices/0000:00:0{}.0"
# Two of each, 7 and 8: one stays, one goes.
_OF_EACH = {
    "/proc/{}/stat": STAT,
    "/proc/{}/comm": "irq/{}-x\n",
    "/proc/irq/{}/smp_affinity": "2\n",
    "/proc/irq/{}/smp_affinity_list": "1\n",
    "/proc/irq/{}/spurious": "unhandled 1\n",
    "/sys/class/net/eth{}/mtu": "1500\n",
    "/sys/class/net/eth{}/flags": "0x1003\n",
    "/sys/class/net/eth{}/statistics/rx_packets": "5\n",
    "/sys/class/net/eth{}/queues/rx-0/rps_cpus": "3\n",
    f"{_PCI}/class": "0x020000\n",
    f"{_PCI}/irq": "7\n",
    f"{_PCI}/local_cpulist": "0-1\n",
    f"{_CPU}/cpu{{}}/topology/thread_siblings_list": "7\n",
    f"{_CPU}/cpu{{}}/topology/physical_package_id": "0\n",
    f"{_CPU}/cpu{{}}/cpufreq/scaling_governor": "x\n",
    f"{_CPU}/cpu{{}}/cpuidle/state0/name": "C1\n",
    f"{_CPU}/cpu{{}}/cpuidle/state0/time": "9\n",
    f"{_CPU}/cpu{{}}/thermal_throttle/core_throttle_count": "1\n",
    "/sys/devices/system/node/node{}/cpulist": "7-8\n",
    "/sys/devices/system/node/node{}/distance": "10 20\n",
    "/sys/module/ip_vs/parameters/p{}": "1\n",
    "/etc/sysctl.d/{}.conf": "net.ipv4.ip_forward = 1\n",
    "/cmd/ethtool/S/eth{}": "NIC statistics:\n     rx: 4\n",
    "/proc/sys/net/ipv4/conf/eth{}/rp_filter": "1\n",
}
FILES = {path.format(n): text.format(n) for path, text in _OF_EACH.items() for n in (7, 8)}
FILES |= {f"{_CPU}/online": "7-8\n", "/proc/modules": "ip_vs 1 0 - Live 0x0\n"}
LISTED = sorted(
    {name for name in snapshot.FIELDS for p in snapshot.patterns_of((name,)) if "*" in p}
)


class Vanishing:
    """A host on which every path that names number 8 is listed and is then gone."""

    def __init__(self, how):
        self._whole, self._how = RecordedHost(FILES, {}), how

    def read(self, path):
        text = self._whole.read(path)
        if "8" not in path.replace("08.0", "8"):
            return text
        if self._how is None:
            return ""
        raise self._how(f"{path}: gone")

    def glob(self, pattern):
        return self._whole.glob(pattern)

    def link(self, path):
        return self._whole.link(path)

    def mode(self, path):
        return None

    def monotonic(self):
        return 1.0


@pytest.mark.parametrize(
    "how", [SourceMissing, SourceRefused, None], ids=["gone", "refused", "empty"]
)
@pytest.mark.parametrize("field", LISTED)
def test_what_vanishes_costs_its_own_row_and_never_the_source(field, how):
    whole = snapshot.take(RecordedHost(FILES, {}), (field,))
    found = snapshot.take(Vanishing(how), (field,))

    assert set(found.errors) == set(whole.errors)
    assert (getattr(found, field) is None) == (getattr(whole, field) is None)
    if field in {"processes", "irq_threads"}:
        assert [row.pid for row in getattr(found, field)] == [7]


def test_every_source_of_a_list_is_tried():
    read = snapshot.take(RecordedHost(FILES, {}), LISTED)

    assert set(read.errors) == set()
    assert len(LISTED) >= 9


def test_processes_that_come_and_go_cost_nothing_else():
    sh = shutil.which("sh")
    loop = subprocess.Popen([sh, "-c", "while :; do sleep 0.02 & sleep 0.02; done"])
    try:
        for _ in range(6):
            sample = record(LiveHost(), snapshot.patterns_of(("processes", "irq_threads")))
            found = snapshot.take(sample, ("processes", "irq_threads"))
            assert found.errors == {}
            assert {1, loop.pid} <= {row.pid for row in found.processes}
    finally:
        loop.kill()
        loop.wait()
