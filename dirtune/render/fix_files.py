"""A plan as files, for people who keep their settings elsewhere."""

from collections.abc import Iterator, Mapping

from dirtune.change.plan import Change, Plan, PutFile, commands
from dirtune.escape import one_line
from dirtune.render.plan import refusal_line

_SCRIPT = "apply.sh"


def files(plan: Plan, kept: Plan) -> Mapping[str, tuple[str, int]]:
    """Return texts and permission bits by their path in a folder.

    `apply.sh` does at once what *plan* does at run time; below it are, by their paths on the host,
    the files that *kept* makes: sysctl.d, modprobe.d, rules of udev, units, GRUB's.
    """
    now = [change for change in plan.changes if not change.lasting]
    rows = ["#!/bin/sh", "# Does what `dirtune fix apply` does, without the way back.", "set -eu"]
    rows += [f"# {one_line(refusal_line(refusal))}" for refusal in kept.refusals]
    rows += [row for change in now for row in _rows(change)]
    found = {_SCRIPT: ("\n".join((*rows, "")), 0o755)}
    for change in kept.changes:
        if isinstance(change.action, PutFile):
            path = change.action.path.lstrip("/")
            found[path] = (change.action.after, change.action.mode)
    return found


def _rows(change: Change) -> Iterator[str]:
    yield f"# {one_line(f'{change.reason}: {change.title}')}"
    yield from commands(change.action)
