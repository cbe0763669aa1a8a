import dataclasses

import pytest

from dirtune.checks import Risk, Severity, Status
from dirtune.checks.lock.qdisc_root import qdisc_root
from dirtune.collect.net import Interface, Queue
from dirtune.collect.rulesets import Rulesets
from tests.checks.lock.waiting import (
    QDISC,
    judged,
    probed,
    waits,
)


def sent(*rows, ms=20, queues=2, **fields):
    tx = tuple(Queue(f"tx-{n}", None) for n in range(queues))
    card = Interface("eth0", "0000:00:10.0", None, True, 0, 0, operstate="up", tx_queues=tx)
    virtual = dataclasses.replace(card, name="wg0", physical=False)
    locks = (
        waits(QDISC, "__dev_queue_xmit", ms - 5),
        waits(QDISC, "sch_direct_xmit", 5),
    )
    fields = {"rulesets": Rulesets(None, None, None, rows)} | fields
    return judged(qdisc_root, interfaces=(card, virtual), **probed(*locks), **fields)


NOQUEUE = "qdisc noqueue 0: dev lo root refcnt 2"


SENT = "Sent 18446 bytes 174 pkt (dropped 0, overlimits 0 requeues 3)"


FQ = "qdisc fq_codel 8001: dev eth0 root refcnt 2 limit 10240p flows 1024 quantum 1514"


def test_one_discipline_for_many_queues():
    (found,) = sent(NOQUEUE, SENT, FQ, SENT).findings

    assert (found.subject, found.severity) == ("eth0", Severity.INFO)
    assert found.evidence["qdisc"] == "fq_codel"
    (fix,) = found.fixes
    assert (fix.commands, fix.risk) == (("tc qdisc replace dev eth0 root mq",), Risk.DISRUPTIVE)
    assert sent(FQ, ms=19).status is Status.PASSED


@pytest.mark.parametrize("kind", ["htb 1:", "tbf 8002:"])
def test_one_that_shapes_is_not_taken_away(kind):
    (found,) = sent(f"qdisc {kind} dev eth0 root refcnt 2 r2q 10").findings

    assert found.fixes[0].commands == ()


@pytest.mark.parametrize(
    "rows",
    [
        ("qdisc mq 0: dev eth0 root", "qdisc fq_codel 0: dev eth0 parent :1 limit 10240p"),
        (NOQUEUE.replace("lo", "eth0"),),
        (FQ.replace("eth0", "wg0"),),
        ("qdisc ingress ffff: dev eth0 parent ffff:fff1",),
        (),
    ],
    ids=["mq", "noqueue", "virtual", "ingress", "none"],
)
def test_disciplines_that_are_not_in_the_way(rows):
    assert sent(*rows, ms=900).status is Status.PASSED


def test_a_card_with_one_queue_has_no_better_discipline():
    assert sent(FQ, ms=900, queues=1).status is Status.PASSED


def test_without_tc_it_is_left_open():
    found = sent(ms=900, rulesets=Rulesets((), (), (), None))

    assert found.status is Status.INCONCLUSIVE
