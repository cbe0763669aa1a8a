"""A plan's services as an IPVS table, and what cannot be one."""

import pytest

from dirtune.errors import PlanError
from dirtune.lvs.model import Destination, Service, SyncDaemon, Table, Timeouts
from dirtune.plan import EXAMPLE, parse, parse_configuration
from dirtune.plan.services import table

WHOLE = """
[[services]]
vip = "198.18.0.100"
port = 443
scheduler = "sh"
flags = ["sh-port", "sh-fallback"]
persistence = "5m"
netmask = "255.255.255.0"
  [[services.destinations]]
  node = "rs1"
  forwarding = "nat"
  port = 8443
  weight = 0
  upper_threshold = 1000
  lower_threshold = 800
  [[services.destinations]]
  address = "198.18.0.12"
[[services]]
vip = "FD00:0::9"
port = 0
protocol = "sctp"
persistence = 60
netmask = 64
  [[services.destinations]]
  address = "fd00::13"
  forwarding = "tun"
  tunnel = "gue"
  tunnel_port = 6080
  tunnel_flags = ["csum", "remcsum"]
[[services]]
fwmark = 7
family = 6
ops = true
persistence = 60
persistence_engine = "sip"
  [[services.destinations]]
  address = "fd00::2"
[ipvs]
timeouts = { tcp = "15m", tcp_fin = 30, udp = "5m" }
sync = [{ state = "backup", interface = "eth1", id = 4, maxlen = 1024, group = "ff02::81" }]
[[real_servers]]
name = "rs1"
host = "rs1.example.net"
address = "198.18.0.11"
"""


def test_every_key_comes_to_the_kernels_place():
    assert table(parse_configuration(WHOLE)) == Table(
        (
            Service(
                "tcp",
                "198.18.0.100",
                443,
                "sh",
                flags=0x18,
                persistent_s=300,
                netmask="255.255.255.0",
                destinations=(
                    Destination("198.18.0.11", 8443, "nat", 0, 1000, 800),
                    Destination("198.18.0.12", 443, "dr"),
                ),
            ),
            Service(
                "sctp",
                "fd00::9",
                0,
                "rr",
                6,
                persistent_s=60,
                netmask="64",
                destinations=(
                    Destination(
                        "fd00::13",
                        0,
                        "tun",
                        tunnel="gue",
                        tunnel_port=6080,
                        tunnel_flags=3,
                    ),
                ),
            ),
            Service(
                "fwmark",
                "",
                7,
                "rr",
                6,
                flags=4,
                persistent_s=60,
                engine="sip",
                destinations=(Destination("fd00::2", 0, "dr"),),
            ),
        ),
        Timeouts(900, 30, 300),
        (SyncDaemon("backup", "eth1", 4, 1024, "ff02::81"),),
    )


def test_what_is_not_named_stays_as_it_is():
    assert table(parse_configuration("services = []")) == Table((), None, None)
    assert table(parse_configuration("services = []\n[ipvs]\nsync = []")).daemons == ()


def test_a_mask_of_one_client_is_the_default():
    text = WHOLE.replace('"255.255.255.0"', '"255.255.255.255"').replace(
        "netmask = 64", "netmask = 128"
    )

    assert [s.netmask for s in table(parse_configuration(text)).services] == ["", "", ""]


