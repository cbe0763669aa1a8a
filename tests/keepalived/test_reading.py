"""What a configuration says, and what is left out of it."""

import time

import msgspec
import pytest

from dirtune.lvs import keepalived_conf
from tests.keepalived.given import conf

SECRET = "hunter2"
SECRETS = f"""\
$PASS={SECRET}
$LINES=auth_pass \\
  {SECRET}
SSL {{
  password {SECRET}
}}
global_defs {{
  startup_script "/usr/bin/start --password {SECRET}"
  notify_fifo_script /usr/bin/fifo {SECRET}
}}
vrrp_script check {{
  script "/usr/bin/check -p {SECRET}"
  interval 2
}}
vrrp_instance A {{
  virtual_router_id 7
  authentication {{
    auth_type PASS
    auth_pass {SECRET}
    auth_pass $PASS
    auth_pass
    {SECRET}
    auth_pas {SECRET}
  }}
  notify_master "/usr/bin/master {SECRET}" root
}}
virtual_server 10.0.0.1 80 {{
  quorum_up "/usr/bin/up {SECRET}"
  real_server 10.0.0.2 80 {{
    notify_up /usr/bin/up {SECRET}
    MISC_CHECK {{
      misc_path "/usr/bin/misc -p {SECRET}"
    }}
    HTTP_GET {{
      url {{
        path /check?token={SECRET}
        digest {SECRET}
        digst {SECRET}
      }}
    }}
    UDP_CHECK {{
      payload {SECRET}
    }}
  }}
}}
"""
WHOLE = """\
global_defs {
  lvs_sync_daemon eth1 inst A id 51 maxlen 1400 port 8849 ttl 2 group 224.0.0.82
  lvs_timeouts tcp 900 tcpfin 60 udp 300
  vrrp_rt_priority 50
  script_user nobody
  enable_script_security
}
vrrp_script check {
  script "/usr/bin/check"
  interval 2
  fall 3
  weight -20
}
vrrp_instance A {
  state MASTER
  interface eth0
  virtual_router_id 51
  priority 150
  advert_int 0.5
  nopreempt
  virtual_ipaddress {
    10.0.0.1/24 dev eth0 label eth0:1
    fd00::1/64
  }
  virtual_ipaddress_excluded { 10.0.0.3 }
  track_script { check weight 10 }
}
virtual_server_group G {
  10.0.0.1 80
  10.0.0.4-6 443
  fwmark 7
}
virtual_server group G {
  delay_loop 6
  lb_algo wlc
  lb_kind NAT
  protocol TCP
  sorry_server 10.0.1.9 80
  quorum 2
  hysteresis 1
  inhibit_on_failure
  real_server 10.0.1.1 80 {
    weight 3
    uthreshold 100
    lthreshold 50
    inhibit_on_failure no
    TCP_CHECK {
      connect_timeout 3
      retry 2
      delay_before_retry 1
    }
  }
  real_server 10.0.1.2 80 {
  }
}
"""


def test_no_secret_is_kept():
    found = conf(SECRETS)

    assert SECRET not in msgspec.json.encode(found).decode()
    assert found.scripts[0].script == "/usr/bin/check"
    assert found.instances[0].scripts == ("/usr/bin/master",)
    assert found.instances[0].authenticated
    (server,) = found.virtual_servers
    assert server.scripts == ("/usr/bin/up",)
    assert [each.script for each in server.real_servers[0].checkers] == ["/usr/bin/misc", "", ""]
    assert found.globals.scripts == ("/usr/bin/start", "/usr/bin/fifo")


def test_values_are_read():
    found = conf(WHOLE)

    assert found.problems == ()
    daemon = found.globals.sync_daemon
    assert (daemon.interface, daemon.instance, daemon.sync_id) == ("eth1", "A", 51)
    assert (daemon.maxlen, daemon.port, daemon.ttl, daemon.group) == (1400, 8849, 2, "224.0.0.82")
    assert (found.globals.tcp_s, found.globals.tcp_fin_s, found.globals.udp_s) == (900, 60, 300)
    assert found.globals.realtime == (("vrrp_rt_priority", 50),)
    assert (found.globals.script_user, found.globals.script_security) == ("nobody", True)
    (instance,) = found.instances
    assert (instance.state, instance.router_id, instance.priority) == ("MASTER", 51, 150)
    assert (instance.advert_s, instance.preempt) == (0.5, False)
    assert instance.addresses == ("10.0.0.1", "fd00::1", "10.0.0.3")
    assert instance.tracked == (("check", 10),)
    (script,) = found.scripts
    assert (script.interval_s, script.fall, script.rise, script.weight) == (2, 3, 1, -20)
    (server,) = found.virtual_servers
    assert (server.quorum, server.hysteresis, server.inhibit) == (2, 1, True)
    assert server.sorry.address == "10.0.1.9"
    first, second = server.real_servers
    assert (first.weight, first.upper, first.lower, first.inhibit) == (3, 100, 50, False)
    (checker,) = first.checkers
    assert (checker.kind, checker.connect_timeout_s, checker.retry) == ("TCP_CHECK", 3, 2)
    assert (second.weight, second.checkers) == (None, ())


