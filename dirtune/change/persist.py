"""Plans that make their changes again after a boot, by the files of `boot_files`. Pure.

What is there already stays, but for rows of the same setting. The names of a machine are data here
too: one that a format has a meaning for, and no way to quote, is refused.
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
    """Return *plan* and, behind it, what makes its changes again after a boot.

    *texts* are the files of `FILES` that are there. What outlives a boot by itself is not made
    twice, and what cannot be written down is refused.
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
    """Return the file that makes *action* again after a boot; None if it needs none."""
    return next((row.path for row in _rows(action)), None)


def _rows(action: Action) -> tuple[Row, ...]:
    kept = action.kept
    return () if isinstance(kept, Unwritable) else kept


def _refusal(change: Change, odd: Unwritable) -> Refusal:
    why = f"is not kept over a reboot: {odd.path} cannot hold a name like that; keep it by hand"
    return Refusal(change.reason, change.fix, odd.name, why)


def _file(change: Change, path: str, before: str | None, rows: list[Row]) -> Iterator[Change]:
    after = _merged(before or "", rows)
    if after != before:
        yield _change(change, PutFile(path, before, after), f"keep it over a reboot by {path}")


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
