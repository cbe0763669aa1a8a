"""Lines of the kernel log that a program wrote, or that quote a name: they are no evidence."""

import dataclasses

import pytest

from dirtune.checks import Status, discovery, run
from dirtune.snapshot import take_all
from tests.checks.reported import Host

HOST = Host(
    table="""
    TCP  192.168.0.52:80 rr
      -> 192.168.0.7:80 Route 1 0 0
    """,
    netlink={},
    addresses="eth0 192.168.0.52/24\nlo 192.168.0.77/32",
    nics={"eth0": "e1000e", "enp34s0": "r8169@pci0000:00/0000:22:00.0"},
    files={
        "/proc/interrupts": "      CPU0\n 19:  5  IO-APIC  19-fasteoi  eth0\n",
        "/proc/cmdline": "quiet\n",
        "/proc/sys/net/core/somaxconn": "4096\n",
        "/proc/sys/net/ipv4/neigh/default/gc_thresh3": "1024\n",
        "/proc/sys/net/ipv6/neigh/default/gc_thresh3": "1024\n",
        "/proc/net/stat/arp_cache": "entries allocs\n00000010 00000010\n",
        "/proc/net/stat/ndisc_cache": "entries allocs\n00000010 00000010\n",
        "/proc/sys/vm/min_free_kbytes": "90112\n",
        "/proc/sys/net/ipv4/conf/all/rp_filter": "1\n",
        "/proc/sys/net/ipv4/conf/eth0/rp_filter": "1\n",
        "/proc/sys/net/ipv4/conf/eth0/accept_local": "0\n",
        "/proc/sys/net/netfilter/nf_conntrack_max": "65536\n",
        "/proc/sys/net/netfilter/nf_conntrack_count": "10\n",
        "/sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
        "/sys/devices/system/clocksource/clocksource0/available_clocksource": "hpet acpi_pm\n",
        "/proc/cpuinfo": "processor : 0\nflags : constant_tsc nonstop_tsc\n",
    },
)
KERNELS = [
    "NETDEV WATCHDOG: eth0 (e1000e): transmit queue 0 timed out",
    "Generic PHY r8169-2200:00: Downshift occurred from negotiated speed 1Gbps",
    "neighbour: arp_cache: neighbor table overflow!",
    "neighbour: ndisc_cache: neighbor table overflow!",
    "IPv4: martian source 192.168.0.9 from 192.168.0.52, on dev eth0",
    "IPVS: rr: TCP 192.168.0.52:80 - no destination available",
    "TCP: request_sock_TCP: Possible SYN flooding on port 443. Sending cookies.",
    "nf_conntrack: nf_conntrack: table full, dropping packet",
    "ksoftirqd/0: page allocation failure: order:0, mode:0x20",
    "IPVS: ip_vs_conn_new(): no memory",
    'irq 19: nobody cared (try booting with the "irqpoll" option)',
    "Disabling IRQ #19",
    "clocksource: Marking clocksource 'tsc' as unstable because the skew is too large",
    "e1000e 0000:00:03.0 eth0: Failed to allocate MSI-X vectors, reducing to 4",
    "e1000e: eth0: not enough MSI-X vectors",
]
"""Kernel messages about HOST, each of which changes what an audit of it says."""
FORGED = [
    "x: {}",
    "x[77]: {}",
    "systemd[1]: Starting {}",
    'audit: type=1400 comm="{}"',
    "usb 1-1: Product: {}",
    "x: got {} at 12",
    " {}",
    "e1000e: {}",
]


def audited(*texts):
    """What every check says of HOST with these messages in its log."""
    log = "[    1.000000] Linux version 6.1\n" + "".join(f"[99999.5] {t}\n" for t in texts)
    host = dataclasses.replace(HOST, log=log).recorded()
    outcomes = run(discovery.all_checks(), take_all((host,)))
    assert not [o.reason for o in outcomes if o.status is Status.ERROR]
    return {
        o.check.id: (o.status, [(f.severity, f.message) for f in o.findings]) for o in outcomes
    }


@pytest.fixture(autouse=True)
def _what_holds_for_all():
    """Leave out what the other tests of checks hold, which takes much longer than these audits."""


@pytest.fixture(scope="module")
def without():
    return audited()


@pytest.mark.parametrize("text", KERNELS)
def test_what_the_kernel_logs_is_evidence(text, without):
    assert audited(text, text) != without


@pytest.mark.parametrize("forged", FORGED)
def test_what_a_program_logs_is_none(forged, without):
    """Two of the lines are true where a driver may have said them, so they are left out there."""
    told = [t for t in KERNELS if not (forged.startswith("e1000e") and "MSI-X" in t)]
    if forged.startswith("e1000e"):
        told = [t for t in told if not t.startswith(("NETDEV", "Generic"))]

    assert audited(*(forged.format(text) for text in told)) == without


def test_a_line_break_in_a_name_begins_no_message(without):
    assert audited(*(f"x[7]: segfault at 0 in a\n{text}" for text in KERNELS)) == without
