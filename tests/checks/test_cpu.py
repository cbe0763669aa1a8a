"""The checks of CPUs."""

import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.cpu.clocksource import clocksource
from dirtune.checks.cpu.contended import contended
from dirtune.checks.cpu.deep_cstates import deep_cstates
from dirtune.checks.cpu.governor import governor
from dirtune.checks.cpu.mitigations import mitigations
from dirtune.checks.cpu.steal import steal
from dirtune.checks.cpu.throttled import throttled
from dirtune.collect.cpu_power import CpuPower, IdleState
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.ip_vs import Destination, Service
from dirtune.collect.kernel_log import LogLine
from dirtune.snapshot import Snapshot
from tests.checks.samples import interrupts, msi, process, stat, two

GUEST = CpuInfo("QEMU", frozenset({"hypervisor"}))
METAL = CpuInfo("Xeon", frozenset({"constant_tsc", "nonstop_tsc"}))
ON_0_AND_1 = interrupts(msi(40, "eth0-rx-0", 900, 0, 0, 0), msi(41, "eth0-rx-1", 0, 900, 0, 0))
GOVERNOR = "/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"


def power(**fields):
    known = {
        "governors": {}, "driver": None, "preferences": {}, "idle_driver": None, "idle": {},
        "throttled": {}, "clocksource": "tsc", "clocksources": ("tsc",), "vulnerabilities": {},
    }  # fmt: skip
    return CpuPower(**(known | fields))


def director(forward="Route"):
    servers = (Destination("198.18.0.11", 80, forward, 1, 0, 0),)
    return (Service("TCP", "198.18.0.100", 80, None, "rr", destinations=servers),)


class TestGovernor:
    def outcome(self, governors, driver="acpi-cpufreq", preferences=None, **fields):
        fields = {"interrupts": ON_0_AND_1, "cpuinfo": METAL} | fields
        known = power(
            governors=dict(enumerate(governors)), driver=driver, preferences=preferences or {}
        )
        return run((governor,), two(cpu_power=known, **fields))[0]

    @pytest.mark.parametrize("name", ["powersave", "ondemand", "conservative", "schedutil"])
    def test_only_cpus_of_cards_count(self, name):
        (found,) = self.outcome([name, "performance", name, name]).findings

        assert (found.subject, found.severity) == ("CPU 0", Severity.MEDIUM)
        assert f"governor {name} of acpi-cpufreq" in found.message
        assert [fix.commands for fix in found.fixes] == [
            (f"echo performance > {GOVERNOR.format(0)}",)
        ]

    def test_where_cards_interrupt_is_not_known_all_count(self):
        found = self.outcome(["performance", "ondemand"], interrupts=None).findings[0]

        assert found.subject == "CPU 1"

    def test_tuned_is_asked_first(self):
        (found,) = self.outcome(["ondemand"] * 2, processes=(process(8, "tuned"),)).findings

        assert found.fixes[0].commands == ("tuned-adm profile network-latency",)
        assert found.fixes[1].competes == ("tuned",)

    def test_powersave_of_an_active_driver_is_low(self):
        (found,) = self.outcome(
            ["powersave"] * 2,
            "intel_pstate",
            {0: "balance_performance", 1: "performance"},
            stat=stat({"softirq": 590}, {}),
        ).findings

        assert (found.subject, found.severity) == ("CPU 0", Severity.LOW)
        assert "preference balance_performance" in found.message

    @pytest.mark.parametrize(
        ("preference", "softirq"), [("performance", 100), ("balance_power", 600)]
    )
    def test_powersave_of_an_active_driver_is_quiet(self, preference, softirq):
        found = self.outcome(
            ["powersave"], "intel_pstate", {0: preference}, stat=stat({"softirq": softirq})
        )

        assert found.status is Status.PASSED

    def test_performance_is_quiet(self):
        assert self.outcome(["performance"] * 2).status is Status.PASSED

    def test_guests_and_hosts_without_cpufreq(self):
        assert self.outcome(["ondemand"], cpuinfo=GUEST).status is Status.NOT_APPLICABLE
        assert self.outcome([]).status is Status.NOT_APPLICABLE

    def test_unknown_leaves_it_open(self):
        assert self.outcome(["powersave"], "intel_pstate", {0: "power"}).status is (
            Status.INCONCLUSIVE
        )
        no_preference = self.outcome(["powersave"], "intel_pstate", stat=stat({}))
        assert no_preference.status is Status.INCONCLUSIVE
        assert run((governor,), Snapshot())[0].status is Status.SKIPPED


