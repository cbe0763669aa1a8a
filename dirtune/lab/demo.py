"""Demonstrate dirtune in a lab: find a shared interrupt line, fix it, and prove the effect.

Every measurement uses the plan and the ssh_config that the lab wrote, as for any other nodes. Only
this module takes into account that the lab runs on this machine: it keeps dirtune off the
director's CPUs, and boots the director to compare boots with and without a kernel option.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from dirtune import plan
from dirtune.analyse import compare
from dirtune.analyse.run import TrialKind
from dirtune.bench import campaign, rig
from dirtune.bench.outcome import Order
from dirtune.bench.store import Store
from dirtune.bench.trial import conduct
from dirtune.errors import LabError
from dirtune.lab import lifecycle
from dirtune.lab.spec import Experiment, Spec, cpu_layout
from dirtune.lab.state import Folder, scenario
from dirtune.plan.tables import Plan
from dirtune.signals import undisturbed
from dirtune.tune import boots, decide, record, turn
from dirtune.tune.boots import Booting
from dirtune.tune.decide import Trying

Say = Callable[[str], None]

_BOOTS = 5
"""Boots with the fix, and as many without it: the fewest that can give a verdict."""


@contextmanager
def up(
    name: str, pairs: int | None, say: Say, *, keep: bool
) -> Iterator[tuple[Folder, Plan, Experiment]]:
    """Start a lab, yield its folder, plan and experiment, and end the lab after the context.

    The lab has the scenario *name*. If *keep* is True, the lab stays up. *pairs* replaces the
    plan's number of pairs. Raises `LabError`, and changes nothing, if a lab is already up, and
    `PlanError` if *pairs* cannot give a verdict.
    """
    spec = Spec(scenario=scenario(name), clock="exact")
    if spec.scenario.experiment is None:
        raise LabError(f"The scenario {name} defines no experiment. Use --scenario crowded.")
    if pairs is not None:
        compare.require_pairs(pairs, f"Use --pairs {compare.LEAST_PAIRS} or more.")
    lifecycle.up(spec, say)
    try:
        _, load_cpus = cpu_layout(os.sched_getaffinity(0), spec.cpus)
        os.sched_setaffinity(0, set(load_cpus))
        place = lifecycle.running()
        bench_plan = plan.with_pairs(plan.read(place.plan), pairs)
        yield place, bench_plan, spec.scenario.experiment
    finally:
        if not keep:
            with undisturbed():
                lifecycle.down()


def trying(place: Folder, bench_plan: Plan, experiment: Experiment, command: str) -> Trying:
    """Return the fix to measure, and the settings for it, from the experiment of a scenario."""
    spec = place.spec()
    return Trying(
        plan=bench_plan,
        checks=(experiment.check,),
        title=spec.scenario.title,
        command=command,
        scenario=msgspec.to_builtins(spec.scenario),
    )


async def noise(trying: Trying, out: Path, say: Say) -> Store:
    """Run pairs of trials without the fix in either arm (A/A), to measure the noise floor."""
    plan = trying.plan
    kept = turn.begin(replace(trying, title=f"A/A: {trying.title}"), out)
    async with rig.opened(plan) as nodes:
        await conduct(nodes, plan, Order("first", "A", TrialKind.BASELINE, plan.pair_rates[0]))
        await turn.run_pairs(trying, kept, nodes, campaign.stay, say)
    turn.judged(trying, kept)
    comparisons = tuple(
        msgspec.structs.replace(
            comparison,
            noise_floor=compare.floor_of(
                kept.run.trials, comparison.metric, comparison.rate, comparison.covariate
            ),
        )
        for comparison in kept.run.comparisons
    )
    record.save(kept, comparisons=comparisons, finished=record.now())
    return kept


async def reboots(trying: Trying, out: Path, say: Say) -> Store:
    """Compare boots with and without the kernel option; each boot counts as one value."""
    trying = replace(trying, checks=("irq/xtpic-mode",), title=f"Boot comparison: {trying.title}")
    kept = turn.begin(trying, out, paired=False)

    def boot() -> None:
        status = lifecycle.reboot(say)
        say(f"booted in {status.boot_s:.0f} s with the kernel options: {status.command_line}")

    arms = decide.boot_arms(_BOOTS)
    await boots.turns(trying, kept, say, Booting(arms, boot=boot))
    return kept
