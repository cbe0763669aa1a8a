import pytest

from dirtune.analyse.probed import LockWindow
from dirtune.checks import Status
from dirtune.checks.lock.ipvs_conn_table import ipvs_conn_table
from dirtune.checks.lock.ipvs_scheduler import ipvs_scheduler
from dirtune.checks.lock.ipvs_sync import ipvs_sync
from dirtune.checks.lock.qdisc_root import qdisc_root
from dirtune.collect.rulesets import Rulesets
from tests.checks.lock.waiting import (
    QDISC,
    SCHED,
    SYNC,
    TABLE,
    judged,
    probed,
    waits,
)

CHECKS = (ipvs_conn_table, ipvs_scheduler, ipvs_sync, qdisc_root)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_skipped_without_a_probe(check):
    fields = {"rulesets": Rulesets((), (), (), ()), "interfaces": ()}

    for measured in ({}, {"locks": LockWindow(5.0, ())}):
        found = judged(check, **fields, **measured)
        assert found.status is Status.SKIPPED
        assert "--probe" in found.reason


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_quiet_where_nobody_waits_and_open_where_no_softirq_ran(check):
    fields = {"rulesets": Rulesets((), (), (), ()), "interfaces": ()}
    others = waits("rtnl_mutex", "rtnl_lock", 900)
    every = (waits(TABLE, "ip_vs_conn_new", 9), waits(SCHED, "ip_vs_rr_schedule", 9),
             waits(SYNC, "ip_vs_sync_conn", 9), waits(QDISC, "__dev_queue_xmit", 9))  # fmt: skip

    assert judged(check, **fields, **probed(others)).status is Status.PASSED
    idle = judged(check, **fields, **probed(*every, softirq_s=0))
    assert idle.status is Status.INCONCLUSIVE
