import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.realserver.listen_overflow import listen_overflow
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

NAMES = ("TcpExt.ListenOverflows", "TcpExt.ListenDrops", "TcpExt.TCPReqQFullDrop")


def outcome(then, now, somaxconn=2048):
    settings = Sysctls({"net/core/somaxconn": str(somaxconn)})
    earlier = Snapshot(snmp=dict(zip(NAMES, then, strict=True)), taken_s=10.0)
    snmp = dict(zip(NAMES, now, strict=True))
    taken = Snapshot(snmp=snmp, taken_s=12.0, earlier=earlier, sysctls=settings)
    return run((listen_overflow,), taken)[0]


def test_a_queue_that_overflows():
    (found,) = outcome((5, 5, 0), (1205, 1210, 0)).findings

    assert (found.severity, found.subject) == (Severity.HIGH, "accept queue")
    assert found.evidence["ListenOverflows"] == 1200
    assert found.evidence["seconds"] == 2.0
    assert found.evidence["ListenDrops"] == 1205
    assert found.evidence["somaxconn"] == 2048
    assert found.fixes[0].commands[0] == "sysctl -w 'net.core.somaxconn=4096'"
    assert found.fixes[1].commands == ()


def test_a_wide_limit_is_the_applications_business():
    (found,) = outcome((0, 0, 0), (1, 1, 0), somaxconn=4096).findings

    assert [fix.id for fix in found.fixes] == ["raise-application-backlog"]


def test_a_small_limit_is_told_before_it_overflows():
    (found,) = outcome((0, 0, 0), (0, 0, 0), somaxconn=1023).findings

    assert (found.severity, found.subject) == (Severity.LOW, "somaxconn")
    assert found.evidence == {"somaxconn": 1023}
    assert found.fixes[0].commands[0] == "sysctl -w 'net.core.somaxconn=4096'"
    assert outcome((0, 0, 0), (0, 0, 0), somaxconn=1024).status is Status.PASSED


def test_half_open_connections():
    (found,) = outcome((0, 0, 0), (0, 3, 3), somaxconn=4096).findings

    assert found.subject == "listening sockets"
    assert found.fixes[0].commands[0] == "sysctl -w 'net.ipv4.tcp_max_syn_backlog=8192'"


@pytest.mark.parametrize("counts", [(0, 0, 0), (900, 900, 7)])
def test_history_is_left_alone(counts):
    assert outcome(counts, counts).status is Status.PASSED


def test_what_was_set_back_or_taken_once_is_left_open():
    assert outcome((5, 5, 0), (0, 0, 0)).status is Status.INCONCLUSIVE
    once = Snapshot(snmp={NAMES[0]: 5})
    assert run((listen_overflow,), once)[0].status is Status.INCONCLUSIVE
    assert run((listen_overflow,), Snapshot())[0].status is Status.SKIPPED
