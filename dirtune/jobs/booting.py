"""Reboot the lab's director for each cell of a plan's matrix that needs a boot."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from dirtune import plan as plans
from dirtune.bench.matrix import Cell
from dirtune.jobs import notes
from dirtune.plan.tables import Plan
from dirtune.signals import undisturbed

Boot = Callable[[Cell], Plan]
"""Boots the lab's director as the cell needs it, and returns the cell's plan with its nodes."""


def possible(plan: Plan) -> bool:
    """Return whether the plan's nodes are the nodes of the running lab."""
    from dirtune import lab

    path = lab.plan_path()
    return path is not None and plan.ssh_config == plans.read(path).ssh_config


@contextmanager
def booting(cells: Sequence[Cell]) -> Iterator[Boot]:
    """Yield a function that boots the director for a cell; restore the lab at the end."""
    if not any(cell.boot and cell.refused is None for cell in cells):
        yield lambda cell: cell.plan
        return
    from dirtune.lab import lifecycle
    from dirtune.lab.spec import Spec

    before: Spec = lifecycle.running().spec()
    now: list[Spec | None] = [before]

    def bring(spec: Spec) -> None:
        if spec == now[0]:
            lifecycle.reboot(_say)
            return
        now[0] = None  # if this fails, the next call builds the lab again
        lifecycle.down()
        lifecycle.up(spec, _say)
        now[0] = spec

    def boot(cell: Cell) -> Plan:
        if not cell.boot:
            return cell.plan
        bring(msgspec.structs.replace(before, **cell.boot))
        director = plans.read(lifecycle.running().plan).director
        return msgspec.structs.replace(cell.plan, director=director)

    try:
        yield boot
    finally:
        if now[0] != before:
            with undisturbed():
                bring(before)


def _say(phase: str) -> None:
    notes.progress(f"  {phase}")
