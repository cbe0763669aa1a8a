import pytest

from dirtune.collect.ip_vs import (
    Connection,
    Forward,
    parse_connections,
    parse_ip_vs_stats,
    parse_ip_vs_stats_percpu,
    parse_services,
    read_services,
)
from dirtune.errors import ParseError, SourceMissing, SourceRefused
from dirtune.host import RecordedHost

HEAD = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
"""
SERVICES = (
    HEAD
    + """\
TCP  [fd00:0000:0000:0000:0000:0000:0000:0009]:0050 wrr 
  -> [fd00:0000:0000:0000:0000:0000:0000:0002]:0050      Route   1      0          0         
UDP  0A090909:0035 rr ops  
TCP  0A090909:01BB rr  persistent 75000 FFFFFFFF
  -> 0A020202:01BB      Tunnel  1      1          25        
  -> 0A020102:01BB      Route   0      0          0         
FWM  0000000A sh 
"""  # noqa: W291  (the kernel ends rows with blanks)
)


def test_services_as_ipvsadm_names_them():
    # 0x35 = 53, 0x1BB = 443, mark 0xA = 10: the same table in ipvsadm's words.
    assert [service.name for service in parse_services(SERVICES)] == [
        "TCP [fd00::9]:80",
        "UDP 10.9.9.9:53",
        "TCP 10.9.9.9:443",
        "FWM 10",
    ]


def test_destinations_flags_and_jiffies():
    six, udp, https, mark = parse_services(SERVICES)

    assert six.destinations[0].address == "fd00::2"
    assert udp.ops
    assert udp.destinations == ()
    assert https.persistent_jiffies == 75000
    first, second = https.destinations
    assert (first.address, first.port, first.forward) == ("10.2.2.2", 443, "Tunnel")
    assert (first.weight, first.active, first.inactive) == (1, 1, 25)
    assert second.weight == 0
    assert (mark.fwmark, mark.address, mark.scheduler) == (10, None, "sh")


def test_a_way_to_forward_that_is_not_known_yet_hides_no_service():
    text = SERVICES.replace(" Tunnel ", " Hyper  ")
    assert text != SERVICES

    https = parse_services(text)[2]

    assert [server.forward for server in https.destinations] == [Forward.OTHER, Forward.ROUTE]
    assert https.destinations[0].inactive == 25


def test_statistics_are_hexadecimal():
    text = """\
   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
 16AA370 E33656E5        0     51D8C8883AB3                0

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       4 1FB3C        0          1282A8F                0
"""
    stats = parse_ip_vs_stats(text)

    assert (stats.connections, stats.packets_in, stats.packets_out) == (23765872, 3811989221, 0)
    assert stats.bytes_in == 89991519156915


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing\n",
        f"{HEAD}  -> 0A020202:01BB Route 1 0 0\n",
        f"{HEAD}TCP nonsense rr\n",
        # ipaddress takes any text behind a % for a zone; the kernel prints none.
        f"{HEAD}TCP [fe80::1%a;flush]:0050 rr\n",
        f"{HEAD}FWM 1 rr\n -> [fe80::1%{{}}]:0 Masq 1 0 0\n",
    ],
)
def test_no_table_is_refused(text):
    with pytest.raises(ParseError, match="/proc/net/ip_vs"):
        parse_services(text)


def test_no_statistics_are_refused():
    with pytest.raises(ParseError, match="ip_vs_stats"):
        parse_ip_vs_stats("Conns Packets\n1 2\n")


# A director of two CPUs in mid-load: the estimator has not copied the last second yet.
PERCPU = """\
       Total Incoming Outgoing         Incoming         Outgoing
CPU    Conns  Packets  Packets            Bytes            Bytes
  0       10       3A        A              1F4                0
  1        3        5        5              106              164
  ~        F        5        5              106              164

     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
  0        0        0        0               15               20
"""


def test_the_counters_of_this_moment_are_those_of_the_cpus():
    stats = parse_ip_vs_stats_percpu(PERCPU)

    assert stats.connections == 16 + 3
    assert (stats.packets_in, stats.packets_out) == (58 + 5, 10 + 5)
    assert (stats.bytes_in, stats.bytes_out) == (500 + 262, 356)


@pytest.mark.parametrize(
    "text", ["", "CPU Conns\n", PERCPU.replace("3A", "3G"), "CPU Conns\n  ~ 1 2 3 4 5\n"]
)
def test_a_percpu_file_without_cpus_is_named(text):
    with pytest.raises(ParseError, match="ip_vs_stats_percpu"):
        parse_ip_vs_stats_percpu(text)


def test_a_host_without_ip_vs_has_no_services_and_a_record_without_network_tells_nothing():
    beside = {"/proc/net/snmp": ""}

    assert read_services(RecordedHost(beside, {})) == ()
    with pytest.raises(SourceMissing, match="/proc/net/ip_vs"):
        read_services(RecordedHost({"/proc/interrupts": ""}, {}))
    with pytest.raises(SourceRefused):
        read_services(RecordedHost(beside, {}, frozenset({"/proc/net/ip_vs"})))


# From a 6.1 kernel (its first row is a template), and a row of
# IPv6 as "%pI6" of ip_vs_conn_seq_show() prints it.
CONNECTIONS = """\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A010002 0000 0A090909 01BB 0A020202 01BB NONE            294
TCP 0A010002 A9DC 0A090909 01BB 0A020202 01BB SYN_RECV         55
TCP 0A010002 C528 0A090909 0050 0A020202 0050 ESTABLISHED     894
TCP fd00:0000:0000:0000:0000:0000:0000:0002 C528 fd00:0000:0000:0000:0000:0000:0000:0009 0050 \
fd00:0000:0000:0000:0000:0000:0000:0003 0050 FIN_WAIT         55
"""


def test_connections_without_templates():
    assert parse_connections(CONNECTIONS) == (
        Connection("TCP", "10.1.0.2", "10.9.9.9", 443, "SYN_RECV"),
        Connection("TCP", "10.1.0.2", "10.9.9.9", 80, "ESTABLISHED"),
        Connection("TCP", "fd00::2", "fd00::9", 80, "FIN_WAIT"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Pro FromIP"),
        (CONNECTIONS.replace("A9DC 0A090909 01BB", "A9DC"), "line 3"),
        (CONNECTIONS.replace("C528", "C52G"), "line 4"),
    ],
)
def test_what_is_no_connection_table_is_said(text, said):
    with pytest.raises(ParseError, match=said):
        parse_connections(text)
