"""Extend a plan so that its changes are made again after a boot. Pure.

The added changes write rows into the files of `boot_files`. Other rows of these files stay, unless
they are about the same setting. A name of a device or file is refused if it contains characters
that have a special meaning in the boot file and cannot be quoted.
"""

from collections.abc import Iterable, Iterator, Mapping

from dirtune.change.action import Action
from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.run import Run
from dirtune.change.boot_files import (
    FILES,
    SCRIPT,
    UNIT,
    Row,
    Unwritable,
)
from dirtune.change.lines import lines_of
from dirtune.change.plan import Change, Plan, Refusal
from dirtune.settings import Risk

_UNIT_TEXT = f"""[Unit]
Description=Settings that dirtune keeps over a reboot
After=network-online.target irqbalance.service
Wants=network-online.target

[Service]
Type=oneshot
ExecStart=/bin/sh {SCRIPT}

[Install]
WantedBy=multi-user.target
"""


def lasting(plan: Plan, texts: Mapping[str, str]) -> Plan:
    """Return *plan*, followed by the changes that repeat its settings after a boot.

    *texts* has the text of each existing file in `FILES`. A change that outlives a boot by itself
    needs no row. A change that the files cannot hold is refused.
    """
    runtime = [change for change in plan.changes if not change.lasting]
    refusals = tuple(
        _refusal(change, kept)
        for change in runtime
        if isinstance(kept := change.action.kept, Unwritable)
    )
    rows = [(change, row) for change in runtime for row in _rows(change.action)]
    added: list[Change] = []
    for path in FILES[:-1]:
        mine = [(change, row) for change, row in rows if row.path == path]
        if mine:
            added += _file(mine[0][0], path, texts.get(path), [row for _, row in mine])
            added += _unit(mine[0][0], texts.get(UNIT)) if path == SCRIPT else ()
    return Plan((*plan.changes, *added), (*plan.refusals, *refusals))


def keeper(action: Action) -> str | None:
    """Return the file that repeats *action* after a boot; None if no file is needed."""
    return next((row.path for row in _rows(action)), None)


def _rows(action: Action) -> tuple[Row, ...]:
    kept = action.kept
    return () if isinstance(kept, Unwritable) else kept


def _refusal(change: Change, odd: Unwritable) -> Refusal:
    why = (
        f"cannot be kept over a reboot, because {odd.path} cannot hold this name; "
        "make the setting permanent by hand"
    )
    return Refusal(change.reason, change.fix, odd.name, why)


def _file(change: Change, path: str, before: str | None, rows: list[Row]) -> Iterator[Change]:
    after = _merged(before or "", rows)
    if after != before:
        title = f"keep the setting over a reboot in {path}"
        yield _change(change, PutFile(path, before, after), title)


def _unit(change: Change, before: str | None) -> Iterator[Change]:
    if before == _UNIT_TEXT:
        return
    yield _change(change, PutFile(UNIT, before, _UNIT_TEXT), f"run {SCRIPT} at boot")
    name = UNIT.rpartition("/")[2]
    if before is None:
        action = Run(("systemctl", "enable", name), ("systemctl", "disable", name))
        yield _change(change, action, f"enable {name}")


def _change(of: Change, action: PutFile | Run, title: str) -> Change:
    return Change(action, Risk.SAFE, of.reason, of.fix, title, lasting=True)


def _merged(text: str, rows: Iterable[Row]) -> str:
    lines = lines_of(text)
    for row in rows:
        lines = [line for line in lines if not row.replaces(line)] + [row.text]
    return "\n".join((*lines, ""))
