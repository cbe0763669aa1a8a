"""The whole job in the lab: find the shared line, price it, fix it, prove it.

Everything that is measured goes through the plan and the ssh_config that the lab wrote, as on
any other set of nodes. What is known here and nowhere else is that the lab shares this machine:
this program stays off the CPU of the director, and the reboot arm can boot it.
"""

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from dirtune import loop, remote
from dirtune.analyse import compare
from dirtune.analyse.compare import Arms
from dirtune.analyse.run import Trial
from dirtune.analyse.verdict import sentence
from dirtune.bench import campaign, plan, rig
from dirtune.bench.outcome import Order
from dirtune.bench.store import Store
from dirtune.bench.tables import Plan
from dirtune.bench.trial import conduct
from dirtune.errors import LabError
from dirtune.lab import control
from dirtune.lab.spec import Experiment, Spec, cpu_layout
from dirtune.lab.state import Folder, scenario

Say = Callable[[str], None]

BOOTS = "ABBAAB"
"""Three boots of each arm, alternating."""
_TRIALS_PER_BOOT = 3


def up(name: str, pairs: int | None, say: Say) -> tuple[Folder, Plan, Experiment]:
    """Boot the lab of scenario *name* and return its folder, plan and experiment."""
    spec = Spec(scenario=scenario(name))
    if spec.scenario.experiment is None:
        raise LabError(f"{name}: this scenario has no experiment; crowded has one")
    control.up(spec, say)
    _, load_cpus = cpu_layout(os.sched_getaffinity(0), spec.cpus)
    os.sched_setaffinity(0, set(load_cpus))
    place = control.running()
    asked = plan.read(place.plan)
    if pairs is not None:
        asked = msgspec.structs.replace(
            asked, load=msgspec.structs.replace(asked.load, pairs=pairs)
        )
    return place, asked, spec.scenario.experiment


def trying(place: Folder, asked: Plan, experiment: Experiment, command: str) -> loop.Trying:
    """Return the turn of the loop that the scenario's file asks for."""
    spec = place.spec()
    return loop.Trying(
        plan=asked,
        check=experiment.check,
        title=spec.scenario.title,
        command=command,
        scenario=msgspec.to_builtins(spec.scenario),
    )


async def noise(turn: loop.Trying, out: Path, say: Say) -> tuple[Store, float | None]:
    """Run the same pairs with nothing switched; return the noise floor they show."""
    kept = loop.begin(replace(turn, title=f"A/A: {turn.title}"), out)
    async with rig.opened(turn.plan) as nodes:
        await conduct(nodes, turn.plan, Order("first", "A", "baseline", turn.plan.load.rates[0]))
        await campaign.pairs(nodes, turn.plan, campaign.stay, loop.keeping(kept, say))
    loop.judged(turn, kept)
    floor = compare.noise_floor(compare.arms_of(kept.run, turn.plan.compare.primary))
    found = (msgspec.structs.replace(kept.run.comparisons[0], noise_floor=floor),)
    loop.save(kept, comparisons=(*found, *kept.run.comparisons[1:]), finished=loop.now())
    return kept, floor


async def reboots(turn: loop.Trying, out: Path, say: Say) -> Store:
    """Compare boots with and without the boot option; each boot is one replicate."""
    check = "irq/xtpic-mode"
    kept = loop.begin(replace(turn, check=check, title=f"Reboot arm: {turn.title}"), out)
    journal: str | None = None
    for number, arm in enumerate(BOOTS, 1):
        journal = await _arm(turn.plan, arm, journal, check)
        status = control.reboot(say)
        say(f"boot {number}, arm {arm}: {status.boot_s:.0f} s, {status.command_line}")
        async with rig.opened(turn.plan) as nodes:
            for place in range(_TRIALS_PER_BOOT + 1):
                kind = "judged" if place else "baseline"  # the first pays for translation
                order = Order(f"b{number}-{place}-{arm}", arm, kind, turn.plan.load.rates[0])
                loop.keeping(kept, say)(await conduct(nodes, turn.plan, order))
    await _arm(turn.plan, "A", journal, check)
    metric = turn.plan.compare.primary
    found = compare.compare(metric, boot_means(kept.run.trials, metric))
    means = f"Boot means: {_means(found.before)} before, {_means(found.after)} after."
    said = f"{sentence(found)} {means}"
    loop.save(kept, comparisons=(found,), verdict=said, finished=loop.now())
    return kept


def boot_means(trials: Sequence[Trial], metric: str) -> Arms:
    """Return each boot's mean as one value; trials of one boot are no replicates."""
    boots: dict[tuple[str, str], list[float]] = {}
    judged = [trial for trial in trials if trial.kind == "judged"]
    for trial in judged:
        if trial.validity == "valid" and metric in trial.metrics:
            key = (trial.arm, trial.id.split("-")[0])
            boots.setdefault(key, []).append(trial.metrics[metric])
    means = {key: statistics.fmean(values) for key, values in boots.items()}
    counted = sum(map(len, boots.values()))
    return Arms(
        before=tuple(mean for (arm, _), mean in means.items() if arm == "A"),
        after=tuple(mean for (arm, _), mean in means.items() if arm == "B"),
        paired=False,
        invalid=len(judged) - counted,
    )


async def _arm(asked: Plan, arm: str, journal: str | None, check: str) -> str | None:
    """Put the boot option in (A) or take it out (B); return the journal of what stands."""
    if (arm == "B") == (journal is not None):
        return journal
    config = Path(asked.ssh_config) if asked.ssh_config else None
    words = ("fix", "apply", check, "--confirm", "0") if arm == "B" else ("rollback", str(journal))
    argv = (*asked.director.dirtune.split(), *words, "--format", "json")
    async with await remote.connect(asked.director.host, ssh_config=config) as director:
        answer = remote.parse_object(director.name, argv, await director.run(argv, timeout_s=300))
    return str(answer["journal"]) if arm == "B" else None


def _means(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in values) or "none"
