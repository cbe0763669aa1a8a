import pytest

from dirtune.checks import Status, run
from dirtune.checks.conntrack.timeouts_nat import timeouts_nat
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot
from tests.checks.machines import service

NF = "net/netfilter/nf_conntrack"


def timeouts(established, fin_wait, *, tracked=1, ipvs=(900, 120)):
    values = {
        f"{NF}_tcp_timeout_established": str(established),
        f"{NF}_tcp_timeout_fin_wait": str(fin_wait),
        "net/ipv4/vs/conntrack": str(tracked),
    }
    known = Ipvs(timeouts_s=dict(zip(("tcp", "tcp_fin"), ipvs, strict=True)))
    taken = Snapshot(services=(service(1),), sysctls=Sysctls(values), ipvs=known)
    return run((timeouts_nat,), taken)[0]


def test_five_days_against_fifteen_minutes():
    (found,) = timeouts(432000, 120).findings

    assert found.subject == "nf_conntrack_tcp_timeout_established"
    assert (found.evidence["conntrack_s"], found.evidence["ipvs_s"]) == (432_000, 900)
    wanted = "sysctl -w 'net.netfilter.nf_conntrack_tcp_timeout_established=900'"
    assert found.fixes[0].commands[0] == wanted


def test_a_state_that_dies_first():
    (found,) = timeouts(900, 12).findings

    assert (found.evidence["conntrack_s"], found.evidence["ipvs_s"]) == (12, 120)


@pytest.mark.parametrize("values", [(900, 120), (8999, 13), (91, 1199)])
def test_timeouts_of_the_same_order(values):
    assert timeouts(*values).status is Status.PASSED


def test_without_tracking_there_is_nothing_to_compare():
    assert timeouts(432000, 120, tracked=0).status is Status.NOT_APPLICABLE
    assert timeouts(900, 120, ipvs=(0, 120)).status is Status.INCONCLUSIVE
    assert run((timeouts_nat,), Snapshot())[0].status is Status.SKIPPED
