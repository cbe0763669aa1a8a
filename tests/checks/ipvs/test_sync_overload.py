import dataclasses

import pytest

from dirtune.checks import Status, run
from dirtune.checks.ipvs.sync_overload import sync_overload
from tests.checks.earlier import sample_before, with_earlier
from tests.checks.ipvs.synchronised import CARD, MASTER, director, process


def threads(then, now, **fields):
    name = fields.pop("name", "ipvs-m:0:0")
    taken = director(MASTER, processes=(process(name, ticks=now, kernel=True),), **fields)
    before = director(
        MASTER, processes=(process(name, ticks=then, kernel=True),), snmp=fields.pop("was", None)
    )
    earlier = sample_before(before, 10.0)
    return run((sync_overload,), dataclasses.replace(taken, taken_s=12.0, earlier=earlier))[0]


def test_a_thread_that_is_busy():
    (found,) = threads(100, 240).findings

    assert found.subject == "ipvs-m:0:0"
    assert found.evidence == {"thread": "ipvs-m:0:0", "cpu_percent": 70}
    assert found.fixes[0].commands[0] == "sysctl -w 'net.ipv4.vs.sync_ports=4'"
    assert threads(100, 239).status is Status.PASSED


@pytest.mark.parametrize(
    ("name", "counter"), [("ipvs-m:0:0", "SndbufErrors"), ("ipvs-b:0:0", "RcvbufErrors")]
)
def test_messages_that_are_lost(name, counter):
    before, after = ({f"Udp.{counter}": n} for n in (5, 9))
    now = director(MASTER, processes=(process(name, kernel=True),), snmp=after, taken_s=12.0)
    taken = with_earlier(now, 10.0, snmp=before)

    (found,) = run((sync_overload,), taken)[0].findings

    assert found.evidence == {"counter": f"Udp.{counter}", "rise": 4}
    other = dataclasses.replace(taken, snmp=before)
    assert run((sync_overload,), other)[0].status is Status.PASSED


def test_messages_in_fragments():
    small = dataclasses.replace(CARD, mtu=1499)
    (found,) = run((sync_overload,), director(MASTER, interfaces=(small,)))[0].findings

    assert found.evidence == {"maxlen_bytes": 1472, "mtu_bytes": 1499, "interface": "eth1"}
    assert run((sync_overload,), director(MASTER))[0].status is Status.PASSED


def test_without_threads_there_is_nothing_to_overload():
    lost = {"Udp.SndbufErrors": 9}
    now = director(snmp=lost, taken_s=12.0)
    taken = with_earlier(now, 10.0, snmp={"Udp.SndbufErrors": 1})

    assert run((sync_overload,), taken)[0].status is Status.PASSED
