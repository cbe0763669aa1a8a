import ipaddress
import os

import pytest

from dirtune.analyse.redact import Redactor, hostnames, networks
from dirtune.collect.addresses import (
    parse_fib_trie,
    parse_if_inet6,
    parse_ip_addr,
    parse_local_networks,
)
from dirtune.collect.ip_vs import parse_services
from dirtune.collect.routes import parse_routes, route_to

KEY = b"0123456789abcdef"
ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0104030A	0003	0	0	0	00000000	0	0	0
eth0	0004030A	00000000	0001	0	0	0	00FFFFFF	0	0	0
eth1	0000000A	0904030A	0003	0	0	0	000000FF	0	0	0
"""
TRIE = """\
  +-- 10.3.4.0/24 2 0 2
     |-- 10.3.4.9
        /32 host LOCAL
     |-- 10.3.5.64
        /26 host LOCAL
"""
NETWORKS = (
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.3.4.0/24",
    "10.3.4.9/32",
    "10.3.5.64/26",
    "10.32.0.0/13",
)
SERVICES = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A030409:0050 rr
  -> 0A030407:0050      Masq    1      0          0
FWM  00000007 rr
TCP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0050 rr
"""


def redactor(*names, key=KEY):
    return Redactor(key, names)


def alone(address):
    return redactor().text("/cmd/x", address)


@pytest.mark.parametrize(
    "kept",
    [
        *("0.0.0.0", "127.0.0.53", "224.0.0.18", "255.255.255.0", "255.255.255.255"),
        *("::", "::1", "ff02::1", "12:34:56", "0000:00:1f.3", "00:00:00:00:00:00", "6.1.0"),
    ],
)
def test_what_is_nobodys_secret_stays(kept):
    assert alone(f"a {kept} b") == f"a {kept} b"


@pytest.mark.parametrize(
    "address", ["198.51.100.7", "10.3.4.9", "2001:db8::7", "fe80::5054:ff:fe12:3456"]
)
@pytest.mark.parametrize("around", ["{}", "{}/24 x", "src={},", "[{}]", "via {} dev eth0"])
def test_an_address_gets_another(address, around):
    said = alone(around.format(address))

    assert address not in said
    assert said == around.format(alone(address))


def test_shared_prefixes_stay_shared():
    numbers = [int.from_bytes(os.urandom(3), "big") for _ in range(40)]
    addresses = [ipaddress.IPv4Address((10 << 24) + n) for n in numbers]
    found = [ipaddress.IPv4Address(alone(str(a))) for a in addresses]

    for i, (before, after) in enumerate(zip(addresses, found, strict=True)):
        assert after in ipaddress.IPv4Network("10.0.0.0/8")
        for other, others in zip(addresses[:i], found[:i], strict=True):
            same = (int(before) ^ int(other)).bit_length()
            assert (int(after) ^ int(others)).bit_length() == same


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "126.1.1.1", "203.0.113.4", "192.0.2.1", "11.0.0.1"]
)
def test_a_public_address_stays_public(address):
    found = ipaddress.IPv4Address(alone(address))

    assert not found.is_loopback
    assert not found.is_multicast
    assert found not in ipaddress.IPv4Network("10.0.0.0/8")


def test_hexadecimal_forms_agree_with_the_dotted_ones():
    leaf = ("/proc/net/fib_trie", TRIE)
    known = networks([leaf, ("/proc/net/route", ROUTES), ("/cmd/nft", "ip saddr 10.32.0.0/13")])
    assert known == set(map(ipaddress.IPv4Network, NETWORKS))
    each = Redactor(KEY, (), known)
    for network in NETWORKS:
        assert ipaddress.IPv4Network(each.text("/cmd/x", network)) is not None
    vip, server = (each.text("/cmd/ip-addr", a) for a in ("10.3.4.9", "10.3.4.7"))
    (service, mark, six) = parse_services(each.text("/proc/net/ip_vs", SERVICES))
    routes = parse_routes(each.text("/proc/net/route", ROUTES))
    trie = each.text(*leaf)
    row = f"{int(ipaddress.IPv6Address('2001:db8::1')):032x} 02 40 00 80 eth0\n"

    assert (service.address, service.destinations[0].address) == (vip, server)
    assert mark.fwmark == 7
    assert route_to(routes, vip).gateway is None
    assert route_to(routes, each.text("x", "10.9.9.9")).gateway == vip
    assert route_to(routes, "8.8.8.8").gateway == each.text("x", "10.3.4.1")
    assert parse_fib_trie(trie) == {vip}
    assert len(parse_local_networks(trie)) == 1
    assert parse_if_inet6(each.text("/proc/net/if_inet6", row)) == {six.address}
    assert six.address != "2001:db8::1"


def test_networks_keep_their_length():
    row = "2: eth0    inet 10.3.4.9/24 brd 10.3.4.255 scope global eth0\n"
    (found,) = parse_ip_addr(redactor().text("/cmd/ip-addr", row))

    assert (found.prefix, found.interface) == (24, "eth0")
    assert found.address != "10.3.4.9"


def test_names_and_cards():
    each = redactor("lb1.example.org\n")
    text = each.text(
        "/cmd/dmesg", "lb1: LB1.example.org 52:54:00:12:34:56 enx525400123456 xlb1 lb12"
    )

    assert text == "host3: host1 02:00:00:00:00:01 enx020000000001 xlb1 lb12"
    assert each.path("/sys/class/net/enx525400123456") == "/sys/class/net/enx020000000001"
    assert redactor("localhost").text("x", "localhost") == "localhost"
    assert each.text("/proc/sys/kernel/osrelease", "5.4.0.1") == "5.4.0.1"


def test_another_key_another_stand_in():
    assert redactor(key=b"a").text("x", "10.3.4.9") != redactor(key=b"b").text("x", "10.3.4.9")


def test_the_name_a_host_gives_itself():
    assert hostnames([("/proc/sys/kernel/hostname", "lb1\n"), ("/x", "y")]) == ("lb1",)
