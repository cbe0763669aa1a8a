"""Render a plan as files, for operators who manage their settings with another tool."""

from collections.abc import Iterator, Mapping

from dirtune.change.actions.edit_line import EditLine
from dirtune.change.actions.put_file import PutFile
from dirtune.change.plan import Change, Plan
from dirtune.escape import one_line
from dirtune.render.plan import refusal_line

_SCRIPT = "apply.sh"


def files(plan: Plan, kept: Plan) -> Mapping[str, tuple[str, int]]:
    """Return the text and the permission bits of each file, by its path in the output folder.

    `apply.sh` makes the changes of *plan* at run time. *kept* adds the files that keep settings
    over a reboot (sysctl.d, modprobe.d, udev rules, units, GRUB's configuration), at their paths
    on the host.
    """
    now = [change for change in plan.changes if not change.lasting]
    # A line of a file that others write cannot be a file of the output, so the script edits it.
    now += [change for change in kept.changes if isinstance(change.action, EditLine)]
    rows = [
        "#!/bin/sh",
        "# This script makes the changes of `dirtune fix apply`, and cannot undo them.",
        "set -eu",
    ]
    rows += [f"# {one_line(refusal_line(refusal))}" for refusal in kept.refusals]
    rows += [row for change in now for row in _rows(change)]
    texts = {_SCRIPT: ("\n".join((*rows, "")), 0o755)}
    for change in kept.changes:
        if isinstance(change.action, PutFile):
            path = change.action.path.lstrip("/")
            texts[path] = (change.action.after, change.action.mode)
    return texts


def _rows(change: Change) -> Iterator[str]:
    yield f"# {one_line(f'{change.reason}: {change.title}')}"
    yield from change.action.commands
