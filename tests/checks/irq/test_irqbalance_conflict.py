import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.irqbalance_conflict import irqbalance_conflict
from dirtune.collect.settings_files import SettingsFiles
from tests.checks.samples import interrupts, msi, placed, process, two

EVERY = range(4)


THREE = interrupts(*(msi(40 + n, f"eth0-rx-{n}", 900, 900, 0, 0) for n in range(3)))


IRQBALANCE = process(700, "irqbalance")


def files(tuned=None, **irqbalance):
    return SettingsFiles({}, frozenset(), irqbalance, tuned)


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
        assert found.evidence == {"irqs": ["41"], "vectors": 3, "pinners": ["tuned"]}
        assert found.fixes[0].title == (
            "Start irqbalance with --banirq=NUMBER for irqs 40, 41 and 42"
        )
        assert found.fixes[1].commands == ("systemctl disable --now irqbalance",)

    def test_five_hundred_vectors_fit_a_sentence(self):
        lines = [msi(40 + n, f"eth0-rx-{n}", 900, 900, 0, 0) for n in range(500)]
        pinned = {str(40 + n): placed([n % 4]) for n in range(500)}
        moved = {irq: placed([(n + 1) % 4]) for n, irq in enumerate(pinned)}

        (found,) = self.outcome(interrupts=interrupts(*lines), then=pinned, now=moved).findings

        assert found.fixes[0].title.endswith("46, 47 and 492 more")
        assert len(found.message) < 250
        assert found.fixes[0].settings[0].value.count("--banirq=") == 500

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