def test_a_plan_with_a_load_is_read_with_and_without_it():
    assert table(parse_configuration(EXAMPLE)) == table(parse(EXAMPLE))
    # What is wrong with the load is no concern of the director's table.
    assert table(parse_configuration(EXAMPLE.replace("[load]", "[load]\nunheard = 1"))).services


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "[[services]]\nvip",
            "[[services]]\nviip = 1\nvip",
            r"services\[0\]: .*unknown field `viip`",
        ),
        ("[ipvs]", "[ipvss]", "unknown field `ipvss`"),
        (
            "fwmark = 7\nfamily = 6\nops = true",
            'vip = "fd00::9"\nport = 0\nprotocol = "sctp"',
            r"services\[2\]: SCTP \[fd00::9\]:0 .*services\[1\]",
        ),
        (
            '"198.18.0.12"',
            '"198.18.0.11"\nforwarding = "nat"\nport = 8443',
            r"\[0\]\.destinations\[1\]: 198.18.0.11:8443 .*destinations\[0\]",
        ),
        ("weight = 0", "weight = -1", r"weight"),
        ("weight = 0", "weight = 2147483648", r"services\[0\]\.destinations\[0\]\.weight"),
        ("upper_threshold = 1000", "upper_threshold = 65536", "upper_threshold"),
        (
            "upper_threshold = 1000",
            "upper_threshold = 700",
            r"destinations\[0\]\.lower_threshold: 800 is above .*700",
        ),
        (
            '"198.18.0.12"',
            '"fd00::12"',
            r"services\[0\]\.destinations\[1\]: an IPv6 real server .*IPv4 service.*tun",
        ),
        (
            '"fd00::13"\n  forwarding = "tun"',
            '"198.18.0.13"\n  forwarding = "dr"',
            r"services\[1\]\.destinations\[0\]: an IPv4 real server .*IPv6",
        ),
        ("family = 6\n", "", r"an IPv6 real server .*IPv4 service.*family = 6"),
        (
            'forwarding = "nat"\n  port',
            "port",
            r"destinations\[0\]\.port: dr .*\(443\)",
        ),
        (
            "persistence = 60\nnetmask = 64\n",
            "",
            r"services\[1\]\.port: .*persistence",
        ),
        ('persistence = "5m"\n', "", r"services\[0\]\.netmask: .*persistence"),
        ('"5m"', '"5.5s"', r"services\[0\]\.persistence: '5.5s' .*seconds from 1 to"),
        ('"5m"', '"soon"', r"services\[0\]\.persistence: 'soon' is not a duration"),
        (
            '"255.255.255.0"',
            '"255.0.255.0"',
            r"services\[0\]\.netmask: '255.0.255.0' is not a netmask",
        ),
        (
            "netmask = 64",
            "netmask = 129",
            r"services\[1\]\.netmask: '129' is not an IPv6 prefix length",
        ),
        (
            '"sh-port"',
            '"mh-port"',
            r"services\[0\]\.flags: the scheduler sh has no flag 'mh-port'",
        ),
        ('scheduler = "sh"', 'scheduler = "../../x"', r"services\[0\]\.scheduler"),
        (
            'vip = "198.18.0.100"',
            'vip = "198.18.0.300"',
            r"services\[0\]\.vip: '198.18.0.300' is not an IPv4",
        ),
        ("FD00:0::9", "fe80::1%eth0", r"services\[1\]\.vip: fe80::1%eth0 is not the address"),
        (
            'vip = "198.18.0.100"',
            'vip = "224.0.0.1"',
            r"services\[0\]\.vip: 224.0.0.1 is not the address",
        ),
        (
            'vip = "198.18.0.100"',
            'vip = "0.0.0.0"',
            r"services\[0\]\.vip: 0.0.0.0 is not the address",
        ),
        (
            'vip = "198.18.0.100"',
            'vip = "198.018.0.100"',
            r"services\[0\]\.vip: '198.018.0.100' is not an IPv4",
        ),
        ('vip = "198.18.0.100"\n', "", r"services\[0\]: .*a vip and a port, or a fwmark"),
        (
            "fwmark = 7",
            "fwmark = 7\nport = 80",
            r"services\[2\]: .*fwmark",
        ),
        ("fwmark = 7", "fwmark = 0", r"services\[2\]\.fwmark"),
        ("port = 443", "port = 443\nfamily = 4", r"services\[0\]\.family: .*fwmark"),
        ("port = 443", "port = 443\nops = true", r"services\[0\]\.ops"),
        (
            '  tunnel = "gue"\n',
            "",
            'tunnel_port: tunnel = "gue"',
        ),
        ("  tunnel_port = 6080\n", "", "tunnel_port: tunnel"),
        (
            '  tunnel = "gue"\n  tunnel_port = 6080',
            '  tunnel = "ipip"',
            "tunnel_flags: ipip has no checksums",
        ),
        ("weight = 0", 'weight = 0\ntunnel = "gre"', 'tunnel: .*forwarding = "tun"'),
        (
            'address = "198.18.0.11"\n',
            "",
            r"destinations\[0\]\.node: the real server 'rs1' has no address",
        ),
        ('node = "rs1"', 'node = "rs9"', "no real server is named 'rs9'"),
        ("tcp_fin = 30, ", "", r"ipvs\.timeouts: Object missing required field `tcp_fin`"),
        ("tcp_fin = 30", "tcp_fin = 0", r"ipvs\.timeouts\.tcp_fin: 0 .*from 1 to"),
        ('"ff02::81"', '"198.18.0.1"', r"ipvs\.sync\[0\]\.group: 198.18.0.1 .*multicast"),
        (
            "maxlen = 1024",
            "maxlen = 1023",
            r"ipvs\.sync\[0\]\.maxlen: 1023 .*1024 to 65487",
        ),
        ("id = 4", "id = 256", r"ipvs\.sync\[0\]\.id"),
    ],
)
def test_what_cannot_be_names_its_place(old, new, said):
    assert old in WHOLE
    with pytest.raises(PlanError, match=said):
        table(parse_configuration(WHOLE.replace(old, new, 1)))


def test_a_real_server_of_another_family_does_not_go_with_a_sync_daemon():
    with pytest.raises(PlanError, match=r"services\[1\]\.destinations\[0\]: .*ipvs\.sync"):
        table(parse_configuration(WHOLE.replace("fd00::13", "198.18.0.13")))


def test_a_tunnel_carries_another_family_where_no_sync_daemon_is_wanted():
    text = WHOLE.replace("fd00::13", "198.18.0.13").replace("sync = [{", "# [{")

    assert table(parse_configuration(text)).services[1].destinations[0].address == "198.18.0.13"


def test_two_daemons_of_one_kind_are_refused():
    one = '{ state = "master", interface = "a" }'
    twice = f"[ipvs]\nsync = [{one}, {one}]"

    with pytest.raises(PlanError, match=r"ipvs\.sync: .*one master"):
        table(parse_configuration(f"services = []\n{twice}"))
