"""Set the variables with which irqbalance starts: interrupts and CPUs that it leaves alone."""

import re
from collections.abc import Iterator

from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.run import Run
from dirtune.change.fixes import Fix, Question
from dirtune.change.lines import lines_of
from dirtune.change.plan import Change, Refusal
from dirtune.collect.settings_files import IRQBALANCE
from dirtune.settings import IrqbalanceVariable

# Values that, in quotes, have no special meaning for systemd, which reads the file, or a shell.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:=/+ -]*")
_RESTART = ("systemctl", "try-restart", "irqbalance")
# This folder exists while systemd is the first process (sd_booted(3)), which systemctl needs.
_SYSTEMD = "/run/systemd/system"


def _plan(question: Question) -> Iterator[Change | Refusal]:
    requests = []
    for request, setting in question.settings(IrqbalanceVariable):
        if _PLAIN.fullmatch(setting.value):
            requests.append((request, setting))
        else:
            why = f"cannot be set to {setting.value!r}; edit the file by hand"
            yield request.refusal(setting.name, why)
    if not requests:
        return
    first = requests[0][0]
    path = next((path for path in IRQBALANCE if path in question.around.texts), None)
    if path is None:
        yield first.refusal(IRQBALANCE[0], f"is missing, and so is {IRQBALANCE[1]}")
        return
    before = after = question.around.texts[path]
    for _, setting in requests:
        after = with_variable(after, setting)
    runs = _RESTART[0] in question.around.commands and _SYSTEMD in question.around.paths
    restart = _RESTART if runs else ()
    title = f"start irqbalance with {', '.join(f'{s.name}={s.value}' for _, s in requests)}"
    # irqbalance reads the file when it starts, so it is restarted after an undo as well.
    yield first.change(Run(undo_argv=restart), "restart irqbalance", lasting=True)
    yield first.change(PutFile(path, before, after), title, lasting=True)
    yield first.change(Run(argv=restart), "restart irqbalance", lasting=True)


def with_variable(text: str, setting: IrqbalanceVariable) -> str:
    """Return *text*, a file with NAME="value" rows, after adding or replacing *setting*."""
    mine = re.compile(rf"\s*(?:export\s+)?{re.escape(setting.name)}=")
    kept = [row for row in lines_of(text) if not mine.match(row)]
    return "\n".join((*kept, f'{setting.name}="{setting.value}"', ""))


FIX = Fix("irqbalance", _plan, reads=IRQBALANCE, looks=(_SYSTEMD,), commands=_RESTART[:1])
