"""Finding the plan a command works on, for the commands that take one."""

from pathlib import Path

from dirtune import plan as plans
from dirtune import writing
from dirtune.errors import PlanError
from dirtune.plan.tables import Plan

DEFAULT = Path("dirtune.toml")


def find(given: str | None) -> Plan:
    """Return the plan *given*, else dirtune.toml here, else that of a running lab."""
    return plans.read(locate(given))


def locate(given: str | None) -> Path:
    """Return where that plan is."""
    if given:
        return Path(given)
    if DEFAULT.is_file():
        # Nobody named it, and a plan may name a command to start.
        writing.require_not_planted(DEFAULT.absolute())
        return DEFAULT
    from dirtune import lab

    path = lab.plan_path()
    if path is None:
        raise PlanError(
            "no plan: name one, write dirtune.toml here (`dirtune bench example`), "
            "or start a lab (`dirtune lab up`)"
        )
    return path
