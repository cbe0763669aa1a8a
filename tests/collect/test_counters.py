"""softirqs, softnet_stat, conntrack, neighbours, snmp, meminfo, limits: rows and columns."""

import bz2
import tracemalloc
import warnings

import pytest

from dirtune.collect.conntrack import parse_stat_table
from dirtune.collect.limits import parse_limits
from dirtune.collect.meminfo import parse_meminfo
from dirtune.collect.neighbours import parse_permanent, read_neighbours
from dirtune.collect.net import read_interfaces
from dirtune.collect.net_dev import parse_net_dev
from dirtune.collect.snmp import parse_snmp, parse_sockstat, read_snmp
from dirtune.collect.softirqs import parse_softirqs
from dirtune.collect.softnet import SoftnetRow, parse_softnet
from dirtune.collect.stat import parse_stat
from dirtune.errors import ParseError, SourceMissing
from dirtune.host import RecordedHost
from tests.real import FIXTURES

needs_dumps = pytest.mark.skipif(not FIXTURES.exists(), reason="the real dumps are not here")


def text_of(path):
    raw = path.read_bytes()
    return (bz2.decompress(raw) if path.suffix == ".bz2" else raw).decode("utf-8", "replace")


def test_softirqs_have_a_count_for_each_possible_cpu():
    text = "                    CPU0       CPU1\n          HI:          1          0\n"
    text += "      NET_RX:        794       1782\n"

    found = parse_softirqs(text)

    assert found.cpus == (0, 1)
    assert found.counts == {"HI": (1, 0), "NET_RX": (794, 1782)}


@pytest.mark.parametrize("text", ["", "HI: 1\n", "  CPU0 CPU1\n  HI: 1\n", "  CPU0\n  HI: x\n"])
def test_softirqs_that_do_not_fit_their_header_are_refused(text):
    with pytest.raises(ParseError, match="/proc/softirqs"):
        parse_softirqs(text)


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ("0000000a 1 2 0 0 0 0 0 3", SoftnetRow(None, 10, 1, 2, None, None)),
        ("0000000a 1 2 0 0 0 0 0 3 4", SoftnetRow(None, 10, 1, 2, 4, None)),
        ("0000000a 1 2 0 0 0 0 0 3 4 5", SoftnetRow(None, 10, 1, 2, 4, 5)),
        ("0000000a 1 2 0 0 0 0 0 3 4 5 6 0000001f", SoftnetRow(31, 10, 1, 2, 4, 5)),
        ("0000000a 1 2 0 0 0 0 0 3 4 5 6 0000001f 7 8", SoftnetRow(31, 10, 1, 2, 4, 5)),
    ],
    ids=["2.6.18", "2.6.35", "3.11", "5.10", "6.12"],
)
def test_softnet_rows_of_every_kernel(row, wanted):
    assert parse_softnet(row + "\n") == (wanted,)


@pytest.mark.parametrize("text", ["", "1 2 3 4\n", "1 2 3 4 5 6 7 8 xyz\n"])
def test_softnet_rows_of_no_kernel_are_refused(text):
    with pytest.raises(ParseError, match="softnet_stat"):
        parse_softnet(text)


@needs_dumps
@pytest.mark.parametrize(
    ("name", "first"),
    [  # first rows, converted by printf(1)
        ("nodeexp-11col-4cpu-drops.txt", SoftnetRow(None, 299641, 0, 1, 0, 0)),
        ("hjr3-2.6.32-9col.txt", SoftnetRow(None, 1842008611, 0, 1, None, None)),
    ],
)
def test_softnet_rows_of_real_machines(name, first):
    assert parse_softnet(text_of(FIXTURES / "softnet_stat" / name))[0] == first


@needs_dumps
@pytest.mark.parametrize(
    ("folder", "parse"),
    [
        ("softirqs", parse_softirqs),
        ("softnet_stat", parse_softnet),
        ("proc_stat", parse_stat),
        ("net_dev", parse_net_dev),
    ],
)
def test_every_real_table_parses_without_a_warning(folder, parse):
    paths = sorted((FIXTURES / folder).iterdir())

    assert len(paths) >= 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in paths:
            assert parse(text_of(path)), path.name


STAT = """\
entries  clashres found new invalid ignore delete insert insert_failed drop early_drop
0000000b  00000000 00000001 00000000 00000000 00000000 00000000 0000000a 00000000 00000002 00000000
0000000b  00000000 00000001 00000000 00000000 00000000 00000000 0000000a 00000000 00000010 00000001
"""


def test_conntrack_sums_cpus_and_counts_entries_once():
    found = parse_stat_table("x", STAT)

    assert (found["entries"], found["found"], found["insert"]) == (11, 2, 20)
    assert (found["drop"], found["early_drop"]) == (18, 1)


@pytest.mark.parametrize("text", ["", "entries found\n", "entries found\n1\n", "entries\nxyz\n"])
def test_a_stat_table_that_does_not_fit_is_refused(text):
    with pytest.raises(ParseError, match="arp_cache"):
        parse_stat_table("/proc/net/stat/arp_cache", text)