class TestDeepCstates:
    def states(self, *deep_us, latency=133):
        return {
            cpu: (IdleState("POLL", 0, False, 5), IdleState("C6", latency, False, us))
            for cpu, us in enumerate(deep_us)
        }

    def outcome(self, *deep_us, latency=133, driver="intel_idle", **fields):
        known = {"interrupts": ON_0_AND_1, "cpuinfo": METAL} | fields
        now = power(idle=self.states(*deep_us, latency=latency), idle_driver=driver)
        then = power(idle=self.states(*(0 for _ in deep_us), latency=latency), idle_driver=driver)
        known = {"earlier": {"cpu_power": then}} | known
        return run((deep_cstates,), two(cpu_power=now, **known))[0]

    def test_cpus_of_cards_sleep_deeply(self):
        # 2 s of 10 s, where interrupts go; CPU 2 serves no card.
        (found,) = self.outcome(2_000_000, 1_999_999, 9_000_000).findings

        assert (found.subject, found.severity) == ("CPU 0", Severity.LOW)
        assert "up to 20 % of the time in states as deep as C6, 133 us to leave" in found.message
        assert found.evidence["percent_by_cpu"] == {"0": 20.0}
        assert [fix.commands for fix in found.fixes] == [("cpupower idle-set -D 20",)]

    def test_polling_is_the_other_extreme(self):
        (found,) = self.outcome(0, cmdline=("idle=poll",)).findings

        assert (found.subject, found.severity) == ("idle=poll", Severity.LOW)

    def test_it_stays_quiet(self):
        assert self.outcome(9_000_000, latency=49).status is Status.PASSED
        assert self.outcome(9_000_000, latency=50).status is Status.FINDING

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({"cpuinfo": GUEST}, Status.NOT_APPLICABLE),
            ({"driver": "none"}, Status.NOT_APPLICABLE),
            ({"pps": 10}, Status.INCONCLUSIVE),
            ({"earlier": {"cpu_power": None}}, Status.INCONCLUSIVE),
        ],
    )
    def test_it_says_nothing(self, fields, status):
        assert self.outcome(9_000_000, **fields).status is status


class TestThrottled:
    def outcome(self, then, now, **fields):
        known = {"cpuinfo": METAL} | fields
        taken = two(
            cpu_power=power(throttled=now),
            earlier={"cpu_power": power(throttled=then)},
            **known,
        )
        return run((throttled,), taken)[0]

    def test_it_rises(self):
        (found,) = self.outcome({0: 5, 1: 7}, {0: 8, 1: 7}).findings

        assert (found.subject, found.severity) == ("CPU 0", Severity.HIGH)
        assert "up to 3 times" in found.message
        assert [fix.commands for fix in found.fixes] == [()]

    def test_history_is_quiet(self):
        assert self.outcome({0: 5}, {0: 5}).status is Status.PASSED

    def test_it_says_nothing(self):
        assert self.outcome({0: 5}, {0: 8}, cpuinfo=GUEST).status is Status.NOT_APPLICABLE
        assert self.outcome({}, {}).status is Status.NOT_APPLICABLE
        alone = Snapshot(cpu_power=power(throttled={0: 5}))
        assert run((throttled,), alone)[0].reason == "one sample"


class TestMitigations:
    RETPOLINES = "Mitigation: Retpolines; STIBP: disabled; RSB filling; PBRSB-eIBRS: Not affected"

    def outcome(self, spectre_v2="Not affected", retbleed="Not affected", services=None):
        told = power(vulnerabilities={"spectre_v2": spectre_v2, "retbleed": retbleed})
        taken = Snapshot(cpu_power=told, services=services or director())
        return run((mitigations,), taken)[0]

    def test_retpolines_are_told(self):
        (found,) = self.outcome(self.RETPOLINES).findings

        assert (found.subject, found.severity) == ("spectre_v2", Severity.INFO)
        assert found.message == "spectre_v2: Retpolines"
        assert [fix.commands for fix in found.fixes] == [()]

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ("Mitigation: IBRS; IBPB: conditional", "IBRS"),
            ("Mitigation: Enhanced IBRS + Retpolines; RSB filling", "Enhanced IBRS + Retpolines"),
            ("Mitigation: Full generic retpoline, IBPB: always-on", "Full generic retpoline"),
        ],
    )
    def test_other_ways(self, text, named):
        assert self.outcome(text).findings[0].message == f"spectre_v2: {named}"
        assert self.outcome(retbleed=text).findings[0].message == f"retbleed: {named}"

    @pytest.mark.parametrize(
        "text",
        [
            "Not affected",
            "Vulnerable",
            "Mitigation: Enhanced IBRS; PBRSB-eIBRS: Retpoline",
            "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional",
            "",
        ],
    )
    def test_it_stays_quiet(self, text):
        assert self.outcome(text).status is Status.PASSED

    def test_only_directors(self):
        mitigated = power(vulnerabilities={"spectre_v2": self.RETPOLINES})
        taken = Snapshot(cpu_power=mitigated, services=())

        assert run((mitigations,), taken)[0].status is Status.NOT_APPLICABLE


