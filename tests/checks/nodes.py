"""Snapshots of real servers and clients, written by hand."""

from ipaddress import IPv4Network

from dirtune.collect.addresses import InterfaceAddress
from dirtune.collect.modules import Modules
from dirtune.collect.net import Interface
from dirtune.collect.routes import Route
from dirtune.collect.rulesets import Rulesets
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Place, Snapshot

VIP = "198.18.0.100"
DIRECTOR = "198.18.0.1"
RULES = (
    "0:\tfrom all lookup local",
    "32766:\tfrom all lookup main",
    "32767:\tfrom all lookup default",
)
ETH0 = InterfaceAddress("eth0", "198.18.0.11", 24, "global")
ON_LO = InterfaceAddress("lo", VIP, 32, "global")
UP, NOARP = 0x1003, 0x1083
LINK = Route("eth0", IPv4Network("198.18.0.0/24"), None, 0)


def settings(**conf):
    """`settings(all_arp_ignore=1)` is net/ipv4/conf/all/arp_ignore."""
    rows = (name.partition("_") for name in conf)
    names = (f"net/ipv4/conf/{where}/{what}" for where, _, what in rows)
    return Sysctls(dict(zip(names, map(str, conf.values()), strict=True)))


def quiet(ignore=0, announce=0, *, eth0=(0, 0), lo=0):
    """ARP settings: of all, of eth0 and of lo."""
    return settings(
        all_arp_ignore=ignore,
        all_arp_announce=announce,
        eth0_arp_ignore=eth0[0],
        eth0_arp_announce=eth0[1],
        lo_arp_ignore=lo,
    )


def card(name, *, flags=UP, type=1, mtu=1500):
    return Interface(
        name, None, None, type == 1, None, None, operstate="up", flags=flags, type=type, mtu=mtu
    )


def default(gateway, interface="eth0", **fields):
    return Route(interface, IPv4Network("0.0.0.0/0"), gateway, 0, **fields)


def server(*held, forward="Route", place=True, **fields):
    """A real server with no filter rules and the addresses *held* beside eth0's own."""
    known = Place("real-server", (VIP,), forward, director_addresses=frozenset({DIRECTOR, VIP}))
    defaults = {
        "interface_addresses": (ETH0, *(held or (ON_LO,))),
        "interfaces": (card("lo", type=772), card("eth0")),
        "modules": Modules(frozenset({"virtio_net"}), {}),
        "rulesets": Rulesets((), (), RULES, None, ()),
        "routes": (LINK, default("198.18.0.254")),
        "place": known if place is True else place or None,
    }
    return Snapshot(**(defaults | fields))
