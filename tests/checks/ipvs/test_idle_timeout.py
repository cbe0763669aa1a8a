from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.idle_timeout import idle_timeout
from dirtune.collect.ipvs_netlink import Ipvs
from tests.checks.machines import detailed, director, program, service


def idle(tcp_s, *, programs=(), **fields):
    plain = service(1, **fields)
    told = Ipvs((detailed(plain, netmask=""),), {"tcp": tcp_s, "tcp_fin": 120, "udp": 300})
    rows = tuple(map(program, programs))
    return run((idle_timeout,), director(plain, ipvs=told, processes=rows))[0]


def test_kubernetes_issue_80298():
    (finding,) = idle(900, programs=("kube-proxy",)).findings

    assert finding.severity is Severity.LOW
    assert "idle for 900 s, but peers send their first keepalive probe after 7,200 s" in (
        finding.message
    )
    (fix,) = finding.fixes
    assert "--ipvs-tcp-timeout" in fix.title
    assert fix.commands == ("ipvsadm --set 7260 0 0",)


def test_a_timeout_above_the_keepalive_is_enough():
    assert idle(7200, programs=("kube-proxy",)).status is Status.PASSED
    assert idle(7199, programs=("kube-proxy",)).findings


def test_another_director_does_not_know_its_peers():
    assert idle(900, programs=("keepalived",)).status is Status.PASSED
    (finding,) = idle(899, programs=("keepalived",)).findings
    assert finding.severity is Severity.INFO
    assert "lvs_timeouts" in finding.fixes[0].title


def test_udp_has_no_keepalive():
    assert idle(60, programs=("kube-proxy",), protocol="UDP").status is Status.PASSED
