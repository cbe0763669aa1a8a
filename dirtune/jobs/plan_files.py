"""Find the plan file of a command: the named file, or a default."""

import os
from pathlib import Path

from dirtune import plan as plans
from dirtune import writing
from dirtune.errors import NotPossible, PlanError
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
        _require_own(DEFAULT.absolute())
        return DEFAULT
    from dirtune import lab

    path = lab.plan_path()
    if path is None:
        raise PlanError(
            "No plan was given, and there is no ./dirtune.toml and no running lab. Name a plan, "
            "write one (`dirtune bench example >dirtune.toml`), or start a lab (`dirtune lab up`)."
        )
    return path


def _require_own(path: Path) -> None:
    """Raise `NotPossible` if another user wrote *path*, or could replace it.

    The user did not name this file, and a plan may name a command to start. With sudo(8) or
    pkexec(1), the file may belong to the user who called them.
    """
    own = {"0", str(os.geteuid()), os.environ.get("SUDO_UID"), os.environ.get("PKEXEC_UID")}
    for at in (path, *path.parents):
        writing.require_not_planted(at)
    for at in (path, path.parent):
        if str(owner := at.lstat().st_uid) not in own:
            raise NotPossible(
                f"{at} belongs to user {owner}, and a plan may name a command to start. Check the "
                f"plan, then name it on the command line: {path.name}"
            )
