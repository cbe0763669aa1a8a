"""Find the plan file of a command: the named file, or a default."""

from pathlib import Path

from dirtune import plan as plans
from dirtune import writing
from dirtune.errors import PlanError
from dirtune.plan.tables import Plan

DEFAULT = Path("dirtune.toml")


def find(given: str | None) -> Plan:
    """Return the plan *given*, or that in ./dirtune.toml, or that of the running lab."""
    return plans.read(locate(given))


def locate(given: str | None) -> Path:
    """Return the path of the plan that `find` reads; raises `PlanError` if there is none."""
    if given:
        return Path(given)
    if DEFAULT.is_file():
        # The user did not name this file, and a plan may name a command to start.
        writing.require_not_planted(DEFAULT.absolute())
        return DEFAULT
    from dirtune import lab

    path = lab.plan_path()
    if path is None:
        raise PlanError(
            "No plan was given, and there is no ./dirtune.toml and no running lab. Name a plan, "
            "write one (`dirtune bench example >dirtune.toml`), or start a lab (`dirtune lab up`)."
        )
    return path
