"""Who answers through a virtual address, told from the director's table as /proc shows it."""

import asyncio

import msgspec
import pytest

from dirtune.bench import vip_check
from dirtune.errors import NotPossible, PlanError
from tests.plans import BALANCED, plan_of

PLAN = plan_of(
    **BALANCED,
)
# The layout of ip_vs_info_seq_show(): addresses and ports are hexadecimal.
TABLE = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  C6120064:0050 rr
  -> C612000C:0050      Route   {weight}      0          {two}
  -> C612000B:0050      Route   1      3          {one}
"""
GOOD = "requests: 1 total, 1 started, 1 done, 1 succeeded, 0 failed\n"
BAD = "requests: 1 total, 1 started, 0 done, 0 succeeded, 1 failed\n"


class Cluster:
    """A director that gives requests to the real servers in turn, and its one client."""

    name = "lb1"

    def __init__(self, turns, answers=("rs1", "rs2"), weight=1, others=()):
        self.turns, self.answers, self.weight = list(turns), answers, weight
        self.others = list(others)
        self.entries = {"rs1": 10, "rs2": 9}

    async def run(self, script, *, timeout_s=60, **_):
        if script.startswith("cat"):
            entries = {"one": self.entries["rs1"], "two": self.entries["rs2"]}
            return TABLE.format(weight=self.weight, **entries) + self.more()
        server = self.turns.pop(0)
        if server != "past":
            self.entries[server] += 1
        other = self.others.pop(0) if self.others else None
        if other is not None:
            self.entries[other] += 1
        return GOOD if server in self.answers else BAD

    def more(self):
        return ""


def ask(cluster):
    return asyncio.run(vip_check._ask(PLAN, cluster, [cluster]))


def unanswered(found):
    """Return the real servers that did not answer in the 2 s they had."""
    why = {name: said for name, said in found.servers.items() if said is not None}
    assert all("2" in said.split() for said in why.values())
    return list(why)


def test_each_that_had_a_request_and_answered_is_reached():
    found = ask(Cluster(["rs1", "rs2"]))

    assert (found.servers, found.requests, found.past) == ({"rs1": None, "rs2": None}, 2, 0)
    assert found.whole


def test_one_that_did_not_answer_is_named():
    found = ask(Cluster(["rs1", "rs2"], answers=("rs1",)))

    assert (unanswered(found), list(found.servers)) == (["rs2"], ["rs1", "rs2"])
    assert not found.whole


def test_a_scheduler_that_takes_one_server_leaves_the_other_untold():
    found = ask(Cluster(["rs1"] * 6))

    assert (found.servers, found.untold, found.requests) == ({"rs1": None}, ("rs2",), 6)
    assert found.whole, "nothing is known to be wrong"


def test_a_server_of_weight_0_need_not_answer():
    assert ask(Cluster(["rs1"], weight=0)).servers == {"rs1": None}


def test_where_every_weight_is_0_nobody_is_asked_which_is_said():
    class Drained(Cluster):
        async def run(self, script, *, timeout_s=60, **_):
            return (await super().run(script, timeout_s=timeout_s)).replace(" 1      3 ", " 0  3 ")

    found = ask(Drained([], weight=0))

    assert (found.requests, found.servers) == (0, {})


def test_an_answer_that_the_director_knows_nothing_of_came_past_it():
    found = ask(Cluster(["past", "rs1", "rs2"], answers=("rs1", "rs2", "past")))

    assert found.past == 1
    assert not found.whole


def test_requests_that_nobody_got_or_answered_are_lost():
    found = ask(Cluster(["past"] * 6))

    assert (found.servers, found.lost, found.past, found.requests) == ({}, 6, 0, 6)
    assert not found.whole


def test_nor_is_it_whole_where_others_connections_hide_who_did_not_answer():
    found = ask(Cluster(["rs2"] * 6, answers=(), others=["rs1"] * 6))

    assert (found.servers, found.untold, found.lost) == ({}, ("rs1", "rs2"), 6)
    assert not found.whole


def test_one_that_answers_the_second_time_did_not_always():
    class Once(Cluster):
        async def run(self, script, *, timeout_s=60, **_):
            text = await super().run(script, timeout_s=timeout_s)
            return BAD if len(self.turns) == 2 and not script.startswith("cat") else text

    found = ask(Once(["rs1", "rs1", "rs2"]))

    assert (unanswered(found), list(found.servers)) == (["rs1"], ["rs1", "rs2"])


@pytest.mark.parametrize("protocol", ["udp", "sctp"])
def test_what_a_request_of_http_cannot_ask_is_refused(protocol):
    service = msgspec.structs.replace(PLAN.service, protocol=protocol)
    other = msgspec.structs.replace(PLAN, services=(service,))

    with pytest.raises(PlanError, match=rf"services\[0\] is {protocol}, which"):
        asyncio.run(vip_check.reach(other))


def test_one_server_with_two_ports_is_two_destinations():
    class TwoPorts(Cluster):
        def more(self):
            return f"  -> C612000B:1F90      Route   1      0      {self.entries['8080']}\n"

    cluster = TwoPorts(["rs1", "8080", "rs2"], answers=("rs1", "rs2", "8080"))
    cluster.entries["8080"] = 4
    found = ask(cluster)

    assert found.servers == {"rs1 port 80": None, "rs1 port 8080": None, "rs2": None}
    assert (found.past, found.untold) == (0, ())


def test_one_that_is_added_meanwhile_has_its_requests_told_but_is_not_waited_for():
    class Growing(Cluster):
        def more(self):
            new = self.entries.get("new")
            return "" if new is None else f"  -> C612000D:0050      Route   1      0      {new}\n"

        async def run(self, script, *, timeout_s=60, **_):
            if not script.startswith("cat"):
                self.entries.setdefault("new", 0)
            return await super().run(script, timeout_s=timeout_s)

    found = ask(Growing(["new", "rs1", "rs2"], answers=("rs1", "rs2")))

    assert unanswered(found) == ["198.18.0.13"]
    assert found.servers.keys() == {"rs1", "rs2", "198.18.0.13"}


def test_what_cannot_be_told_from_others_connections_is_asked_again():
    found = ask(Cluster(["rs2", "rs1", "rs1"], answers=("rs2",), others=[None, "rs2"]))

    assert (unanswered(found), list(found.servers)) == (["rs1"], ["rs1", "rs2"])
    assert found.requests == 3


class Expiring(Cluster):
    """An entry of an earlier connection to the same real server expires during each request.

    The kernel's counter of new connections, which /proc/net/ip_vs_stats_percpu shows, still rises.
    """

    made = 0

    async def run(self, script, *, timeout_s=60, **_):
        if not script.startswith("cat") and self.turns[0] != "past":
            self.made += 1
            self.entries[self.turns[0]] -= 1
        return await super().run(script, timeout_s=timeout_s)

    def more(self):
        row = f"  0 {self.made:8X}        0        0        0        0\n"
        return f"\n       Total Incoming Outgoing\nCPU    Conns  Packets\n{row}"


def test_entries_that_expire_do_not_look_like_requests_past_the_director():
    found = ask(Expiring(["rs1", "rs2"] * 3))

    assert (found.past, found.lost, found.untold) == (0, 0, ("rs1", "rs2"))
    assert ask(Expiring(["past"] * 6, answers=("past",))).past == 6


def test_an_entry_that_expires_elsewhere_hides_nobody():
    class Elsewhere(Expiring):
        async def run(self, script, *, timeout_s=60, **_):
            if not script.startswith("cat"):
                self.entries[self.turns[0]] += 1
                self.entries["rs1" if self.turns[0] == "rs2" else "rs2"] -= 1
            return await super().run(script, timeout_s=timeout_s)

    found = ask(Elsewhere(["rs1", "rs2"]))

    assert (found.servers, found.past, found.requests) == ({"rs1": None, "rs2": None}, 0, 2)


def test_a_service_that_is_not_there_and_a_client_without_a_tool_are_said():
    class Bare(Cluster):
        async def run(self, script, *, timeout_s=60, **_):
            return "no tool to ask with\n" if not script.startswith("cat") else self.table

    bare = Bare([])
    bare.table = TABLE.splitlines()[0]
    with pytest.raises(NotPossible, match=r"lb1 .*service"):
        ask(bare)
    bare.table = TABLE.format(weight=1, one=0, two=0)
    with pytest.raises(NotPossible, match="Install curl, h2load or httperf"):
        ask(bare)
