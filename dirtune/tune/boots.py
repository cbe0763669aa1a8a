"""Measure a fix that needs a boot, by booting with and without the fix in turn.

One boot per arm (A without the fix, B with it) cannot separate the effect of the fix from that of
the boot, so each arm gets several boots. If dirtune cannot boot the director, the run waits on
disk; `--resume` continues the run after somebody has booted the director.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace

from dirtune.analyse import compare
from dirtune.analyse.run import Run, TrialKind
from dirtune.analyse.verdict import sentence
from dirtune.bench import rig
from dirtune.bench.outcome import Order
from dirtune.bench.store import Store
from dirtune.bench.trial import conduct
from dirtune.errors import DirtuneError
from dirtune.signals import interruptible, to_the_end
from dirtune.tune import decide, director, record, turn
from dirtune.tune.decide import Boot, Stage, Trying
from dirtune.tune.director import Say, Switch

_FACTS = "cat /proc/sys/kernel/random/boot_id /proc/cmdline"


@dataclass(frozen=True, slots=True)
class Booting:
    """The boots of a run, how to boot the director, and the progress so far."""

    arms: str
    """The arm of each boot in order: A without the fix, B with it."""
    remember: Callable[[Boot], None] | None = None
    """A function that records on disk for which boot the director is ready; None if the run cannot
    be resumed."""
    last: Boot | None = None
    """The boot that was recorded last."""
    boot: Callable[[], None] | None = None
    """A function that boots the director and waits until it answers; None if a person must boot
    it."""


async def turns(trying: Trying, kept: Store, say: Say, booting: Booting) -> Run | None:
    """Measure the remaining boots of a run, and write the verdict into the run.

    Return None if a person must boot the director first. If the run is interrupted, the director
    stays as it is, because a boot cannot be undone; a message says if the director has the fix,
    and how to continue or remove the fix.
    """
    try:
        return await _turns(trying, kept, say, booting)
    except BaseException:  # Ctrl-C too
        say(await to_the_end(_way_out(trying, kept.run.id)))
        raise


async def _turns(trying: Trying, kept: Store, say: Say, booting: Booting) -> Run | None:
    while (number := decide.next_boot(kept.run.trials, booting.arms)) is not None:
        if not await _booted(trying, kept, say, booting, number):
            return None
        arm = booting.arms[number - 1]
        boot_id, line = await _facts(trying)
        record.step(kept, "cat /proc/cmdline", f"boot {number}, arm {arm}, {boot_id}: {line}")
        await _measure(trying, kept, say, number, arm)
    judged(trying, kept)
    arm, why = turn.verdict_of(trying, kept.run)
    if arm != booting.arms[-1]:
        # A fix that was rolled back remains active until a boot, and would affect the next fix.
        more = replace(booting, arms=booting.arms + arm)
        if not await _booted(trying, kept, say, more, len(more.arms)):
            return None
    await _switched(trying, kept, say, arm, why)
    record.save(kept, finished=record.now())
    return kept.run


async def _booted(trying: Trying, kept: Store, say: Say, booting: Booting, number: int) -> bool:
    """Ensure that the director is booted for boot *number*.

    Return False if a person must boot the director.
    """
    boot_id, _ = await _facts(trying)
    stage = decide.boot_stage(booting.last, number, boot_id)
    if stage is Stage.MEASURE:
        return True
    arm = booting.arms[number - 1]
    if stage is Stage.PREPARE:
        await _switched(trying, kept, say, arm)
        if booting.remember is not None:
            booting.remember(Boot(number, boot_id))
    say(f"boot {number} of {len(booting.arms)}, arm {arm}")
    if booting.boot is None:
        return False
    with (
        interruptible()
    ):  # booting blocks the event loop for minutes, so signals must still interrupt
        booting.boot()
    return True


async def _way_out(trying: Trying, run: str) -> str:
    """Return a sentence that says whether the director has the fix of *run*, and its undo."""
    host, names = trying.plan.director.host, ", ".join(trying.checks)
    resume = "To continue, run the same command with --resume."
    try:
        journal = await director.in_force(trying, run)
    except DirtuneError as error:
        return (
            f"{error}. {host} may have the fix for {names}; to check, run "
            f"`dirtune fix verify` there. {resume}"
        )
    if journal is None:
        return f"{host} will boot without the fix for {names}. {resume}"
    undo = shlex.join(("dirtune", "rollback", journal))
    remove = f"To remove the fix, run `{undo}` there, then reboot."
    return f"{host} has the fix for {names}. {remove} {resume}"


def judged(trying: Trying, kept: Store) -> None:
    """Compare the boots with and without the fix, and write the verdict into the run."""
    plan = trying.plan
    # Boots take long, so dirtune compares them only at the first rate.
    rate = plan.compared_at[0]
    arms = decide.boot_means(kept.run.trials, plan.compare.primary)
    comparison = compare.compare(
        plan.compare.primary,
        arms,
        noise_floor=trying.noise_floor(plan.compare.primary, rate),
        threshold=plan.compare.threshold / 100,
        rate=rate,
    )
    means = f"Means of the boots: {_means(arms.before)} before, {_means(arms.after)} after."
    record.save(kept, comparisons=(comparison,), verdict=f"{sentence(comparison)} {means}")


async def _facts(trying: Trying) -> tuple[str, str]:
    async with await director.connect(trying.plan) as node:
        boot_id, _, line = (await node.run(_FACTS)).partition("\n")
        return boot_id, line.strip()


async def _switched(
    trying: Trying, kept: Store, say: Say, arm: str, why: str | None = None
) -> None:
    async with director.opened(trying.plan) as far:
        switch = Switch(trying, kept, say, far)
        await switch.look()
        # The director must not boot with a fix that was only partly applied.
        await to_the_end(switch.settle(arm) if why is None else switch.leave(arm, why))


async def _measure(trying: Trying, kept: Store, say: Say, number: int, arm: str) -> None:
    done = {trial.id for trial in kept.run.trials}
    keep = turn.keeping(kept, say)
    async with rig.opened(trying.plan) as nodes:
        for place, name in enumerate(decide.boot_trials(number, arm)):
            if name not in done:
                # In the first trial, the caches are still cold.
                kind = TrialKind.JUDGED if place else TrialKind.BASELINE
                order = Order(name, arm, kind, trying.plan.pair_rates[0])
                keep(await conduct(nodes, trying.plan, order))


def _means(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.0f}" for value in values) or "none"
