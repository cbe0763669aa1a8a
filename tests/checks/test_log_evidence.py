"""The kernel log: the recorder keeps every line that a check reads, and it is evidence."""

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.no_destination import no_destination
from dirtune.checks.link.speed_duplex import speed_duplex
from dirtune.checks.net.neigh_overflow import neigh_overflow
from dirtune.checks.realserver.listen_overflow import listen_overflow
from dirtune.collect import commands, log_messages
from dirtune.collect.kernel_log import parse_kernel_log
from dirtune.collect.log_messages import LogLine
from dirtune.snapshot import Snapshot
from tests.checks.link.hosts import judged, log, port
from tests.checks.machines import director, service

# Each from a public report, or from the kernel's source: one line for each message that matters.
LINES = """\
[ 1653.820539] e1000e: eth0 NIC Link is Up 100 Mbps Half Duplex, Flow Control: None
[ 1653.820660] e1000e 0000:00:19.0 eth0: Link Speed was downgraded by SmartSpeed
[ 1678.832081] NETDEV WATCHDOG: eth0 (e1000e): transmit queue 0 timed out
[   12.345600] Generic PHY r8169-2200:00: Downshift occurred from negotiated speed 1Gbps
[   12.345678] r8169 0000:22:00.0 enp34s0: Link is Up - 100Mbps/Full (downshifted)
[   13.000000] IPv6: ADDRCONF(NETDEV_CHANGE): eth0: link becomes ready
[843041.359054] neighbour: arp_cache: neighbor table overflow!
[843041.359055] neighbour: ndisc_cache: neighbor table overflow!
[ 4001.100000] IPv4: martian source 192.168.77.20 from 172.16.10.30, on dev enp4s0
[ 9000.000000] ixgbe 0000:03:00.0 eth0: NIC Link is Down
[ 9001.000000] IPVS: rr: TCP 192.168.0.52:80 - no destination available
[ 9002.000000] TCP: request_sock_TCP: Possible SYN flooding on port 443. Sending cookies.
[ 9003.000000] nf_conntrack: nf_conntrack: table full, dropping packet
[ 9004.000000] ksoftirqd/0: page allocation failure: order:0, mode:0x20
[ 9005.000000] IPVS: ip_vs_conn_new(): no memory
[ 9006.000000] irq 19: nobody cared (try booting with the "irqpoll" option)
[ 9007.000000] Disabling IRQ #19
[ 9008.000000] clocksource: Marking clocksource 'tsc' as unstable because the skew is too large
[ 9009.000000] igb 0000:01:00.0: Failed to initialize MSI-X interrupts. Falling back to MSI
[ 9010.000000] do_IRQ: 4.39 No irq handler for vector
""".splitlines()
NOISE = [
    "[    0.000000] Linux version 6.1.0-22-amd64",
    "[    3.100000] EXT4-fs (sda1): mounted filesystem with ordered data mode",
]


def test_the_recorder_keeps_each_line_that_a_check_reads(tmp_path, monkeypatch):
    tool = tmp_path / "dmesg"
    tool.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join([*LINES, *NOISE]) + "\nEND\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    kept = subprocess.run(
        ["sh", "-c", commands.COMMANDS[commands.DMESG]], capture_output=True, text=True, check=True
    ).stdout.splitlines()

    assert kept == LINES


def test_no_check_reads_the_log_but_through_a_message():
    """A line that a check reads in another way may be one that the recorder leaves out."""
    folder = Path(log_messages.__file__).parents[1] / "checks"
    read = re.compile(r"(?<!\.lines\()(?:snapshot\.)?kernel_log\b(?! is None)(?!: tuple)")
    rows = [
        f"{path.name}: {row.strip()}"
        for path in folder.rglob("*.py")
        for row in path.read_text().splitlines()
        if read.search(
            row.replace("lines(kernel_log", "").replace("lines(snapshot.kernel_log", "")
        )
        and "import" not in row
    ]

    assert rows == []


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("Generic FE-GE Realtek PHY r8169-2200:00: Downshift occurred", {"phy": "r8169-2200:00"}),
        ("Generic PHY r8169-2200:00: Downshift occurred", {"pci": "0000:22:00.0"}),
        ("Generic PHY r8169-0-2200:00: Downshift occurred", {"pci": "0000:22:00.0"}),
        ("Microchip LAN8830 pci-0000:22:00.0:05: Downshift occurred", {"pci": "0000:22:00.0"}),
    ],
)
def test_messages_that_name_the_phy_belong_to_its_nic(text, fields):
    nic = dataclasses.replace(port(speed=100, driver="r8169"), **fields)
    other = dataclasses.replace(nic, name="eth1", pci="0000:23:00.0", phy=None, driver="ixgbe")

    (found,) = judged(speed_duplex, nic, other, kernel_log=log(text)).findings

    assert found.subject == "eth0"


def test_a_phy_of_another_nic_is_another():
    nic = dataclasses.replace(port(speed=100, driver="r8169"), pci="0000:02:00.0")
    rows = log("Generic PHY r8169-2200:00: Downshift occurred")

    assert judged(speed_duplex, nic, kernel_log=rows).status is Status.PASSED


def test_an_overflow_in_the_log_counts_where_the_counters_are_missing():
    rows = parse_kernel_log("[  999.0] neighbour: arp_cache: neighbor table overflow!\n")
    (found,) = run((neigh_overflow,), director(service(1), kernel_log=rows))[0].findings

    assert (found.severity, found.subject) == (Severity.HIGH, "ARP table")
    assert run((neigh_overflow,), director(service(1)))[0].status is Status.SKIPPED


def test_a_service_that_had_no_destination_is_named():
    lines = ("IPVS: rr: TCP 198.18.0.100:80 - no destination available",)
    rows = tuple(LogLine(400.0, text) for text in lines)
    taken = director(service(1, 1), service(1, 1, port=443), kernel_log=rows)

    (found,) = run((no_destination,), taken)[0].findings

    assert (found.severity, found.subject) == (Severity.MEDIUM, "TCP 198.18.0.100:80")
    assert "10 minutes ago" in found.message


def test_a_service_without_a_destination_long_ago_is_not():
    rows = (LogLine(10.0, "IPVS: wlc: FWM 3 0x00000003 - no destination available"),)
    marked = dataclasses.replace(service(1, 1), address=None, port=None, fwmark=3)
    recent = dataclasses.replace(director(service(1), marked, kernel_log=rows), taken_s=100.0)
    old = dataclasses.replace(recent, taken_s=90_000.0)

    assert run((no_destination,), recent)[0].findings[0].subject == "FWM 3"
    assert run((no_destination,), old)[0].status is Status.PASSED


def test_one_sample_has_the_message_of_a_syn_flood():
    rows = (LogLine(900.0, "TCP: request_sock_TCP: Possible SYN flooding on port 443."),)
    server = Snapshot(kernel_log=rows, taken_s=1000.0, snmp={}, interface_addresses=())

    (found,) = run((listen_overflow,), server)[0].findings

    assert (found.severity, found.subject) == (Severity.MEDIUM, "listening sockets")
