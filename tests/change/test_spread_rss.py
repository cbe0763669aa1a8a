"""An RSS table is spread evenly over the queues, and comes back as it was."""

import msgspec
import pytest

from dirtune.change import nic
from dirtune.change.actions.spread_rss import SpreadRss
from dirtune.change.boot_files import UDEV, Unwritable
from dirtune.change.fixes import Question, Request
from dirtune.change.fixes.even_rss import FIX
from dirtune.checks import Fix, Risk
from dirtune.collect.ethtool import Card
from dirtune.errors import ApplyError
from dirtune.settings import EvenRss
from dirtune.snapshot import Snapshot
from tests.change.test_queues import Nic, driven

UNEVEN = (0, 1, 0, 1, 0, 1, 0, 1)
EVEN = (0, 1, 2, 3, 0, 1, 2, 3)
SPREAD = SpreadRss("d0", UNEVEN, 4)


@pytest.fixture
def host(tmp_path, monkeypatch):
    return driven(Nic(tmp_path), monkeypatch)


def planned(card, queues=4):
    fix = Fix("spread-rss", "", Risk.SAFE, settings=(EvenRss("d0", queues),))
    asked = Request("nic/rss-skew", "d0", fix)
    return FIX.plan(Question(Snapshot(ethtool={"d0": card}), asked=(asked, asked)))


def test_the_table_is_set_and_comes_back(host):
    saved = SPREAD.save(host)
    assert not SPREAD.holds(host)

    SPREAD.make(host)

    SPREAD.require_made(saved, host)
    assert host.rss == EVEN
    assert SPREAD.holds(host)
    saved = msgspec.json.decode(msgspec.json.encode(saved), type=type(saved))
    for _ in range(2):
        SPREAD.undo(saved, host)
        assert host.rss == UNEVEN


def test_another_table_than_that_of_the_plan_is_not_replaced(host):
    host.rss = (1,) * 8

    with pytest.raises(ApplyError, match="d0 RSS table is"):
        SPREAD.save(host)


def test_a_driver_that_sets_another_table_is_refused(host, monkeypatch):
    monkeypatch.setattr(nic, "write_rss_table", lambda host, name, table: None)
    saved = SPREAD.save(host)
    SPREAD.make(host)

    with pytest.raises(ApplyError, match="RSS table is"):
        SPREAD.require_made(saved, host)


def test_a_renamed_nic_gets_its_table_again(host):
    saved = SPREAD.save(host)
    SPREAD.make(host)
    host.rename("d1")

    assert SPREAD.as_now(saved, host).interface == "d1"
    SPREAD.undo(saved, host)

    assert host.rss == UNEVEN


def test_a_nic_that_a_boot_made_again_keeps_its_new_table(host):
    saved = SPREAD.save(host)
    SPREAD.make(host)
    host.put("/proc/sys/kernel/random/boot_id", "second")

    SPREAD.undo(saved, host)

    assert host.rss == EVEN


def test_a_boot_sets_it_again():
    (row,) = SPREAD.kept

    assert row.path == UDEV
    assert row.text.endswith('KERNEL=="d0", RUN+="/sbin/ethtool -X d0 equal 4"')
    assert isinstance(SpreadRss("d*", UNEVEN, 4).kept, Unwritable)


def test_a_plan_has_it_once():
    plan = planned(Card(rss=UNEVEN))

    assert [change.action for change in plan.changes] == [SPREAD]
    assert plan.changes[0].action.commands == ("ethtool -X d0 equal 4",)
    assert plan.changes[0].title == (
        "spread the RSS table of d0 evenly over 4 queues; the present table uses 2"
    )


def test_a_plan_needs_a_table_and_an_uneven_one():
    assert planned(Card(rss=EVEN)).changes == ()
    (refusal,) = planned(Card()).refusals
    assert refusal.why == "has a driver that does not report an RSS table"
