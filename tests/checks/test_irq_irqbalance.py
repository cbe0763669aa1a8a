"""irq/irqbalance-absent, irqbalance-conflict and irqbalance-banned."""

import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.irqbalance_absent import irqbalance_absent
from dirtune.checks.irq.irqbalance_banned import irqbalance_banned
from dirtune.checks.irq.irqbalance_conflict import irqbalance_conflict
from dirtune.collect.pci import PciDevice
from dirtune.collect.settings_files import SettingsFiles
from tests.checks.samples import cpus, interrupts, msi, placed, process, stat, two

EVERY = range(4)
THREE = interrupts(*(msi(40 + n, f"eth0-rx-{n}", 900, 900, 0, 0) for n in range(3)))
ONE_CPU = interrupts(*(msi(40 + n, f"eth0-rx-{n}", 900, 0, 0, 0) for n in range(3)))
IRQBALANCE = process(700, "irqbalance")


def states(*effective, affinity=EVERY, **fields):
    return {str(40 + n): placed(affinity, [cpu], **fields) for n, cpu in enumerate(effective)}


def files(tuned=None, **irqbalance):
    return SettingsFiles({}, frozenset(), irqbalance, tuned)


class TestAbsent:
    def outcome(self, **fields):
        known = {"interrupts": THREE, "cpus": cpus(4), "processes": (process(9, "sshd"),)}
        known["proc_irq"] = states(0, 0, 1)
        return run((irqbalance_absent,), two(**(known | fields)))[0]

    def test_all_go_to_two_cpus(self):
        (found,) = self.outcome().findings

        assert found.severity is Severity.MEDIUM
        assert "3 receive vectors all go to CPU 0 and 1" in found.message
        assert found.evidence["irqs"] == ["40", "41", "42"]
        assert found.fixes[0].commands == ("systemctl enable --now irqbalance",)
        assert found.fixes[1].commands == (
            "echo 0 > /proc/irq/40/smp_affinity_list",
            "echo 1 > /proc/irq/41/smp_affinity_list",
            "echo 2 > /proc/irq/42/smp_affinity_list",
        )

    def test_one_busy_cpu_makes_it_high(self):
        busy = stat({"softirq": 500}, {}, {}, {})
        found = self.outcome(interrupts=ONE_CPU, proc_irq=states(0, 0, 0), stat=busy)

        assert found.severity is Severity.HIGH

    def test_without_effective_masks_the_rates_tell(self):
        unknown = {n: dataclasses.replace(s, effective=None) for n, s in states(0, 0, 1).items()}

        assert self.outcome(proc_irq=unknown).findings[0].evidence["cpus"] == [0, 1]

    @pytest.mark.parametrize(
        "fields",
        [
            {"processes": (IRQBALANCE,)},
            {"processes": (process(9, "tuna"),)},
            {"cpus": cpus(2)},
            {"proc_irq": states(0, 1, 2)},
            {"proc_irq": states(0, 0, 1, affinity=[0])},
            {"proc_irq": states(0, 0, 1, managed=True)},
            {"interrupts": interrupts(msi(40, "eth0-rx-0", 9, 0, 0, 0))},
        ],
        ids=["irqbalance", "tuna", "few cpus", "spread", "pinned", "managed", "one queue"],
    )
    def test_it_stays_quiet(self, fields):
        assert self.outcome(**fields).status is Status.PASSED

    def test_unknown_leaves_it_open(self):
        assert self.outcome(proc_irq=None).status is Status.INCONCLUSIVE
        assert self.outcome(processes=None).status is Status.SKIPPED


PINNED = {str(40 + n): placed([n]) for n in range(3)}
MOVED = {**PINNED, "41": placed([3])}


