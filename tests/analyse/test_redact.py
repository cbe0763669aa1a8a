import ipaddress
import os

import pytest

from dirtune.analyse.redact import Redactor, hostnames, networks, other_hosts
from dirtune.collect.addresses import (
    parse_fib_trie,
    parse_if_inet6,
    parse_ip_addr,
    parse_local_networks,
)
from dirtune.collect.ip_vs import parse_services
from dirtune.collect.mounts import parse_mounts
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


CMDLINE = (
    "BOOTIF=01-52-54-00-12-34-56 ip=10.1.2.3:10.1.2.1:10.1.2.254:255.255.255.0:web7:eth0:off "
    "nfsroot=filer3:/roots/web7,ro root=nfs:boxer.corp.example.net:/x "
    "ifname=net0:52:54:00:12:34:56 rd.iscsi.initiator=iqn.2001-04.com.secretshop:web7 "
    "inst.ks=http://kick.corp.example.net/ks "
    "hostname=web7 netroot=iscsi:@10.1.2.1::3260::iqn.2001-04.com.secretshop:disk1 quiet\n"
)
MOUNTS = (
    "40 25 0:44 / /data rw - nfs4 nfs1.corp.example.net:/vol rw,vers=4.2,addr=10.1.2.9\n"
    "41 25 0:45 / /bare rw - nfs nfs:/vol rw,addr=10.1.2.9\n"
    "42 25 0:46 / /share rw - cifs //fileserver.corp/share rw,unc=\\\\fileserver.corp\\share\n"
    "43 25 0:47 / /ceph rw - ceph mon1:6789,mon2:6789:/ rw\n"
    "44 25 0:48 / /ssh rw - fuse.sshfs me@jumpbox:/home rw\n"
    "45 25 8:1 / / rw - ext4 /dev/sda1 rw\n"
)
LOG = "nfs: server nfs1.corp.example.net not responding\nCIFS: mount //fileserver.corp/share\n"


def test_names_and_addresses_that_others_have():
    files = {"/proc/cmdline": CMDLINE, "/proc/self/mountinfo": MOUNTS, "/cmd/dmesg": LOG}
    names = hostnames(files.items())
    each = Redactor(KEY, names, others=other_hosts(files.items()))
    assert set(names) == {"web7"}
    said = {path: each.text(path, text) for path, text in files.items()}
    whole = "\n".join(said.values()) + each.text("/x", "nfs1.corp.example.net addr:fd00::5")

    for secret in (
        *("52-54-00", "52:54:00", "web7", "filer3", "boxer", "kick", "corp", "secretshop"),
        *("nfs1", "fileserver", "mon1", "mon2", "jumpbox", "10.1.2.", "fd00::5"),
    ):
        assert secret not in whole, secret
    assert whole.count("02-00-00-00-00-01") == 1
    assert "ifname=net0:02:00:00:00:00:01" in whole, "the same card"
    assert said["/proc/cmdline"].endswith(" quiet\n")


def test_what_a_check_reads_of_mounts_and_options_stays():
    each = Redactor(KEY, (), others=other_hosts([("/proc/self/mountinfo", MOUNTS)]))
    before, after = parse_mounts(MOUNTS), parse_mounts(each.text("/proc/self/mountinfo", MOUNTS))

    assert [(m.dev, m.target, m.fstype) for m in after] == [
        (m.dev, m.target, m.fstype) for m in before
    ]
    assert after[-1].source == "/dev/sda1"
    options = (
        "root=/dev/sda1 ip=dhcp isolcpus=1-3 pci=nomsi console=ttyS0,115200n8 rd.lvm.lv=vg/x\n"
    )
    assert each.text("/proc/cmdline", options) == options


@pytest.mark.parametrize("label", ["addr", "from_", "inet6-addr"])
def test_an_address_behind_a_word_and_a_colon(label):
    assert alone(f"{label}:fd00::5") == f"{label}:{alone('fd00::5')}"
    assert alone("fd00::5") != "fd00::5"


@pytest.mark.parametrize(
    "kept", ["at:12:34:56", "pci:0000:00:1f.3", "e1000:0000:00:19.0", "a::b::c"]
)
def test_what_only_looks_like_one_stays(kept):
    assert alone(kept) == kept
