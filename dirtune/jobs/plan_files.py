"""Find the plan file of a command: the named file, or a default."""

import stat
from pathlib import Path

from dirtune import plan as plans
from dirtune import writing
from dirtune.errors import NotPossible, PlanError
from dirtune.jobs import root
from dirtune.plan.tables import Plan

DEFAULT = Path("dirtune.toml")


def find(given: str | None) -> Plan:
    """Return the plan *given*, else ./dirtune.toml, else the plan of the running lab."""
    return plans.read(locate(given))


def locate(given: str | None) -> Path:
    """Return the path of the plan that `find` reads; raises `PlanError` if there is none."""
    if given:
        return Path(given)
    if DEFAULT.is_file():
        require_own(
            DEFAULT,
            "a plan may name a command to start. Check the plan, then name it on the command "
            f"line: {DEFAULT}",
        )
        return DEFAULT
    from dirtune import lab

    path = lab.plan_path()
    if path is None:
        raise PlanError(
            "No plan was given, and there is no ./dirtune.toml and no running lab. Name a plan, "
            "write one (`dirtune bench example >dirtune.toml`), or start a lab (`dirtune lab up`)."
        )
    return path


def require_own(file: Path, why: str) -> None:
    """Raise `NotPossible` if another user wrote *file*, may write to it, or could replace it.

    The user did not name this file. *why* says what the file can do, and the remedy. With sudo(8)
    or pkexec(1), the file may belong to the user who called them.
    """
    path = file.absolute()
    for at in (path, *path.parents):
        writing.require_not_planted(at)
    for at in (path, path.parent):
        if (owner := at.lstat().st_uid) not in root.callers():
            raise NotPossible(f"{at} belongs to user {owner}, and {why}")
    if path.stat().st_mode & stat.S_IWOTH:
        raise NotPossible(f"All users can write to {path}, and {why}")