class TestConflict:
    def outcome(self, *others, then=PINNED, now=MOVED, **fields):
        known = {"interrupts": THREE, "settings_files": files(), "proc_irq": now} | fields
        taken = two(processes=(IRQBALANCE, *others), earlier={"proc_irq": then}, **known)
        return run((irqbalance_conflict,), taken)[0]

    def test_pins_move_and_tuned_runs(self):
        (found,) = self.outcome(process(8, "tuned")).findings

        assert found.severity is Severity.MEDIUM
        assert "irq 41 of 3 vectors moved" in found.message
        assert found.evidence["irqs"] == ["41"]
        assert found.fixes[0].title == (
            "Start irqbalance with --banirq=40 --banirq=41 --banirq=42"
        )
        assert found.fixes[1].commands == ("systemctl disable --now irqbalance",)

    def test_without_a_second_program_it_is_low(self):
        assert self.outcome().severity is Severity.LOW

    @pytest.mark.parametrize(
        "variables",
        [
            {"IRQBALANCE_ARGS": "--banirq=40 --banirq=41"},
            {"IRQBALANCE_ARGS": "-i 40"},
            {"OPTIONS": "--policyscript=/etc/policy"},
            {"IRQBALANCE_ARGS": "--hintpolicy=exact"},
            {"IRQBALANCE_ARGS": "--hintpolicy exact"},
            {"IRQBALANCE_ONESHOT": "yes"},
        ],
    )
    def test_irqbalance_was_told(self, variables):
        assert self.outcome(settings_files=files(**variables)).status is Status.PASSED

    def test_an_argument_that_spares_nothing(self):
        told = files(IRQBALANCE_ARGS="--hintpolicy=subset --interval=5")

        assert self.outcome(settings_files=told).status is Status.FINDING

    def test_it_stays_quiet(self):
        wide = {name: placed(EVERY, [0]) for name in PINNED}

        assert self.outcome(now=PINNED).status is Status.PASSED
        assert self.outcome(now=wide, then=wide | {"40": placed(EVERY, [1])}).status is (
            Status.PASSED
        )
        off = two(interrupts=THREE, processes=(), proc_irq=MOVED)
        assert run((irqbalance_conflict,), off)[0].status is Status.PASSED

    def test_half_of_the_vectors_are_enough(self):
        four = interrupts(*(msi(40 + n, f"eth0-rx-{n}", 9, 0, 0, 0) for n in range(4)))
        wide = {"42": placed(EVERY, [2]), "43": placed(EVERY, [3])}
        found = self.outcome(interrupts=four, then=PINNED | wide, now=MOVED | wide)

        assert found.status is Status.FINDING

    def test_managed_vectors_are_not_the_question(self):
        then = {name: placed([1], managed=True) for name in PINNED}
        now = {name: placed([2], managed=True) for name in PINNED}

        assert self.outcome(then=then, now=now).status is Status.PASSED

    def test_unknown_leaves_it_open(self):
        assert self.outcome(settings_files=None).status is Status.INCONCLUSIVE
        assert self.outcome(then=None).status is Status.INCONCLUSIVE


class TestBanned:
    FOUR = interrupts(*(msi(40 + n, f"eth0-rx-{n}", 900, 0, 0, 0) for n in range(4)))

    def outcome(self, settings, *, running=True, **fields):
        known = {"interrupts": self.FOUR, "cpus": cpus(4)} | fields
        processes = (IRQBALANCE,) if running else ()
        return run(
            (irqbalance_banned,), two(settings_files=settings, processes=processes, **known)
        )[0]

    @pytest.mark.parametrize(
        "settings",
        [
            files(IRQBALANCE_BANNED_CPULIST="1-3"),
            files(IRQBALANCE_BANNED_CPUS="e"),
            files(IRQBALANCE_BANNED_CPUS="00000000,0000000e"),
        ],
    )
    def test_one_cpu_is_left_for_four_queues(self, settings):
        (found,) = self.outcome(settings).findings

        assert (found.subject, found.severity) == ("eth0", Severity.MEDIUM)
        assert "leaves irqbalance 1 CPUs near the card for 4 active vectors" in found.message
        assert found.evidence["left"] == [0]
        assert [fix.id for fix in found.fixes] == ["correct-banned-cpus"]

    def test_isolated_cpus_are_spared_by_itself(self):
        (found,) = self.outcome(files(), cpus=cpus(4, isolated=(2, 3), nohz_full=(1,))).findings

        assert "isolation leaves irqbalance 1 CPUs" in found.message

    def test_only_cpus_near_the_card_count(self):
        card = PciDevice("0000:03:00.0", 0x020000, "ice", nets=("eth0",), local_cpus=(0, 1))
        settings = files(IRQBALANCE_BANNED_CPULIST="0")

        assert self.outcome(settings).status is Status.PASSED
        assert self.outcome(settings, pci=(card,)).status is Status.FINDING

    def test_a_mask_of_64_bits_on_more_cpus(self):
        settings = files(IRQBALANCE_BANNED_CPUS="0000000000000001")
        (found,) = self.outcome(settings, cpus=cpus(65), interrupts=interrupts()).findings

        assert found.subject == "IRQBALANCE_BANNED_CPUS"
        assert "covers 64 CPUs at most, of 65" in found.message
        assert self.outcome(settings, cpus=cpus(64)).status is Status.PASSED

    @pytest.mark.parametrize(
        ("settings", "running"),
        [
            (files(), True),
            (files(IRQBALANCE_BANNED_CPULIST="2-3"), True),
            (files(IRQBALANCE_BANNED_CPULIST="1-3"), False),
            (files(IRQBALANCE_BANNED_CPULIST="1-3", tuned="cpu-partitioning"), True),
            (files(IRQBALANCE_BANNED_CPUS="0"), True),
        ],
        ids=["nothing", "two are left", "not running", "meant so", "no bit"],
    )
    def test_it_stays_quiet(self, settings, running):
        assert self.outcome(settings, running=running).status is Status.PASSED

    def test_unknown_leaves_it_open(self):
        taken = two(
            settings_files=files(IRQBALANCE_BANNED_CPULIST="1-3"),
            interrupts=self.FOUR,
            cpus=cpus(4),
        )
        assert run((irqbalance_banned,), taken)[0].status is Status.INCONCLUSIVE
        broken = self.outcome(files(IRQBALANCE_BANNED_CPULIST="one"))
        assert broken.status is Status.INCONCLUSIVE
