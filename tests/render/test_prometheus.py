"""Metrics of hosts that lie: one impossible number costs one series, not the file."""

import pytest
from prometheus_client import generate_latest

from dirtune.checks.audits import Audit, Report
from dirtune.checks.measures import InterruptRate, Measures
from dirtune.render import prometheus


def rows(*measures):
    """Return the samples of hosts h0, h1, ... with *measures*, without help and types."""
    audits = tuple(
        Audit({"name": f"h{n}"}, (), (), measures=known) for n, known in enumerate(measures)
    )
    text = generate_latest(prometheus.registry(Report(audits), 1e9)).decode()
    return [row for row in text.splitlines() if not row.startswith("#")]


@pytest.mark.parametrize("wrong", [-1, 10**400, 2**64 + 1, float("nan")])
def test_an_impossible_number_costs_its_own_series_only(wrong):
    found = rows(
        Measures(backlog_drops=wrong, time_squeezes=7, conntrack_entries=wrong),
        Measures(backlog_drops=3, nic_losses={"eth0": wrong, "eth1": 5}, wasted={"10": wrong}),
    )

    assert [row for row in found if row.startswith("dirtune_backlog")] == [
        'dirtune_backlog_drops_total{host="h1"} 3.0'
    ]
    assert 'dirtune_time_squeezes_total{host="h0"} 7.0' in found
    assert not any("conntrack" in row or "wasted" in row for row in found)
    assert [row for row in found if row.startswith("dirtune_nic")] == [
        'dirtune_nic_lost_packets_per_second{host="h1",interface="eth1"} 5.0'
    ]


def test_a_host_has_a_limited_number_of_series_and_says_how_many_are_left_out():
    losses = {f"eth{n}": float(n) for n in range(1000)}
    lines = tuple(InterruptRate("1" * 900, ("x" * 900, str(n)), 1.0) for n in range(3))
    found = rows(Measures(nic_losses=losses, interrupts=lines), Measures())

    nics = [row for row in found if row.startswith("dirtune_nic")]
    assert len(nics) == 256
    assert any('interface="eth999"' in row for row in nics)
    assert not any('interface="eth743"' in row for row in nics)  # the 257th largest
    assert 'dirtune_audit_series_omitted{host="h0"} 744.0' in found
    assert 'dirtune_audit_series_omitted{host="h1"} 0.0' in found
    assert max(map(len, found)) < 300


def test_the_name_of_a_host_is_limited():
    report = Report((Audit({"name": "n" * 5000}, (), ()),), (("m" * 5000, "lost"),))

    text = generate_latest(prometheus.registry(report, 1e9)).decode()

    assert max(len(row) for row in text.splitlines()) < 400
