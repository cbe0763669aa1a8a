"""Who has what of the service, by texts of ipvsadm 1.31 and of netlink."""

import msgspec
import pytest

from dirtune.bench import director_table
from dirtune.bench.director_table import Use
from tests.plans import plan_of

PLAN = plan_of(
    to=["rs1", {"address": "198.18.0.12"}],
    servers=[{"host": "r", "name": "rs1", "address": "198.18.0.11"}],
)
IPVSADM = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  198.18.0.100:80                  4160    20796        0  1372590        0
  -> 198.18.0.11:80                   2080    10398        0   686295        0
  -> 198.18.0.12:80                   2079    10398        0   686295        0
TCP  198.18.0.100:443                   10       20        0     1000        0
  -> 198.18.0.11:443                    10       20        0     1000        0
UDP  198.18.0.100:80                     7       20        0     1000        0
  -> 198.18.0.11:80                      7       20        0     1000        0
"""
NETLINK = (
    '/netlink/ethtool.json {"eth0": {}}\n'
    '/netlink/ipvs.json {"services": [{"protocol": "TCP", "address": "198.18.0.100", "port": 80, '
    '"scheduler": "rr", "destinations": [{"address": "198.18.0.11", "port": 80, "forward": '
    '"Route", "weight": 1, "connections": 2080}, {"address": "198.18.0.12", "port": 80, '
    '"forward": "Route", "weight": 1, "connections": 2079}]}]}\n'
)
# Hexadecimal: C6120064 is 198.18.0.100, 0050 is 80, C612000B is .11; connections are decimal.
IP_VS = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  C6120064:0050 rr
  -> C612000B:0050      Route   1      3          10
  -> C612000C:0050      Route   1      4          20
TCP  C6120064:01BB rr
  -> C612000B:01BB      Route   1      500        600
"""
PERCPU = """\
       Total Incoming Outgoing         Incoming         Outgoing
CPU    Conns  Packets  Packets            Bytes            Bytes
  0       1F       10        0               10                0
  ~       00       10        0               10                0

     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
           0        0        0                0                0
"""


def test_two_ports_of_a_real_server_are_its_share_together():
    more = "  -> 198.18.0.11:8080                    5        9        0      100        0\n"
    text = IPVSADM.replace("TCP  198.18.0.100:443", f"{more}TCP  198.18.0.100:443")

    assert director_table.shares(text, PLAN) == {"rs1": 2085, "198.18.0.12": 2079}


@pytest.mark.parametrize("text", [IPVSADM, NETLINK])
def test_shares_by_label_else_address(text):
    assert director_table.shares(text, PLAN) == {"rs1": 2080, "198.18.0.12": 2079}


@pytest.mark.parametrize("text", ["", "dirtune: no such command\n", NETLINK.splitlines()[0]])
def test_no_tool_tells_nothing(text):
    assert director_table.shares(text, PLAN) == {}


def test_use_of_our_service_alone():
    assert director_table.use(IP_VS, PERCPU, PLAN) == Use(entries=37, connections=31)
    other = plan_of(service={"vip": "198.18.0.9"})
    assert director_table.use(IP_VS, PERCPU, other) is None


# C6120015 is 198.18.0.21, our client; C6120063 .99 and C6120062 .98, who are not.
HEAD = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
OURS = """\
TCP C6120015 A9DC C6120064 0050 C612000B 0050 ESTABLISHED     894
TCP C6120015 A9DD C6120064 0050 C612000C 0050 FIN_WAIT         55
"""
THEIRS = """\
TCP C6120063 A9DC C6120064 0050 C612000B 0050 ESTABLISHED     894
TCP C6120063 A9DD C6120064 0050 C612000B 0050 TIME_WAIT       100
TCP C6120062 A9DC C6120064 0050 C612000B 0050 SYN_RECV         55
"""
# Another port, another protocol, and the template of a persistent service.
BESIDE = """\
TCP C6120063 A9DE C6120064 01BB C612000B 01BB ESTABLISHED     894
UDP C6120063 A9DE C6120064 0050 C612000B 0050 UDP             300
TCP C6120063 0000 C6120064 0050 C612000B 0050 NONE            294
"""
SOCKETS = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
# 198.18.0.100 port 80, on a little-endian machine and on a big one; 06 is TIME_WAIT.
LITTLE = "   0: 150012C6:A9DC 640012C6:0050 01 00000000:00000000 00:00000000 00000000 0 0 1\n"
BIG = LITTLE.replace("640012C6", "C6120064")
OLD = LITTLE.replace(" 01 ", " 06 ")
OTHER_PORT = LITTLE.replace(":0050 01", ":01BB 01")


@pytest.mark.parametrize(
    ("table", "client", "said"),
    [
        ("", "src 198.18.0.21\n", None),
        (OURS + BESIDE, "src 198.18.0.21\n", None),
        (OURS + THEIRS, "src 198.18.0.21\n", "2 from 198.18.0.99, 1 from 198.18.0.98"),
        (OURS, "", "2 from 198.18.0.21"),  # it has no ip(8) to ask
        (OURS, f"src 198.18.0.21\n{SOCKETS}{LITTLE}{BIG}{OLD}", "2 held open by c1"),
        (OURS, f"src 198.18.0.21\n{SOCKETS}{OLD}{OTHER_PORT}", None),
    ],
)
def test_whose_connections_are_not_ours(table, client, said):
    assert director_table.foreign(HEAD + table, {"c1": client}, PLAN) == said


def test_a_client_behind_another_address_may_be_named_in_the_plan():
    (client,) = PLAN.clients
    named = msgspec.structs.replace(client, address="198.18.0.99")
    plan = msgspec.structs.replace(PLAN, clients=(named,))

    assert director_table.foreign(HEAD + THEIRS, {}, plan) == "1 from 198.18.0.98"


def test_many_others_are_not_all_listed():
    rows = "".join(THEIRS.splitlines(keepends=True)[2].replace("62", f"{n:02X}") for n in range(9))

    said = director_table.foreign(HEAD + rows, {}, PLAN)

    assert said.startswith("1 from 198.18.0.0, 1 from 198.18.0.1, 1 from 198.18.0.2, ")
    assert "198.18.0.3" not in said
