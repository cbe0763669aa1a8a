"""Who has what of the service, by texts of ipvsadm 1.31 and of netlink."""

import pytest

from dirtune.bench import plan as plans
from dirtune.bench import service
from dirtune.bench.service import Use

PLAN = plans.parse("""
[[services]]
vip = "198.18.0.100"
port = 80
[[services.destinations]]
node = "rs1"
[[services.destinations]]
address = "198.18.0.12"
[[real_servers]]
host = "r"
name = "rs1"
address = "198.18.0.11"
[[clients]]
host = "c1"
[load]
rates = [150]
""")
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


@pytest.mark.parametrize("text", [IPVSADM, NETLINK])
def test_shares_by_label_else_address(text):
    assert service.shares(text, PLAN) == {"rs1": 2080, "198.18.0.12": 2079}


@pytest.mark.parametrize("text", ["", "dirtune: no such command\n", NETLINK.splitlines()[0]])
def test_no_tool_tells_nothing(text):
    assert service.shares(text, PLAN) == {}


def test_use_of_our_service_alone():
    assert service.use(IP_VS, PERCPU, PLAN) == Use(active=7, inactive=30, connections=31)
    other = plans.parse(
        '[[services]]\nvip="198.18.0.9"\nport=80\n[[clients]]\nhost="c"\n[load]\nrates=[1]'
    )
    assert service.use(IP_VS, PERCPU, other) is None


@pytest.mark.parametrize(
    ("series", "said"),
    [
        ([Use(0, 0, 5)] * 4, None),
        ([Use(0, 30, 5), Use(0, 20, 5), Use(0, 10, 5), Use(0, 5, 5)], None),
        ([Use(0, 0, 5), Use(0, 0, 5), Use(0, 1, 6), Use(0, 1, 6)], "1 new connections in 3 s"),
        ([Use(2, 0, 5)] * 4, "2 established connections, or left by a run that was cut off"),
        ([Use(2, 0, 5), Use(1, 1, 5), Use(0, 2, 5), Use(0, 2, 5)], None),
        ([Use(0, 7, 5)] * 131, "7 entries of ended connections"),
    ],
)
def test_what_is_not_ours(series, said):
    assert service.foreign(series) == said
