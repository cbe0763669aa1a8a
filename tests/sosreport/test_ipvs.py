"""Listings of ipvsadm against the kernel's file and netlink's answer for the same table."""

import pytest

from dirtune.collect.ip_vs import Destination, Forward, parse_services
from dirtune.collect.ipvs_netlink import parse_ipvs
from dirtune.host import RecordedHost
from dirtune.lvs.model import IP_VS_SVC_F_ONEPACKET, IP_VS_SVC_F_SCHED_SH_PORT
from dirtune.sosreport.ipvs import translated

# The columns are those of ipvsadm.c, print_service_entry() and print_largenum().
LISTED = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  198.18.0.100:80 wlc persistent 300 mask 255.255.255.0
  -> 198.18.1.1:8080              Masq    3      41         12
  -> 198.18.1.2:8080              Masq    0      0          7
TCP  [fd00::64]:443 sh (sh-port)
  -> [fd00::1]:443                Route   1      0          0
UDP  198.18.0.100:53 rr ops
  -> 198.18.0.100:53              Local   1      0          0
FWM  4294967295 IPv6 mh
  -> [fd00::2]:0                  Tunnel  1      0          0
"""
STATS = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  198.18.0.100:80                  1234 12345678        0   99999K   123M
  -> 198.18.1.1:8080                  1200 12345000        0   99999K      0
TCP  [fd00::64]:443                      0        0        0        0        0
"""
THRESHOLDS = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port            uthreshold lthreshold ActiveConn InActConn
  -> RemoteAddress:Port
TCP  198.18.0.100:80 wlc persistent 300 mask 255.255.255.0
  -> 198.18.1.1:8080              55179      100        41         12
"""
PERSISTENT = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn
  -> RemoteAddress:Port
TCP  198.18.0.100:80 wlc persistent 300 mask 255.255.255.0
  -> 198.18.1.1:8080              3         17          41         12
"""
VIEWS = {"_--stats": STATS, "_--thresholds": THRESHOLDS, "_--persistent-conn": PERSISTENT} | {
    "_--timeout": "Timeout (tcp tcpfin udp): 900 120 300\n",
    "": LISTED,
}


def sources(**views):
    at = "/sos_commands/ipvs/ipvsadm_-Ln"
    found = {f"{at}{name}": text for name, text in (VIEWS | views).items() if text is not None}
    return dict(translated(RecordedHost(found, {})))


def test_the_services_are_those_of_the_kernels_file():
    web, secure, dns, marked = parse_services(sources()["/proc/net/ip_vs"])

    assert (web.name, web.scheduler, web.ops) == ("TCP 198.18.0.100:80", "wlc", False)
    assert web.persistent_jiffies is not None
    assert web.destinations[0] == Destination("198.18.1.1", 8080, Forward.MASQ, 3, 41, 12)
    assert (web.destinations[1].weight, web.destinations[1].inactive) == (0, 7)
    assert secure.name == "TCP [fd00::64]:443"
    assert secure.destinations[0].address == "fd00::1"
    assert dns.ops
    assert dns.persistent_jiffies is None
    assert dns.destinations[0].forward is Forward.LOCAL
    assert (marked.fwmark, marked.scheduler) == (4294967295, "mh")


def test_the_other_views_give_what_netlink_gives():
    ipvs = parse_ipvs(sources()["/netlink/ipvs.json"])
    web, secure, dns, marked = ipvs.services

    assert ipvs.timeouts_s == {"tcp": 900, "tcp_fin": 120, "udp": 300}
    assert (web.persistent_s, web.netmask) == (300, "255.255.255.0")
    assert (web.connections, web.packets_in, web.packets_out) == (1234, 12_345_678, 0)
    assert (web.bytes_in, web.bytes_out) == (99_999_000, 123_000_000)
    first, second = web.destinations
    assert (first.upper, first.lower, first.persistent) == (55_179, 100, 17)
    assert (first.connections, first.packets_in) == (1200, 12_345_000)
    assert second.connections is None
    assert secure.flags == IP_VS_SVC_F_SCHED_SH_PORT
    assert dns.flags == IP_VS_SVC_F_ONEPACKET
    assert dns.connections is None
    assert (marked.fwmark, marked.family, marked.address) == (4294967295, 6, None)


def test_without_counters_only_the_table_is_known():
    assert set(sources(**{"_--stats": None})) == {"/proc/net/ip_vs"}


def test_a_director_without_services_is_one():
    empty = "\n".join(LISTED.splitlines()[:3])

    assert parse_services(sources(**{"": empty})["/proc/net/ip_vs"]) == ()


@pytest.mark.parametrize(
    "text",
    ["", "Can't initialize ipvs: Protocol not available\nAre you sure?\n", "bash: ipvsadm: x\n"],
)
def test_an_ipvsadm_that_failed_tells_nothing(text):
    assert sources(**{"": text}) == {}


@pytest.mark.parametrize(
    "row",
    [
        "TCP  198.18.0.100:80",
        "TCP  999.18.0.100:80 wlc",
        "  -> 198.18.1.1:8080",
        "TCP  198.18.0.1:99999 wlc",
        "  -> 198.18.1.1:8080 Masq x 0 0",
        "FWM  99999999999 rr",
        "TCP  [fd00::zz]:1 rr",
        "ipvsadm: interrupted",
    ],
)
def test_a_table_of_which_a_row_cannot_be_read_is_not_read_in_part(row):
    assert sources(**{"": f"{LISTED}{row}\n"}) == {}
