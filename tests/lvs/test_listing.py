"""Texts that people give to `lvs import` in place of `ipvsadm -Sn`."""

import pytest

from dirtune.errors import ParseError
from dirtune.lvs import ipvsadm
from dirtune.lvs.model import IP_VS_SVC_F_ONEPACKET
from dirtune.plan import parse_configuration, services
from dirtune.render import lvs_plan

HEAD = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
"""


def test_a_listing_is_read_where_it_has_all_settings():
    table = ipvsadm.parse(
        f"""{HEAD}TCP  192.168.1.2:443 wrr persistent 300 mask 255.255.255.0
  -> 198.18.0.11:443              Masq    0      3          555
  -> 198.18.0.12:443              Route   7      0          599
UDP  [2001:db8::5]:53 sh (sh-fallback,sh-port) ops
FWM  7 IPv6 rr
"""
    )

    web, dns, mark = table.services
    assert (web.scheduler, web.persistent_s, web.netmask) == ("wrr", 300, "255.255.255.0")
    assert [(d.name, d.forwarding, d.weight) for d in web.destinations] == [
        ("198.18.0.11:443", "nat", 0),
        ("198.18.0.12:443", "dr", 7),
    ]
    assert dns.flag_names == ("sh-fallback", "sh-port")
    assert dns.flags & IP_VS_SVC_F_ONEPACKET
    assert (mark.protocol, mark.port, mark.family) == ("fwmark", 7, 6)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (f"{HEAD}TCP  10.0.0.1:80 rr\n  -> 10.0.0.2:80  Tunnel  1  0  0\n", 5, "Tunnel"),
        (f"{HEAD}TCP  10.0.0.1:80 rr\n  -> 10.0.0.2:80  Local   1  0  0\n", 5, "Local"),
        (HEAD.replace("Scheduler Flags", "Conns InPkts OutPkts"), 2, "counters"),
        (f"{HEAD}something else\n", 4, "neither a service nor a real server"),
        (f"{HEAD}  -> 10.0.0.2:80  Masq  1  0  0\n", 4, "neither a service nor a real server"),
    ],
)
def test_other_texts_say_what_they_are_and_what_to_give(text, line, words):
    with pytest.raises(ParseError, match="ipvsadm -Sn") as error:
        ipvsadm.parse(text)

    assert f"line {line}" in str(error.value)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


# The director of a mark in the kernel keeps the ports of its destinations: ipvsadm(8) prints them.
MARK = """-A -f 1 -s rr -p 600
-a -f 1 -r 192.168.40.21:80 -g -w 1
-a -f 1 -r 192.168.40.22:0 -i -w 1 --tun-type ipip
-a -f 1 -r 192.168.40.23:8080 -m -w 1
"""


def test_ports_of_the_destinations_of_a_mark_make_the_round_trip():
    plan = lvs_plan.plan(ipvsadm.parse(MARK))

    assert ipvsadm.export(services.table(parse_configuration(plan))) == MARK
