"""The whole job in the lab: find the shared line, price it, fix it, prove it.

Everything that is measured goes through the plan and the ssh_config that the lab wrote, as on
any other set of nodes. What is known here and nowhere else is that the lab shares this machine:
this program stays off the CPU of the director, and the reboot arm can boot it.
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

# Of each arm. Too few for a verdict, which takes five: the demo shows how it is done.
_BOOTS = 3


@contextmanager
def up(
    name: str, pairs: int | None, say: Say, *, keep: bool
) -> Iterator[tuple[Folder, Plan, Experiment]]:
    """Boot the lab of scenario *name*, yield its folder, plan and experiment, and take it down.

    Unless it is to be kept. `LabError` if a lab is up already, which is left alone.
    """
    spec = Spec(scenario=scenario(name))
    if spec.scenario.experiment is None:
        raise LabError(f"{name}: this scenario has no experiment; crowded has one")
    lifecycle.up(spec, say)
    try:
        _, load_cpus = cpu_layout(os.sched_getaffinity(0), spec.cpus)
        os.sched_setaffinity(0, set(load_cpus))
        place = lifecycle.running()
        asked = plan.read(place.plan)
        if pairs is not None:
            load = msgspec.structs.replace(asked.load, pairs=pairs)
            asked = msgspec.structs.replace(asked, load=load)
        yield place, asked, spec.scenario.experiment
    finally:
        if not keep:
            with undisturbed():
                lifecycle.down()


def trying(place: Folder, asked: Plan, experiment: Experiment, command: str) -> Trying:
    """Return the turn of the loop that the scenario's file asks for."""
    spec = place.spec()
    return Trying(
        plan=asked,
        checks=(experiment.check,),
        title=spec.scenario.title,
        command=command,
        scenario=msgspec.to_builtins(spec.scenario),
    )


async def noise(asked: Trying, out: Path, say: Say) -> Store:
    """Run the same pairs with nothing switched, for the noise floors they show."""
    kept = turn.begin(replace(asked, title=f"A/A: {asked.title}"), out)
    async with rig.opened(asked.plan) as nodes:
        first = Order("first", "A", TrialKind.BASELINE, asked.plan.pair_rates[0])
        await conduct(nodes, asked.plan, first)
        await campaign.pairs(nodes, asked.plan, campaign.stay, turn.keeping(kept, say))
    turn.judged(asked, kept)
    found = tuple(
        msgspec.structs.replace(
            each, noise_floor=compare.floor_of(kept.run.trials, each.metric, each.rate)
        )
        for each in kept.run.comparisons
    )
    record.save(kept, comparisons=found, finished=record.now())
    return kept


async def reboots(asked: Trying, out: Path, say: Say) -> Store:
    """Compare boots with and without the boot option; each boot is one replicate."""
    trying = replace(asked, checks=("irq/xtpic-mode",), title=f"Reboot arm: {asked.title}")
    kept = turn.begin(trying, out)

    def boot() -> None:
        status = lifecycle.reboot(say)
        say(f"booted in {status.boot_s:.0f} s: {status.command_line}")

    arms = decide.boot_arms(_BOOTS)
    await boots.turns(trying, kept, say, Booting(arms, boot=boot))
    return kept
