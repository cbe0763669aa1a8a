"""Numbers of a host: as the kernel writes them, and nothing else that int() would take."""

import pytest

from dirtune.collect import (
    conntrack,
    ethtool,
    files,
    interrupts,
    ip_vs,
    meminfo,
    neighbours,
    net_dev,
    packet,
    processes,
    snmp,
    softirqs,
    softnet,
    stat,
)
from dirtune.errors import ParseError
from dirtune.host import RecordedHost

# int(text, 16) takes the first six, int(text) the last three: a sign, a prefix, a separator,
# digits of another script, and more digits than a float can hold.
WRONG_HEXADECIMAL = ("-1", "+1", "0x", "0x1", "1_0", "f" * 17, "", " 1", "٣" * 3)
WRONG_DECIMAL = ("+1", "1_0", "9" * 400, "9" * 21, "", "-", "٣")


@pytest.mark.parametrize("text", WRONG_HEXADECIMAL)
def test_a_hexadecimal_number_has_digits_only(text):
    with pytest.raises(ValueError, match="not a hexadecimal number"):
        files.hexadecimal(text)


@pytest.mark.parametrize("text", WRONG_DECIMAL)
def test_a_number_has_at_most_64_bits(text):
    with pytest.raises(ValueError, match="not a number of 64 bits"):
        files.decimal(text)


@pytest.mark.parametrize("text", ["9" * 400, "9" * 5000, "1_0", "0x10"])
def test_a_file_with_another_number_is_refused(text):
    with pytest.raises(ParseError, match="is not a number"):
        files.number_in(RecordedHost({"/sys/x": text}, {}), "/sys/x")


def test_numbers_as_the_kernel_writes_them():
    host = RecordedHost({"/a": "-1\n", "/b": "0x020000\n", "/c": "18446744073709551615\n"}, {})

    assert files.number_in(host, "/a") == -1
    assert files.number_in(host, "/b", 16) == 0x020000
    assert files.number_in(host, "/c") == 2**64 - 1
    assert files.hexadecimal("fFfFfFfFfFfFfFfF") == 2**64 - 1


PROCESS = "7 (x) S 2 0 0 0 -1 0 0 0 0 0 {n} 5 0 0 20 0 1 0 9 " + "0 " * 20
TABLES = {
    "softnet": (softnet.parse_softnet, "{h} 00000000 00000000 " + "00000000 " * 10),
    "conntrack": (
        lambda text: conntrack.parse_stat_table("x", text),
        "entries searched\n{h} 00000000\n",
    ),
    "ip_vs_stats": (
        ip_vs.parse_ip_vs_stats,
        " Conns Packets Packets Bytes Bytes\n{h} 0 0 0 0\n",
    ),
    "ip_vs_stats_percpu": (
        ip_vs.parse_ip_vs_stats_percpu,
        "CPU Conns Packets Packets Bytes Bytes\n0 {h} 0 0 0 0\n",
    ),
    "arp": (
        neighbours.parse_permanent,
        "IP address HW type Flags\n198.18.0.1 0x1 {h} 0 * eth0\n",
    ),
    "packet": (packet.parse_packet, "sk RefCnt Type Proto Iface R Inode\n0 3 3 {h} 2 1 7\n"),
    "table size": (ip_vs.parse_table_size, "IP Virtual Server version 1.2.1 (size={n})\n"),
    "interrupts": (interrupts.parse_interrupts, "  CPU0\n 1: {n} XT-PIC i8042\n"),
    "interrupts of text": (interrupts.parse_interrupts, "  CPU0\nNMI: {n} x\n"),
    "softirqs": (softirqs.parse_softirqs, "  CPU0\n NET_RX: {n}\n"),
    "stat": (stat.parse_stat, "cpu 1 1 1 1\nintr {n} 0\n"),
    "meminfo": (meminfo.parse_meminfo, "MemTotal: {n} kB\n"),
    "snmp": (snmp.parse_snmp, "Tcp: A\nTcp: {n}\n"),
    "sockstat": (snmp.parse_sockstat, "TCP: inuse {n}\n"),
    "net_dev": (net_dev.parse_net_dev, "Inter-|\n face |\neth0: {n}" + " 0" * 15 + "\n"),
    "ethtool": (ethtool.parse_statistics, "     rx_packets: {n}\n"),
    "process": (processes.parse_process, PROCESS),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_takes_the_numbers_of_its_kernel_only(name):
    parse, text = TABLES[name]
    parse(text.format(h="0000000a", n="10"))

    wrong = ("-1", "0x", "1_0", "f" * 200) if "{h}" in text else ("9" * 400,)
    for number in wrong:
        with pytest.raises(ParseError):
            parse(text.format(h=number, n=number))
