"""The numbers of a host for Prometheus, against sums by hand."""

import dataclasses

import pytest

from dirtune.checks import measures
from dirtune.collect.ip_vs import Stats
from dirtune.collect.softnet import SoftnetRow
from dirtune.snapshot import Snapshot
from tests.checks import machines


def test_what_is_missing_is_not_zero():
    assert measures.of(Snapshot()) == measures.Measures()


def test_totals_are_summed_over_cpus():
    rows = (SoftnetRow(0, 10, 3, 7, 0, 0), SoftnetRow(1, 10, 4, 1, 0, 0))
    conntrack = {"net/netfilter/nf_conntrack_count": "60", "net/netfilter/nf_conntrack_max": "80"}
    busy = machines.service(1, 1, loads=((5, 2), (0, 4)))
    found = measures.of(
        machines.director(
            busy,
            softnet=rows,
            ip_vs_stats=Stats(900, 1, 1, 1, 1),
            ip_vs_table_size=4096,
            sysctls=conntrack,
        )
    )

    assert (found.backlog_drops, found.time_squeezes) == (7, 8)
    assert (found.ipvs_connections, found.ipvs_entries, found.ipvs_buckets) == (900, 11, 4096)
    assert (found.conntrack_entries, found.conntrack_limit) == (60, 80)


def test_an_interrupt_line_has_its_rate():
    found = measures.of(machines.at_rate(machines.host("XT-PIC      enp0s16"), 200))

    assert [(one.irq, one.actions, one.per_second) for one in found.interrupts] == [
        ("10", ("enp0s16",), 200.0)
    ]


def test_only_the_busiest_lines_are_kept():
    rows = [f" {n}: {n}   XT-PIC   dev{n}" for n in range(1, 301)]
    later = machines.table(*rows)
    still = dataclasses.replace(
        later, lines=tuple(dataclasses.replace(one, counts=(0,)) for one in later.lines)
    )
    found = measures.of(
        Snapshot(interrupts=later, taken_s=12.0, earlier=Snapshot(interrupts=still, taken_s=10.0))
    )

    assert [one.irq for one in found.interrupts] == [str(n) for n in range(300, 44, -1)]


def test_the_wasted_time_is_a_share_of_one_cpu():
    # 1,000 calls of 40 us that found nothing to do, in 20 s.
    window = machines.window(("enp0s16", 1000, 0, 9_000), ("i801_smbus", 1000, 1000, 40_000))
    found = measures.of(machines.host(machines.SHARED, handlers=window))

    assert found.wasted == {"10": pytest.approx(1000 * 40e-6 / 20)}