def names(table):
    return [service.name for service in table.services]


def test_a_group_becomes_a_service_for_each_address_and_mark():
    table = keepalived_conf.required(conf(WHOLE)).table

    assert names(table) == [
        "TCP 10.0.0.1:80",
        "TCP 10.0.0.4:443",
        "TCP 10.0.0.5:443",
        "TCP 10.0.0.6:443",
        "FWM 7",
    ]
    assert table.timeouts.tcp_fin == 60
    assert table.daemons is None
    assert [(d.name, d.weight) for d in table.services[1].destinations] == [
        ("10.0.1.1:80", 3),
        ("10.0.1.2:80", 1),
    ]


# Each rule is one of validate_check_config() in check_data.c of keepalived 2.2.7.
@pytest.mark.parametrize(
    ("head", "body", "expected", "note"),
    [
        ("10.0.0.1 80", "", ("UDP 10.0.0.1:80", "wlc", "nat", 80), "no protocol"),
        ("10.0.0.1 80", "protocol TCP", ("TCP 10.0.0.1:80", "wlc", "nat", 80), "no lvs_sched"),
        (
            "10.0.0.1 80",
            "protocol TCP\nlvs_sched rr\n",
            ("TCP 10.0.0.1:80", "rr", "nat", 80),
            "NAT",
        ),
        (
            "10.0.0.1 90",
            "protocol TCP\nlvs_sched rr\nlvs_method DR",
            ("TCP 10.0.0.1:90", "rr", "dr", 90),
            "the port 80 is not the port of the service",
        ),
        (
            "fwmark 3",
            "lvs_sched rr\nlvs_method TUN",
            ("FWM 3", "rr", "tun", 0),
            "the port 80 is not the port",
        ),
        (
            "10.0.0.1",
            "protocol TCP\nlvs_sched rr\nlvs_method NAT",
            ("TCP 10.0.0.1:0", "rr", "nat", 80),
            "persistence_timeout 360",
        ),
        (
            "10.0.0.1 80",
            "protocol TCP\nlvs_sched rr\nlvs_method NAT\nops",
            ("TCP 10.0.0.1:80", "rr", "nat", 80),
            "ops is only for UDP",
        ),
    ],
)
def test_what_keepalived_corrects_is_corrected_and_noted(head, body, expected, note):
    text = f"virtual_server {head} {{\n{body}\nreal_server 10.0.1.1 80 {{\n}}\n}}\n"

    derived = keepalived_conf.required(conf(text))

    (service,) = derived.table.services
    (real,) = service.destinations
    assert (service.name, service.scheduler, real.forwarding, real.port) == expected
    assert any(note in each for each in derived.notes)
    assert not service.one_packet


def test_the_family_of_a_mark_is_that_of_its_real_servers():
    text = "virtual_server fwmark 3 {\nreal_server fd00::2 80 {\n}\n}\n"

    assert names(keepalived_conf.derive(conf(text)).table) == ["FWM 3 IPv6"]


def test_a_server_of_another_ip_version_is_skipped_unless_it_is_tunnelled():
    text = (
        "virtual_server 10.0.0.1 80 {{\nprotocol TCP\nlvs_method {}\n"
        "real_server fd00::2 80 {{\n}}\n}}\n"
    )

    (dr,) = keepalived_conf.derive(conf(text.format("DR"))).table.services
    (tun,) = keepalived_conf.derive(conf(text.format("TUN"))).table.services

    assert dr.destinations == ()
    assert tun.destinations[0].address == "fd00::2"


def test_a_method_after_the_real_servers_counts_for_them_too():
    text = (
        "virtual_server 10.0.0.1 80 {\nprotocol TCP\nlvs_sched rr\n"
        "real_server 10.0.1.1 80 {\n}\nlvs_method DR\n}\n"
    )

    derived = keepalived_conf.derive(conf(text))

    assert derived.table.services[0].destinations[0].forwarding == "dr"
    assert derived.notes == ()


def configuration(reals):
    blocks = "".join(
        f" real_server 10.{n >> 16}.{n >> 8 & 255}.{n & 255} 80 {{\n  weight 2\n  TCP_CHECK {{\n"
        "   connect_timeout 3\n   retry 2\n   delay_before_retry 1\n  }\n }\n"
        for n in range(1, reals + 1)
    )
    return f"virtual_server 192.0.2.1 80 {{\n protocol TCP\n lvs_sched rr\n{blocks}}}\n"


def seconds_of(text):
    begun = time.process_time()
    derived = keepalived_conf.derive(conf(text))
    return time.process_time() - begun, derived


def test_the_time_is_linear_in_the_real_servers():
    small, _ = seconds_of(configuration(5000))
    large, derived = seconds_of(configuration(40_000))

    assert len(derived.table.services[0].destinations) == 40_000
    assert large < 20
    assert large < small * 8 * 3


def test_an_endless_table_is_refused():
    from dirtune.errors import ParseError

    text = (
        "virtual_server_group G {\n10.0.0.0/8 80\n}\n"
        "virtual_server group G {\nreal_server 10.0.1.1 80 {\n}\n}\n"
    )
    with pytest.raises(ParseError, match="500000 entries"):
        keepalived_conf.derive(conf(text))