class TestSteal:
    def outcome(self, *stolen, **fields):
        known = {"cpuinfo": GUEST, "interrupts": ON_0_AND_1} | fields
        return run((steal,), two(stat=stat(*({"steal": n} for n in stolen)), **known))[0]

    @pytest.mark.parametrize(
        ("stolen", "severity"),
        [(50, Severity.HIGH), (149, Severity.HIGH), (150, Severity.CRITICAL)],
    )
    def test_time_is_taken(self, stolen, severity):
        (found,) = self.outcome(0, stolen).findings

        assert (found.subject, found.severity) == ("CPU 1", severity)
        assert f"up to {stolen / 10:.0f} %" in found.message
        assert found.evidence["steal_percent"] == {"1": stolen / 10}
        assert [fix.commands for fix in found.fixes] == [()]

    @pytest.mark.parametrize("stolen", [(49, 0, 0), (0, 0, 500)], ids=["little", "no card's"])
    def test_it_stays_quiet(self, stolen):
        assert self.outcome(*stolen).status is Status.PASSED

    def test_it_says_nothing(self):
        assert self.outcome(500, cpuinfo=METAL).status is Status.NOT_APPLICABLE
        assert self.outcome(500, earlier={"stat": None}).status is Status.INCONCLUSIVE
        old = stat({})
        times = tuple(dataclasses.replace(t, steal=None) for t in old.cpus)
        uncounted = dataclasses.replace(old, cpus=times)
        taken = two(stat=uncounted, cpuinfo=GUEST)
        assert run((steal,), taken)[0].status is Status.INCONCLUSIVE


class TestContended:
    def outcome(self, share, *programs, **fields):
        known = {"interrupts": ON_0_AND_1, "services": director()} | fields
        then = tuple(dataclasses.replace(p, ticks=0) for p in programs)
        taken = two(stat=stat(share, {}), processes=programs, earlier={"processes": then}, **known)
        return run((contended,), taken)[0]

    def test_programs_beside_softirqs(self):
        busy = {"softirq": 400, "user": 250, "nice": 50}
        (found,) = self.outcome(busy, process(90, "haproxy", 300), process(91, "sh", 9)).findings

        assert (found.subject, found.severity) == ("CPU 0", Severity.INFO)
        assert "30 % of it go to programs beside 40 % to softirqs" in found.message
        assert found.evidence["programs"] == ["haproxy", "sh"]

    def test_a_realtime_program(self):
        (found,) = self.outcome({}, process(90, "jackd", 5, policy="fifo")).findings

        assert "jackd with a real-time policy ran on it" in found.message

    @pytest.mark.parametrize(
        ("share", "program"),
        [
            ({"softirq": 399, "user": 300}, process(90, "haproxy", 300)),
            ({"softirq": 400, "user": 299}, process(90, "haproxy", 300)),
            ({}, process(90, "keepalived", 5, policy="rr")),
            ({}, process(90, "migration/0", 5, policy="fifo", kernel=True)),
            ({}, process(90, "jackd", 5, policy="fifo", cpu=3)),
            ({}, process(90, "jackd", 0, policy="fifo")),
        ],
        ids=["few softirqs", "few programs", "keepalived", "kernel", "other cpu", "did not run"],
    )
    def test_it_stays_quiet(self, share, program):
        assert self.outcome(share, program).status is Status.PASSED

    def test_it_says_nothing(self):
        busy = {"softirq": 400, "user": 300}

        assert self.outcome(busy, services=director("Local")).status is Status.NOT_APPLICABLE
        assert self.outcome(busy, services=()).status is Status.NOT_APPLICABLE
        assert self.outcome(busy, interrupts=interrupts()).status is Status.INCONCLUSIVE
        assert self.outcome(busy, interrupts=None).status is Status.SKIPPED


class TestClocksource:
    def outcome(self, current, *offered, cpuinfo=METAL, **fields):
        told = power(clocksource=current, clocksources=offered)
        return run((clocksource,), Snapshot(cpu_power=told, cpuinfo=cpuinfo, **fields))[0]

    @pytest.mark.parametrize("current", ["hpet", "acpi_pm"])
    def test_a_slow_device(self, current):
        (found,) = self.outcome(current, "tsc", "hpet", "acpi_pm").findings

        assert (found.subject, found.severity) == (current, Severity.MEDIUM)
        (fix,) = found.fixes
        assert fix.commands == (
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
        )

    def test_a_counter_that_is_not_offered(self):
        log = (LogLine(2.0, "tsc: Marking TSC unstable due to clocksource watchdog"),)
        (found,) = self.outcome("hpet", "hpet", "acpi_pm", kernel_log=log).findings

        assert "Marking TSC unstable due to clocksource watchdog" in found.message
        assert [(fix.id, fix.commands) for fix in found.fixes] == [("find-tsc-fault", ())]

    @pytest.mark.parametrize("current", ["tsc", "kvm-clock", "xen", "arch_sys_counter"])
    def test_it_stays_quiet(self, current):
        assert self.outcome(current, "tsc").status is Status.PASSED

    def test_an_unsteady_counter_is_no_better(self):
        assert self.outcome("hpet", "tsc", cpuinfo=GUEST).status is Status.PASSED

    def test_unknown_leaves_it_open(self):
        assert self.outcome("hpet", "tsc", cpuinfo=None).status is Status.INCONCLUSIVE
        assert self.outcome(None).status is Status.INCONCLUSIVE
