import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.two_owners import two_owners
from dirtune.collect.addresses import InterfaceAddress
from tests.checks.machines import director, program, service

MINE = InterfaceAddress("kube-ipvs0", "10.96.0.1", 32, "global")


def owned(*programs, forward="Masq", held=(MINE,)):
    rows = tuple(map(program, programs))
    table = service(1, forward=forward)
    return run((two_owners,), director(table, processes=rows, interface_addresses=held))[0]


def test_kube_vip_beside_kube_proxy():
    (finding,) = owned("kube-proxy", "kube-vip", forward="Route").findings

    assert finding.severity is Severity.HIGH
    assert finding.message.startswith("kube-proxy and kube-vip write one IPVS table")
    assert "TCP 198.18.0.100:80 cannot be kube-proxy's" in finding.message


def test_a_program_without_a_service_of_its_own_is_medium():
    (finding,) = owned("kube-proxy", "kube-router").findings

    assert finding.severity is Severity.MEDIUM


def test_a_service_shows_that_keepalived_balances():
    assert owned("kube-proxy", "keepalived", forward="Tunnel").findings


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: owned("kube-proxy"),
        lambda: owned("kube-proxy", "keepalived"),
        lambda: owned("kube-vip", forward="Route"),
        lambda: owned("kube-proxy", "kube-vip", forward="Route", held=()),
    ],
)
def test_one_owner_is_enough(quiet):
    assert quiet().status is Status.PASSED
