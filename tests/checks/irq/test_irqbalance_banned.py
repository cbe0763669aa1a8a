import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.irqbalance_banned import irqbalance_banned
from dirtune.collect.pci import PciDevice
from dirtune.collect.settings_files import SettingsFiles
from tests.checks.samples import cpus, interrupts, msi, process, two

IRQBALANCE = process(700, "irqbalance")


def files(tuned=None, **irqbalance):
    return SettingsFiles({}, frozenset(), irqbalance, tuned)


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
        assert (found.evidence["left"], len(found.evidence["irqs"])) == ([0], 4)
        assert [fix.id for fix in found.fixes] == ["correct-banned-cpus"]

    def test_isolated_cpus_are_spared_by_itself(self):
        (found,) = self.outcome(files(), cpus=cpus(4, isolated=(2, 3), nohz_full=(1,))).findings

        assert (found.evidence["by"], found.evidence["left"]) == ("isolation", [0])

    def test_only_cpus_near_the_card_count(self):
        card = PciDevice("0000:03:00.0", 0x020000, "ice", nets=("eth0",), local_cpus=(0, 1))
        settings = files(IRQBALANCE_BANNED_CPULIST="0")

        assert self.outcome(settings).status is Status.PASSED
        assert self.outcome(settings, pci=(card,)).status is Status.FINDING

    def test_a_mask_of_64_bits_on_more_cpus(self):
        settings = files(IRQBALANCE_BANNED_CPUS="0000000000000001")
        (found,) = self.outcome(settings, cpus=cpus(65), interrupts=interrupts()).findings

        assert found.subject == "IRQBALANCE_BANNED_CPUS"
        assert found.evidence == {"mask": "0000000000000001", "online_cpus": 65}
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