def test_neighbours_without_ipv6():
    text = (
        "entries  allocs table_fulls\n00000013  0000000b 00000000\n00000013  00000001 00000002\n"
    )

    found = read_neighbours(RecordedHost({"/proc/net/stat/arp_cache": text}, {}))

    assert found == {"ipv4": {"entries": 19, "allocs": 12, "table_fulls": 2}}


ARP = """\
IP address       HW type     Flags       HW address            Mask     Device
198.18.0.11      0x1         0x2         52:54:00:00:00:11     *        eth0
198.18.0.12      0x1         0x6         52:54:00:00:00:12     *        eth0
198.18.0.13      0x1         0x0         00:00:00:00:00:00     *        eth0
"""


def test_permanent_neighbours_are_counted():
    table = "entries  table_fulls\n00000003  00000000\n"
    files = {"/proc/net/stat/arp_cache": table, "/proc/net/arp": ARP}

    assert read_neighbours(RecordedHost(files, {}))["ipv4"]["permanent"] == 1


@pytest.mark.parametrize("text", ["", "no table\n", f"{ARP}198.18.0.14 0x1\n"])
def test_what_is_no_table_of_arp(text):
    with pytest.raises(ParseError):
        parse_permanent(text)


SNMP = "Ip: Forwarding DefaultTTL\nIp: 1 64\nTcp: MaxConn RetransSegs\nTcp: -1 7\n"


def test_counters_are_zipped_by_name():
    found = parse_snmp(SNMP)

    assert found == {
        "Ip.Forwarding": 1,
        "Ip.DefaultTTL": 64,
        "Tcp.MaxConn": -1,
        "Tcp.RetransSegs": 7,
    }


@pytest.mark.parametrize(
    "text", ["Ip: A B\nIp: 1\n", "Ip: A\nTcp: 1\n", "Ip: A\n", "Ip: A\nIp: x\n"]
)
def test_counters_without_their_names_are_refused(text):
    with pytest.raises(ParseError, match="/proc/net/snmp"):
        parse_snmp(text)


def test_sockstat_names_its_protocol():
    text = "sockets: used 100\nTCP: inuse 2 orphan 0 tw 5 alloc 8 mem 405\n"

    assert parse_sockstat(text)["sockstat.TCP.tw"] == 5


def test_snmp_alone_is_enough():
    assert read_snmp(RecordedHost({"/proc/net/snmp": SNMP}, {}))["Tcp.RetransSegs"] == 7
    with pytest.raises(SourceMissing):
        read_snmp(RecordedHost({}, {}))


def test_memory_is_in_bytes():
    found = parse_meminfo("MemTotal:        2048 kB\nHugePages_Total:       3\n")

    assert found == {"MemTotal": 2097152, "HugePages_Total": 3}


@pytest.mark.parametrize("text", ["", "MemFree: 1 kB\n", "MemTotal: lots\n"])
def test_memory_without_its_total_is_refused(text):
    with pytest.raises(ParseError, match="meminfo"):
        parse_meminfo(text)


def test_limits_are_soft_ones():
    text = "Limit                     Soft Limit           Hard Limit           Units     \n"
    text += "Max open files            1024                 524288               files     \n"
    text += "Max cpu time              unlimited            unlimited            seconds   \n"

    assert parse_limits(text) == {"Max open files": 1024, "Max cpu time": None}


def test_a_text_without_limits_is_refused():
    with pytest.raises(ParseError, match="limits"):
        parse_limits("nothing\n")


DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
    lo:     897      13    0    0    0     0          0         0      897      13    0 0 0 0 0 0
  eth0:29942907  430342    2 1138    7     0          0      1566 477692743  529830    5 0 0 0 0 0
"""


def test_interfaces_of_a_host_without_sysfs():
    lo, eth0 = read_interfaces(RecordedHost({"/proc/net/dev": DEV}, {}))

    assert (lo.name, eth0.name, eth0.physical, eth0.operstate) == ("lo", "eth0", None, None)
    assert (eth0.rx_packets, eth0.tx_packets) == (430342, 529830)
    assert eth0.statistics == {
        "rx_bytes": 29942907,
        "rx_packets": 430342,
        "rx_errors": 2,
        "rx_dropped": 1138,
        "rx_fifo_errors": 7,
        "tx_bytes": 477692743,
        "tx_packets": 529830,
        "tx_errors": 5,
        "tx_dropped": 0,
    }


@pytest.mark.parametrize("text", ["", "a\nb\n", DEV.replace("430342", "many")])
def test_no_table_of_interfaces(text):
    with pytest.raises(ParseError, match="/proc/net/dev"):
        parse_net_dev(text)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_softnet, "1 " * 5_000_000),
        (parse_softirqs, "CPU0\nNET_RX: " + "1 " * 5_000_000),
        (parse_meminfo, "MemFree: " + "1 " * 5_000_000),
        (parse_stat, "cpu0 " + "1 " * 5_000_000),
    ],
    ids=["softnet_stat", "softirqs", "meminfo", "stat"],
)
def test_a_row_without_end_is_not_split_into_all_its_words(parse, text):
    tracemalloc.start()
    with pytest.raises(ParseError) as refused:
        parse(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 5 * len(text)
    assert len(str(refused.value)) < 200
