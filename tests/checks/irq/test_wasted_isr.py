import dataclasses

import pytest
from msgspec.structs import replace

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.wasted_isr import wasted_isr
from dirtune.collect.ip_vs import Stats
from dirtune.collect.stat import parse_stat
from tests.checks.earlier import sample_before
from tests.checks.machines import SHARED, host, window


def outcome(check, snapshot):
    return run((check,), snapshot)[0]


def severity(check, snapshot):
    (finding,) = outcome(check, snapshot).findings
    return finding.severity


def probed(*handlers, **options):
    return dataclasses.replace(host(SHARED), handlers=window(*handlers, **options))


class TestWastedIsr:
    @pytest.mark.parametrize(
        ("needless", "own", "wanted"),
        [
            # 5,000 calls in 20 s: 200 us each are 5 % of a CPU, 20 us are 0.5 %, 19 us are not.
            (200_000, 200_000, Severity.CRITICAL),
            (20_000, 900_000, Severity.HIGH),
            (19_000, 900_000, Severity.INFO),
            # 100 of 1,000 ns is a tenth of the line's time, 100 of 1,001 is not.
            (100, 900, Severity.HIGH),
            (100, 901, Severity.INFO),
        ],
    )
    def test_cpu_and_share_of_the_line_decide(self, needless, own, wanted):
        snapshot = probed(("enp0s16", 5000, 0, own), ("sym53c8xx", 5000, 5000, needless))

        assert severity(wasted_isr, snapshot) is wanted

    def test_it_hangs_on_the_shared_line(self):
        (found,) = outcome(
            wasted_isr, probed(("enp0s16", 2000, 0, 900), ("sym53c8xx", 2000, 1990, 1000))
        ).findings

        assert found.cause == "irq/shared-with-nic"
        assert found.evidence["irq"] == "10"
        assert found.evidence["handlers"][1]["irq_none"] == 1990

    def test_few_calls_and_threads_decide_nothing(self):
        few = probed(("enp0s16", 999, 0, 900), ("sym53c8xx", 999, 999, 1000))
        calls = window(("enp0s16", 2000, 0, 900), ("sym53c8xx", 2000, 0, 1000))
        woken = tuple(replace(handler, wake_thread=2000) for handler in calls.handlers)
        threaded = dataclasses.replace(host(SHARED), handlers=replace(calls, handlers=woken))

        assert outcome(wasted_isr, few).status is Status.INCONCLUSIVE
        assert outcome(wasted_isr, threaded).status is Status.INCONCLUSIVE

    def test_under_load_it_says_what_separating_should_bring(self):
        # 10 s apart: 4 s of CPU for 2,000 connections are 2,000 us each. The probe's 5 s have
        # 1,000 of them, and 2,000 needless calls of 50 us: 100 us each, a twentieth.
        def at(seconds, idle, connections):
            text = f"cpu 0 0 0 {idle} 0 0 0 0 0 0\ncpu0 0 0 0 {idle} 0 0 0 0 0 0\n"
            stats = Stats(connections, 0, 0, 0, 0)
            return {"taken_s": seconds, "stat": parse_stat(text), "ip_vs_stats": stats}

        found = dataclasses.replace(
            probed(("enp0s16", 2000, 0, 900), ("sym53c8xx", 2000, 2000, 50_000), seconds=5.0),
            **at(20.0, 1600, 5000),
        )
        before = sample_before(host(SHARED), **at(10.0, 1000, 3000))
        (told,) = outcome(wasted_isr, dataclasses.replace(found, earlier=before)).findings

        forecast = told.evidence["forecast"]
        assert forecast["ratio"] == pytest.approx(0.95)
        assert forecast["wasted_us_per_connection"] == pytest.approx(100)
        assert "save 5.0 % (4.8 to 5.2 %)" in told.message

    def test_without_connections_there_is_no_forecast(self):
        found = outcome(
            wasted_isr, probed(("enp0s16", 2000, 0, 900), ("sym53c8xx", 2000, 1990, 1000))
        ).findings[0]

        assert found.evidence["forecast"] is None

    def test_a_line_of_its_own_may_return_irq_none(self):
        alone = dataclasses.replace(
            host("IO-APIC  20-fasteoi   enp0s16"), handlers=window(("enp0s16", 5000, 400, 9000))
        )

        assert outcome(wasted_isr, alone).status is Status.PASSED

    def test_unprobed_it_is_skipped_with_the_remedy(self):
        assert "--probe" in outcome(wasted_isr, host(SHARED)).reason
