"""Rows that no kernel prints cost time in proportion to their length, as all others do."""

import time
from contextlib import suppress

import pytest

from dirtune.checks import run
from dirtune.checks.discovery import all_checks
from dirtune.collect.addresses import parse_fib_trie, parse_local_networks
from dirtune.collect.limits import parse_limits
from dirtune.collect.net_dev import parse_net_dev
from dirtune.collect.pci import addresses_in
from dirtune.errors import ParseError
from dirtune.host import RecordedHost
from dirtune.snapshot import take_all

CASES = {
    "leaf and newlines": (parse_fib_trie, "|-- 1", "\n"),
    "network and newlines": (parse_local_networks, "|-- 1", "\n"),
    "leaves in rows": (parse_local_networks, "", " /1 |-- 1\n"),
    "rows of one leaf": (parse_local_networks, "|-- 1\n", " /1 x\n"),
    "blanks": (parse_limits, "Max x", " "),
    "words": (parse_limits, "Max", " x"),
    "digits of an address": (addresses_in, "", "0a0a"),
}

BESIDE = {"/proc/sys/vm/min_free_kbytes": "90112\n"}
STAT = "{0} (napi/z{0}) S 2 0 0 0 -1 2129984 1 0 0 0 5 6 0 0 20 0 1 0 9\n"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_row_is_read_in_linear_time(case):
    read, begin, unit = case
    began = time.process_time()
    with suppress(ParseError):
        read(begin + unit * 20_000)

    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "/proc/interrupts",
            "CPU0\n5: 7 IO-APIC 5-edge  " + ", ".join(f"eth{n}" for n in range(4000)),
        ),
        ("/cmd/dmesg", "[1.0] " + "MSI-X " * 10_000),
        ("/cmd/dmesg", "[1.0] " + "fail " * 10_000),
        ("/cmd/dmesg", "[1.0] " + "ip_vs_conn_new " * 20_000),
        ("/proc/interrupts", "CPU0\n5: 7 IO-APIC 5-edge  " + "0a0a" * 20_000),
    ],
    ids=["handlers of one wire", "MSI-X", "fail", "ip_vs_conn_new", "digits of an address"],
)
def test_a_row_is_judged_in_linear_time(path, text):
    snapshot = take_all((RecordedHost({path: f"{text}\n", **BESIDE}, {}),))
    began = time.process_time()
    run(all_checks(), snapshot)

    assert time.process_time() - began < 3


def test_many_names_are_looked_for_without_a_pattern_for_each():
    """The module re keeps 512 patterns; what is more is compiled anew, row by row."""
    names = [f"q{n}x" for n in range(600)]
    wires = "".join(f"{n}: 7 IO-APIC {n}-edge  a, b{n}\n" for n in range(20))
    files = {
        "/proc/interrupts": f"CPU0\n{wires}",
        "/cmd/dmesg": "".join(f"[1.0] MSI-X fail {n}\n" for n in range(50)),
        **{f"/proc/{n}/stat": STAT.format(n) for n in range(20)},
    }
    for name in names:
        files[f"/sys/class/net/{name}/threaded"] = "1\n"
        files[f"/sys/class/net/{name}/operstate"] = "up\n"
    links = {f"/sys/class/net/{name}": f"../../devices/pci0000:00/net/{name}" for name in names}
    snapshot = take_all((RecordedHost(files, links),))
    assert {i.name for i in snapshot.interfaces if i.physical} == {*names}
    began = time.process_time()
    run(all_checks(), snapshot)

    assert time.process_time() - began < 3


@pytest.mark.parametrize("name", ["a\x1cb", "\x85a", "a\u2028b"])
def test_a_name_parts_no_row_of_counters(name):
    head = "Inter-|   Receive\n face |bytes\n"

    assert list(parse_net_dev(f"{head}  {name}: {'1 ' * 16}\n")) == [name]
