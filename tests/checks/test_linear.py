"""The work of each check grows in proportion to the host: calls are counted, not seconds."""

import sys

import pytest

from dirtune import checks
from dirtune.checks import discovery
from dirtune.host import RecordedHost
from dirtune.snapshot import take_all

CPUS = 8
N = 24
ETHTOOL = {
    "l": "Channel parameters for {}:\nPre-set maximums:\nCombined:\t63\n"
    "Current hardware settings:\nCombined:\t2\n",
    "g": "Ring parameters for {}:\nPre-set maximums:\nRX:\t\t4096\nTX:\t\t4096\n"
    "Current hardware settings:\nRX:\t\t256\nTX:\t\t256\n",
    "k": "Features for {}:\ngeneric-receive-offload: off\nlarge-receive-offload: on\n",
    "c": "Coalesce parameters for {}:\nAdaptive RX: off  TX: off\nrx-usecs: 0\nrx-frames: 0\n",
}


def head():
    return "      " + " ".join(f"CPU{cpu}" for cpu in range(CPUS)) + "\n"


def nic(number, later):
    """A NIC whose two busy queues share a CPU, with small rings, losses and pauses."""
    name, pci = f"eth{number}", f"0000:{number:02x}:00.0"
    base = f"/sys/class/net/{name}"
    counters = {"rx_packets": 10**6, "rx_bytes": 10**9, "rx_missed_errors": 10**4}
    one = {"operstate": "up", "carrier": 1, "speed": 10_000, "flags": "0x1003", "type": 1}
    one |= {"carrier_changes": 9, "ifindex": number + 2, "mtu": 1500}
    files = {f"{base}/{key}": f"{value}\n" for key, value in one.items()}
    files |= {f"{base}/statistics/{key}": f"{later * n}\n" for key, n in counters.items()}
    files |= {f"/cmd/ethtool/{key}/{name}": text.format(name) for key, text in ETHTOOL.items()}
    files[f"/cmd/ethtool/S/{name}"] = (
        f"NIC statistics:\n     rx_missed_errors: {later * 10**4}\n     rx_queue_0_packets: "
        f"{later * 9**5}\n     rx_queue_1_packets: {later * 99}\n     rx_pause: {later * 999}\n"
    )
    device = {"numa_node": 0, "local_cpulist": f"0-{CPUS - 1}", "class": "0x020000"}
    device |= {"current_link_width": 1, "max_link_width": 8}
    for key, value in device.items():
        files[f"/sys/bus/pci/devices/{pci}/{key}"] = f"{value}\n"
    for irq in (200 + 2 * number, 201 + 2 * number):
        files[f"/proc/irq/{irq}/smp_affinity_list"] = "0\n"
        files[f"/proc/irq/{irq}/effective_affinity_list"] = "0\n"
        files[f"/sys/bus/pci/devices/{pci}/msi_irqs/{irq}"] = "msix\n"
    links = {base: f"../../devices/pci0000:00/{pci}/net/{name}", f"{base}/device": f"../{pci}"}
    links[f"/sys/bus/pci/devices/{pci}/driver"] = "../../../../bus/pci/drivers/ixgbe"
    return files, links


def line(irq, later, tail):
    return f" {irq}: {later * 90_000} " + "0 " * (CPUS - 1) + f" {tail}\n"


def of_nics(count, later):
    files, links = {}, {}
    for number in range(count):
        for both, part in zip((files, links), nic(number, later), strict=True):
            both.update(part)
    rows = (
        line(200 + vector, later, f"PCI-MSI {vector}-edge  eth{vector // 2}-TxRx-{vector % 2}")
        for vector in range(2 * count)
    )
    return files | {"/proc/interrupts": head() + "".join(rows)}, links


def of_lines(count, later):
    files, links = of_nics(2, later)
    rows = (
        line(10 + n, later, f"IO-APIC {n}-fasteoi  a{n}, b{n}, eth{n % 2}") for n in range(count)
    )
    for number in range(count):
        files[f"/proc/irq/{10 + number}/spurious"] = f"count 99\nunhandled {later * 900}\n"
    return files | {"/proc/interrupts": head() + "".join(rows)}, links


def of_services(count, later):
    files, links = of_nics(2, later)
    rows = ["IP Virtual Server version 1.2.1 (size=4096)", "Prot LocalAddress:Port", "  -> R"]
    for number in range(count):
        rows.append(f"TCP  C612{number:04X}:0050 wrr persistent 300")
        for server, way in enumerate(("Route", "Tunnel", "Masq")):
            address = f"0A0{server}{number:04X}:0050"
            rows.append(f"  -> {address}      {way}   {server * 7}   {later * 9}   {later * 99}")
    return files | {"/proc/net/ip_vs": "\n".join(rows) + "\n"}, links


def host(kind, count):
    samples = []
    for later in (0, 1):
        files, links = kind(count, later)
        ticks = "".join(
            f"cpu{cpu} {later * 20} 0 10 {100 + later * (10 if cpu == 0 else 170)} 0 0 "
            f"{later * (130 if cpu == 0 else 0)} 0\n"
            for cpu in range(CPUS)
        )
        files |= {"/proc/stat": f"cpu 0 0 0 0\n{ticks}", "/proc/cmdline": "quiet\n"}
        files |= {
            f"/sys/devices/system/cpu/{key}": f"0-{CPUS - 1}\n" for key in ("online", "possible")
        }
        for cpu in range(CPUS):
            topology = f"/sys/devices/system/cpu/cpu{cpu}/topology"
            files[f"{topology}/thread_siblings_list"] = f"{cpu}\n"
        samples.append(RecordedHost(files, links, taken_s=10.0 + 2 * later))
    return take_all(tuple(samples))


def calls(check, snapshot):
    """The number of calls that a check makes; what checks share was computed before."""
    checks.run((check,), snapshot)
    count = [0]

    def counting(_frame, event, _argument):
        count[0] += event in {"call", "c_call"}

    sys.setprofile(counting)
    try:
        checks.run((check,), snapshot)
    finally:
        sys.setprofile(None)
    return count[0]


@pytest.fixture(autouse=True)
def _what_holds_for_all():
    """Leave out what the other tests of checks hold, which would count as the checks' work."""


@pytest.mark.parametrize(
    ("kind", "reports"),
    [
        (of_nics, {"nic/channels-low", "irq/queue-stacking", "nic/coalescing-off"}),
        (of_lines, {"irq/spurious-unhandled", "irq/shared-with-nic"}),
        (of_services, {"nic/channels-low"}),
    ],
)
def test_twice_the_host_is_twice_the_work(kind, reports):
    once, twice = host(kind, N), host(kind, 2 * N)
    every = discovery.all_checks()

    work = {check.id: (calls(check, once), calls(check, twice)) for check in every}

    # A linear check has at most twice the calls, and a quadratic one nearly four times as many.
    assert {name: pair for name, pair in work.items() if pair[1] > 2.6 * pair[0] + 200} == {}
    reported = {outcome.check.id for outcome in checks.run(every, twice) if outcome.findings}
    assert reported >= reports
