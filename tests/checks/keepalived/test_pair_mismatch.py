import pytest

from dirtune.checks import Cluster, Role, Severity, run_cross
from dirtune.checks.keepalived.pair_mismatch import pair_mismatch
from dirtune.collect.sysctls import Sysctls
from tests.checks.keepalived.directors import director, instance, real, server

COMMON = "virtual_router_id 5\nvirtual_ipaddress { 10.0.0.1 }\n"
DAEMON = "global_defs {\nlvs_sync_daemon eth1 inst A id 5\n}\n"
ONE = DAEMON + instance(f"{COMMON}priority 150") + server(real("10.0.1.1"))
OTHER = ONE.replace("priority 150", "priority 100")


def compared(one, other, **unread):
    nodes = {"lb1": director(one), "lb2": director(other)}
    return run_cross((pair_mismatch,), Cluster(nodes, **unread))[0]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("priority 100", "priority 150", "the same priority 150"),
        ("10.0.0.1 }", "10.0.0.2 }", "different addresses"),
        ("priority 100", "priority 100\nadvert_int 2", "advert_int"),
        ("id 5\n}", "id 6\n}", "sync ids 5 and 6"),
        (DAEMON, "", "only one of them has a lvs_sync_daemon"),
        ("10.0.1.1", "10.0.1.2", "TCP 10.0.0.1:80 has another"),
        ("real_server", "weight 7\nreal_server", "TCP 10.0.0.1:80 has another"),
        ("lvs_sched rr", "lvs_sched rr\npersistence_timeout 9", "TCP 10.0.0.1:80 has another"),
        ("lvs_method DR", "lvs_method TUN", "TCP 10.0.0.1:80 has another"),
        ("id 5\n}", "id 5 group 224.0.0.9\n}", "another group or port"),
        ("id 5\n}", "id 5\nlvs_timeouts tcp 9\n}", "their lvs_timeouts differ"),
        (
            "virtual_ipaddress",
            "authentication { auth_type PASS\nauth_pass x }\nvirtual_ipaddress",
            "vrrp_instance A has authentication on only one of them",
        ),
        ("10.0.0.1 80", "10.0.0.1 81", "only one of them has TCP 10.0.0.1:80"),
    ],
)
def test_each_mismatch_is_named(old, new, fault):
    assert old in OTHER

    messages = [f.message for f in compared(ONE, OTHER.replace(old, new)).findings]

    assert any(fault in message for message in messages)
    assert all(message.startswith("lb1 and lb2: ") for message in messages)


def test_a_pair_that_agrees():
    found = compared(ONE, OTHER)

    assert (found.findings, found.severity) == ((), None)


def test_an_instance_of_the_same_name_with_another_id_is_named():
    more = instance("virtual_router_id 6\npriority 9", "B")
    one, other = ONE + more, OTHER + more.replace("9", "8")

    messages = [f.message for f in compared(one, other.replace("id 6", "id 7")).findings]

    assert messages == ["lb1 and lb2: vrrp_instance B has the ids 6 and 7"]


@pytest.mark.parametrize(
    ("name", "one", "other", "found"),
    [
        ("net/ipv4/vs/conn_reuse_mode", "1", "0", True),
        ("net/ipv4/vs/sync_threshold", "3\t50", "3 50", False),
        ("net/ipv4/vs/drop_entry", "1", "2", False),
        ("net/ipv4/vs/drop_entry", "0", "2", True),
        ("net/ipv4/vs/sync_qlen_max", "7", "8", False),
        ("net/ipv4/ip_forward", "1", "0", True),
        ("net/ipv4/tcp_rmem", "1", "0", False),
    ],
)
def test_sysctls_of_ipvs_are_compared(name, one, other, found):
    texts = {"lb1": (ONE, one), "lb2": (OTHER, other)}
    nodes = {n: director(text, sysctls=Sysctls({name: v})) for n, (text, v) in texts.items()}

    findings = run_cross((pair_mismatch,), Cluster(nodes))[0].findings

    shown = name.replace("/", ".")
    assert [f.message for f in findings] == (
        [f"lb1 and lb2: {shown} is {one} and {other}"] if found else []
    )
    assert all(f.severity is Severity.MEDIUM for f in findings)


def test_directors_of_other_routers_are_no_pair():
    assert compared(ONE, OTHER.replace("router_id 5", "router_id 6")).findings == ()


def test_without_a_second_configuration_nothing_is_compared():
    assert compared(ONE, None).reason.startswith("this cluster has fewer than two")
    reason = compared(ONE, OTHER, unread={"lb3": Role.DIRECTOR}).reason
    assert "lb3 was not read" in reason


def test_the_severity():
    assert compared(ONE, ONE).findings[0].severity is Severity.HIGH
