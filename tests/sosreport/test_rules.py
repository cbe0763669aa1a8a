"""Listings of iptables 1.8.9 against its own iptables-save, for the same rules."""

import pytest

from dirtune.checks.net.chains import Packet, dropped, parse_iptables
from dirtune.sosreport.rules import saved_form

# Written by `iptables -t TABLE -nvL` and by iptables-save in one network namespace.
LISTED = {
    "filter": """\
Chain INPUT (policy ACCEPT 0 packets, 0 bytes)
 pkts bytes target prot opt in out source destination
    0 0 6 -- lo * 0.0.0.0/0 0.0.0.0/0 tcp dpt:80
    0 0 DROP 0 -- * * 0.0.0.0/0 0.0.0.0/0 limit: avg 5/min burst 5

Chain FORWARD (policy DROP 12 packets, 720 bytes)
 pkts bytes target prot opt in out source destination
    0 0 DROP 0 -- * * 0.0.0.0/0 0.0.0.0/0 ctstate INVALID
 123K 10M MINE 17 -- * * !198.18.3.0/24 0.0.0.0/0 multiport dports 53,54 /* a b */
    0 0 ACCEPT all -- * * 0.0.0.0/0 0.0.0.0/0 state RELATED,ESTABLISHED

Chain MINE (1 references)
 pkts bytes target prot opt in out source destination
    0 0 REJECT 0 -- * * 0.0.0.0/0 0.0.0.0/0 reject-with icmp-port-unreachable
""",
    "nat": """\
Chain PREROUTING (policy ACCEPT 0 packets, 0 bytes)
 pkts bytes target prot opt in out source destination
    0 0 DNAT 6 -- * * 0.0.0.0/0 0.0.0.0/0 tcp dpt:99 to:198.18.0.9:80

Chain POSTROUTING (policy ACCEPT 0 packets, 0 bytes)
 pkts bytes target prot opt in out source destination
    0 0 MASQUERADE 0 -- * !lo 198.18.0.0/15 0.0.0.0/0
""",
    "mangle": """\
Chain PREROUTING (policy ACCEPT 0 packets, 0 bytes)
 pkts bytes target prot opt in out source destination
    0 0 MARK 6 -- * * 0.0.0.0/0 198.18.0.1 tcp dpt:80 MARK set 0x1
""",
    "raw": """\
Chain PREROUTING (policy ACCEPT 0 packets, 0 bytes)
 pkts bytes target prot opt in out source destination
    0 0 CT 17 -- * * 0.0.0.0/0 0.0.0.0/0 udp dpt:53 NOTRACK
""",
}
SAVED = {
    "filter": """\
:INPUT ACCEPT [0:0]
:FORWARD DROP [12:720]
:MINE - [0:0]
-A INPUT -i lo -p tcp -m tcp --dport 80
-A INPUT -m other "limit: avg 5/min burst 5" -j DROP
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD ! -s 198.18.3.0/24 -p udp -m multiport --dports 53,54 -m comment --comment "a b" -j MINE
-A FORWARD -m state --state RELATED,ESTABLISHED -j ACCEPT
-A MINE -j REJECT --reject-with icmp-port-unreachable""",
    "nat": """\
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 99 -j DNAT --to-destination 198.18.0.9:80
-A POSTROUTING -s 198.18.0.0/15 ! -o lo -j MASQUERADE""",
    "mangle": """\
:PREROUTING ACCEPT [0:0]
-A PREROUTING -d 198.18.0.1 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x1/0xffffffff""",
    "raw": """\
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 53 -j CT --notrack""",
}


@pytest.mark.parametrize("table", LISTED)
def test_a_listing_becomes_what_iptables_save_writes(table):
    assert saved_form(table, LISTED[table]) == f"*{table}\n{SAVED[table]}\nCOMMIT\n"


def rows(*rules):
    title = "Chain FORWARD (policy ACCEPT 0 packets, 0 bytes)\n pkts bytes target\n"
    return tuple(saved_form("filter", title + "\n".join(rules)).splitlines())


@pytest.mark.parametrize(
    ("rule", "drops"),
    [
        ("1 60 DROP all -- * * 0.0.0.0/0 0.0.0.0/0", True),
        ("1 60 DROP all -- * * 0.0.0.0/0 0.0.0.0/0 ctstate INVALID", True),
        ("1 60 DROP all -- * * 0.0.0.0/0 0.0.0.0/0 limit: avg 5/min burst 5", False),
        ("1 60 DROP all -- * * 0.0.0.0/0 0.0.0.0/0 match-set BLOCKED src", False),
        ("1 60 all", False),
    ],
)
def test_a_rule_with_an_unknown_match_is_no_certain_drop(rule, drops):
    packet = Packet(source="198.18.0.9", protocol="tcp", state="invalid")

    assert bool(dropped(parse_iptables(rows(rule)), "forward", packet)) is drops
