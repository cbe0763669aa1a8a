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
from dirtune.checks import audits, discovery
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
from dirtune.host import RecordedHost
from dirtune.lvs import ipvsadm
from dirtune.lvs.model import Numbers, Seen, Service, Table
from dirtune.plan.generators import command
from dirtune.plan.load import Command, Load
from dirtune.probes.tracefs import parse_hist
from dirtune.render import audit, cells, irqs, lvs
from dirtune.snapshot import take_all

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


MANY = 3000


def shared_lines():
    rows = (f" {n}:  40  IO-APIC {n}-fasteoi  eth{n}, disk{n}\n" for n in range(1, MANY))
    return {"/proc/interrupts": f"      CPU0\n{''.join(rows)}", **functions(MANY)}


def one_line_of_all():
    names = ", ".join(f"eth{n}" for n in range(MANY))
    return {
        "/proc/interrupts": f"      CPU0\n 10:  40  IO-APIC 10-fasteoi  {names}\n"
    } | functions(MANY, irq=10)


def functions(number, irq=None):
    devices = "/sys/bus/pci/devices"
    addresses = [f"0000:{n >> 8:02x}:{n >> 3 & 31:02x}.{n & 7}" for n in range(number)]
    return {f"{devices}/{a}/class": "0x020000\n" for a in addresses} | {
        f"{devices}/{a}/irq": f"{irq or n}\n" for n, a in enumerate(addresses)
    }


def servers_and_routes():
    head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    tail = "\t0001\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n"
    return {
        "/proc/net/ip_vs": IPVS
        + "TCP  C6000000:0050 rr\n"
        + "".join(f"  -> C7{n:06X}:0050  Route  1  0  0\n" for n in range(2 * MANY)),
        "/proc/net/route": head
        + "".join(f"eth0\t{n:06X}C8\t00000000{tail}" for n in range(2 * MANY)),
    }


@pytest.mark.parametrize("files", [shared_lines, one_line_of_all, servers_and_routes])
def test_very_many_items_of_a_hostile_host_cost_an_audit_seconds(files):
    """A few hundred kilobytes: where each was compared with each, this took a minute or more."""
    snapshot = take_all((RecordedHost(files(), {}),))
    began = time.process_time()
    audited = audits.of_snapshot("lb1", snapshot, discovery.all_checks())
    audit.text(audited)
    audit.markdown(audited)
    if snapshot.interrupts is not None:
        irqs.text(snapshot, snapshot.interrupts)

    assert time.process_time() - began < 6


ROWS = 10_000


def in_cells(name):
    return cells.table([("eth0", name), *[("eth1", "rr")] * ROWS], ("nic", "what"), "plain")


def in_lvs(name):
    service = Service(protocol="tcp", address="198.18.0.1", port=80, scheduler=name)
    others = [
        Service(protocol="tcp", address="198.18.0.1", port=n, scheduler="rr") for n in range(ROWS)
    ]
    return lvs.table(Table((service, *others)), [Seen(Numbers(*(0,) * 10), ())] * (ROWS + 1))


@pytest.mark.parametrize("show", [in_cells, in_lvs])
def test_one_giant_name_is_not_multiplied_by_the_rows_of_a_table(show):
    shown = show("x" * MIB)

    assert len(shown) < 4 * len(show("x" * 300)), "all other rows are as wide as the longest"
    assert f"{'x' * 300}x" in shown
    assert "x..." in shown
    assert "x..." not in show("x" * 300), "a real name is shown complete"
