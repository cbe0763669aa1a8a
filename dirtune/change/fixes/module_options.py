"""Set parameters of kernel modules, which take effect when a module is loaded next.

A driver that is loaded from the initramfs reads its parameters there, so the initramfs is
generated again.
"""

import re
from collections.abc import Iterator

from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.run import Run
from dirtune.change.fixes import Fix, Question
from dirtune.change.lines import lines_of
from dirtune.change.plan import Change, Refusal
from dirtune.settings import MODPROBE_FILE, ModuleOptions, Risk

# Words that have no special meaning in modprobe.d(5).
_PLAIN = re.compile(r"[A-Za-z0-9_.,:=/+-]+")
# The commands that generate the initramfs: Debian's, that of RHEL and SUSE, Arch's and Alpine's.
_INITRAMFS = {
    "update-initramfs": ("update-initramfs", "-u"),
    "dracut": ("dracut", "--force", "--regenerate-all"),
    "mkinitcpio": ("mkinitcpio", "-P"),
    "mkinitfs": ("mkinitfs",),
}


def _plan(question: Question) -> Iterator[Change | Refusal]:
    requests = []
    for request, setting in question.settings(ModuleOptions):
        words = (setting.module, *setting.values, *setting.values.values())
        odd = next((word for word in words if not _PLAIN.fullmatch(word)), None)
        if odd is None:
            requests.append((request, setting))
        else:
            yield request.refusal(MODPROBE_FILE, f"cannot hold {odd!r}; set the option by hand")
    if not requests:
        return
    before = question.around.texts.get(MODPROBE_FILE)
    after = before or ""
    for _, setting in requests:
        after = with_options(after, setting)
    first = requests[0][0]
    names = ", ".join(dict.fromkeys(setting.module for _, setting in requests))
    title = f"set options of {names} for the next time the module is loaded"
    present = (argv for name, argv in _INITRAMFS.items() if name in question.around.commands)
    update = next(present, ())
    # The image is generated from the files, so it is also generated after they were restored.
    if update:
        yield first.change(
            Run(undo_argv=update), "regenerate the initramfs", risk=Risk.REBOOT, lasting=True
        )
    yield first.change(
        PutFile(MODPROBE_FILE, before, after), title, risk=Risk.REBOOT, lasting=True
    )
    if update:
        yield first.change(
            Run(argv=update), "regenerate the initramfs", risk=Risk.REBOOT, lasting=True
        )


def with_options(text: str, setting: ModuleOptions) -> str:
    """Return the modprobe.d(5) file *text* with *setting* in place of its options' old values."""
    kept = []
    for row in lines_of(text):
        words = row.split()
        if words[:2] == ["options", setting.module]:
            rest = [word for word in words[2:] if word.partition("=")[0] not in setting.values]
            if not rest:
                continue
            row = " ".join((*words[:2], *rest))  # noqa: PLW2901  (the part that is kept)
        kept.append(row)
    return "\n".join((*kept, setting.row, ""))


FIX = Fix("module-options", _plan, reads=(MODPROBE_FILE,), commands=tuple(_INITRAMFS))
