"""What 1 MiB of a hostile host may cost wherever it is read: seconds, in proportion to its length.

The shapes are the most expensive of some 100,000 that every parser was tried with: rows, words and
runs of one character put into all that the tests know as good texts.
"""

import time
from contextlib import suppress
from typing import Literal

import msgspec
import pytest

from dirtune.analyse.profile import Profile
from dirtune.change.documents import PlanDocument
from dirtune.collect.addresses import parse_if_inet6
from dirtune.collect.cmdline import parse_cmdline
from dirtune.collect.interrupts import parse_interrupts
from dirtune.collect.ip_vs import parse_ip_vs_stats, parse_services
from dirtune.collect.packet import parse_packet
from dirtune.collect.softnet import parse_softnet
from dirtune.collect.stat import parse_stat
from dirtune.errors import DirtuneError
from dirtune.fetch import parse_fetched
from dirtune.formats import from_json
from dirtune.lvs import ipvsadm
from dirtune.plan.generators import command
from dirtune.plan.load import Command, Load
from dirtune.probes.tracefs import parse_hist

MIB = 2**20
LOAD = Load(
    rates=(9,),
    generator="command",
    command=Command("x {url}", replies=r"(\d+) requests", elapsed=r"in ([\d.]+)"),
)


IPVS = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
"""


class Nested(msgspec.Struct):
    a: dict[str, object]
    schema: Literal["dirtune/x/1"] = "dirtune/x/1"


def filled(begin, unit):
    return begin + unit * (MIB // len(unit))


def numbered(begin, row):
    return begin + "\n".join(row.format(n) for n in range(MIB // len(row)))


CASES = {
    "empty rows of totals": (parse_ip_vs_stats, filled("", "\n")),
    "rows without an address": (parse_if_inet6, filled("", "1500\n")),
    "very many services": (parse_services, numbered(IPVS, "TCP  C6{0:06X}:0050 rr")),
    "sockets without columns": (parse_packet, filled("sk RefCnt Type Proto\n", "a\n")),
    "CPUs without columns": (parse_softnet, filled("00069032 00000000\n", "a\n")),
    "rows of one CPU": (parse_stat, filled("cpu 1 2 3 4\n", "cpu0 1 2 3 4\n")),
    "rows without a count": (parse_interrupts, filled("   CPU0   CPU1\n", "a\n")),
    "rows that are no histogram": (parse_hist, filled("", "import\n")),
    "a value without its second quote": (parse_cmdline, filled('x="', " ")),
    "one word of ipvsadm": (ipvsadm.parse, filled("", "a")),
    "digits of a generator": (lambda text: command.parse(text, (), LOAD), filled("", "1")),
    "blanks of a generator": (lambda text: command.parse(text, (), LOAD), filled("1", " ")),
    "frames of nothing": (parse_fetched, filled("x\0", "\0")),
    "arrays in arrays": (lambda text: from_json(text, Nested), filled('{"a":', "[")),
    "objects in objects": (lambda text: from_json(text, Nested), filled('{"a":', '{"a":')),
    "members that nobody reads": (
        lambda text: from_json(text, Profile),
        f"{filled('{', numbered('', chr(34) + '{0:06}' + chr(34) + ':1,')[:MIB])}",
    ),
    "changes without an action": (
        lambda text: from_json(text, PlanDocument),
        f"{filled(chr(123) + chr(34) + 'changes' + chr(34) + ':[', '{},')}",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_mebibyte_of_a_hostile_host_costs_seconds(case):
    read, text = case
    assert len(text) >= MIB // 2
    began = time.process_time()
    with suppress(DirtuneError, msgspec.DecodeError):
        read(text)

    # Under 2 s where it was measured, a machine of two slow CPUs; others may be slower.
    assert time.process_time() - began < 4
