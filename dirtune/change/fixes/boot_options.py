"""Change words of the kernel command line where the boot loader reads it.

GRUB reads a drop-in after /etc/default/grub, so the drop-in can edit the value that was set there.
Boot entries of RHEL, Fedora and systemd-boot, and Alpine's extlinux have no drop-ins, so dirtune
edits their lines. The boot menu keeps an entry with the old command line, because a removed word
may have been necessary.
"""

import re
import shlex
from collections.abc import Iterator

from dirtune.change import command_line as lines
from dirtune.change.action import Action
from dirtune.change.actions.edit_line import EditLine
from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.run import Run
from dirtune.change.command_line import Options
from dirtune.change.fixes import Fix, Question, Request, Surroundings
from dirtune.change.plan import Change, Refusal
from dirtune.errors import NotPossible
from dirtune.settings import BootOption, Risk
from dirtune.snapshot import Snapshot

_FOLDERS = ("/etc/default/grub.d", "/etc/grub.d")
_DROP_IN = "/etc/default/grub.d/90-dirtune.cfg"
_ENTRY = "/etc/grub.d/42_dirtune_previous"
_MAKERS = ("grub-mkconfig", "grub2-mkconfig")
# GRUB's own version reads /etc/default/grub alone; Debian's and others' read the folder. Each of
# them also reads /etc/grub.d.
_READS = "default/grub.d"
_SIGNED = "# Written by dirtune; `dirtune rollback` removes it.\n"
_EDIT = "# edits: -"
# Words that have no special meaning in sed, the shell or GRUB.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:=@/+&-]*")
_EXTLINUX = ("update-extlinux",)
_VARIABLES = ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT")


def _plan(question: Question) -> Iterator[Change | Refusal]:
    requests = tuple(question.settings(BootOption))
    if not requests:
        return
    first, options = requests[0][0], tuple(dict.fromkeys(option for _, option in requests))
    answers = tuple(_answers(first, options, question))
    left = [
        answer
        for answer in answers
        if isinstance(answer, Refusal) and answer.name not in question.force
    ]
    yield from left or (answer for answer in answers if isinstance(answer, Change))


def _answers(request: Request, options: Options, question: Question) -> Iterator[Change | Refusal]:
    """Yield the changes for each boot loader of this host, and the reasons against them."""
    around = question.around
    odd = [w for option in options for w in (option.drop, option.add) if not _PLAIN.fullmatch(w)]
    drop_ins = bool(_update(around)) and around.paths.issuperset(_FOLDERS)
    if odd:
        effect = _effect_of(options)
        why = f"cannot hold {odd[0]!r}; {effect} the boot loader's configuration by hand"
        yield request.refusal(_DROP_IN, why)
        return
    if drop_ins:
        yield from _with_drop_in(request, options, question)
    try:
        if lines.entries(around.texts) and "zipl" not in around.commands:
            yield from _in_entries(request, options, question)
        elif "update-extlinux" in around.commands and lines.EXTLINUX in around.texts:
            yield from _for_extlinux(request, options, question)
        elif not drop_ins:
            yield _refused(request, options, around)
    except NotPossible as error:
        why = f"cannot be changed: {error}; {_by_hand(options, around)}"
        yield request.refusal("the kernel command line", why)


def _with_drop_in(
    request: Request, options: Options, question: Question
) -> Iterator[Change | Refusal]:
    around = question.around
    before = around.texts.get(_DROP_IN)
    # The drop-in keeps the edits of earlier fixes.
    options = tuple(dict.fromkeys((*_edited(before or ""), *options)))
    for path in _later(options, around):
        why = f"is read after {_DROP_IN} and sets the same option again"
        yield request.refusal(path, why, name="read-later")
    entry = _menu_entry(question.snapshot, around)
    update = _update(around)
    yield _change(request, Run(undo_argv=update), "regenerate the boot menu")
    title = f"{_effect_of(options)} the kernel command line of the next boot"
    yield _change(request, PutFile(_DROP_IN, before, _drop_in(options)), title)
    yield _previous(request, _ENTRY, entry, around, 0o755)
    # The menu is generated from the files, so it is also generated after they were restored.
    yield _change(request, Run(argv=update), "regenerate the boot menu")


def _in_entries(
    request: Request, options: Options, question: Question
) -> Iterator[Change | Refusal]:
    around = question.around
    edits = lines.edits_of_entries(around.texts, options)
    path, entry = lines.previous_entry(around.texts, question.snapshot)
    yield from _edits(request, options, edits)
    if edits:
        yield _previous(request, path, entry, around)


def _for_extlinux(
    request: Request, options: Options, question: Question
) -> Iterator[Change | Refusal]:
    around = question.around
    edits = lines.edits_of_extlinux(around.texts[lines.EXTLINUX], options)
    if not edits:
        return
    entry = lines.extlinux_entry(around.paths, question.snapshot)
    yield _change(request, Run(undo_argv=_EXTLINUX), "regenerate the boot menu")
    yield from _edits(request, options, edits)
    yield _previous(request, lines.EXTLINUX_PREVIOUS, entry, around)
    yield _change(request, Run(argv=_EXTLINUX), "regenerate the boot menu")


def _edits(request: Request, options: Options, edits: tuple[EditLine, ...]) -> Iterator[Change]:
    for edit in edits:
        title = f"{_effect_of(options)} the kernel command line in {edit.path}"
        yield _change(request, edit, title)


def _previous(
    request: Request, path: str, entry: str | None, around: Surroundings, mode: int = 0o644
) -> Change | Refusal:
    """Return the change that keeps a boot entry with the present command line."""
    if entry is None:
        why = (
            "cannot keep an entry with the old command line, because the running kernel's image "
            "is not in /boot, or its command line has characters that an entry cannot hold"
        )
        return request.refusal(path, why, name="no-old-entry")
    title = "keep a boot entry with the present command line"
    return _change(request, PutFile(path, around.texts.get(path), entry, mode), title)


def _change(asked: Request, action: Action, title: str) -> Change:
    return asked.change(action, title, risk=Risk.REBOOT, lasting=True)


def _effect_of(options: Options) -> str:
    drops, adds = (
        " ".join(filter(None, words))
        for words in zip(*((o.drop, o.add) for o in options), strict=True)
    )
    take, put = f"remove {drops} from" if drops else "", f"add {adds} to" if adds else ""
    return " and ".join(filter(None, (take, put)))


def _refused(request: Request, options: Options, around: Surroundings) -> Refusal:
    why = (
        "would not be read, because this host has no GRUB that reads drop-in files; "
        f"{_by_hand(options, around)}"
    )
    return request.refusal(_DROP_IN, why)


def _later(options: Options, around: Surroundings) -> Iterator[str]:
    words = [option.drop or option.add for option in options]
    for path, text in around.texts.items():
        if path.startswith(_FOLDERS[0]) and path > _DROP_IN and any(w in text for w in words):
            yield path


def _by_hand(options: Options, around: Surroundings) -> str:
    """Return what a person must do to change the command line with this host's boot loader."""
    if "grubby" in around.commands:
        words = [f"--remove-args={option.drop}" for option in options if option.drop]
        words += [f"--args={option.add}" for option in options if option.add]
        return f"run `{shlex.join(('grubby', '--update-kernel=ALL', *words))}`"
    effect = _effect_of(options)
    if any(path.endswith(".efi") for path in around.paths):
        return (
            f"{effect} {lines.KERNEL_CMDLINE}, and run `kernel-install add $(uname -r) "
            "/lib/modules/$(uname -r)/vmlinuz`, which makes the unified kernel image again"
        )
    if "update-extlinux" in around.commands:
        return (
            f"{effect} default_kernel_opts in /etc/update-extlinux.conf, and run `update-extlinux`"
        )
    return f"{effect} the boot loader's configuration by hand"


def _update(around: Surroundings) -> tuple[str, ...]:
    """Return the command that generates the boot menu; empty if no command reads drop-ins."""
    if "update-grub" in around.commands:
        return ("update-grub",)
    if "grubby" in around.commands:
        return ()  # the entries of RHEL and Fedora have command lines of their own
    menu = next((p for p in sorted(around.paths) if p.endswith("/grub.cfg")), None)
    for maker in _MAKERS:
        reads = any(p.endswith(f"/{maker}") and _READS in t for p, t in around.texts.items())
        if maker in around.commands and reads and menu:
            return (maker, "-o", menu)
    return ()


def _edited(text: str) -> Iterator[BootOption]:
    """Yield the edits that *text*, dirtune's drop-in, contains."""
    for row in text.splitlines():
        if row.startswith(_EDIT):
            drop, _, add = row.removeprefix(_EDIT).partition(" +")
            yield BootOption(drop, add)


def _drop_in(options: Options) -> str:
    # With spaces around every word, the first, middle and last word match the same pattern. The
    # loop matches a word that occurs twice in a row, because the spaces overlap there.
    edits = " ".join(
        f"-e ':a{at}' -e {shlex.quote(f's/ {_pattern(o.drop)} /{_put(o.add)}/')} -e 'ta{at}'"
        for at, o in enumerate(options)
        if o.drop
    )
    # A new word that replaces no old word is added to the first of the two variables only.
    added = "".join(f" {option.add}" for option in options if not option.drop)
    assignments = "".join(
        f'{name}=$(dirtune_edit "${{{name}-}}{added if name == _VARIABLES[0] else ""}")\n'
        for name in _VARIABLES
    )
    rows = "".join(f"{_EDIT}{option.drop} +{option.add}\n" for option in options)
    return f"""{_SIGNED}{rows}dirtune_edit() {{
    {{ printf ' %s ' "$1" | tr '\\t\\n' '  '; echo; }} |
        sed {edits + " " if edits else ""}-e 's/^ *//' -e 's/ *$//'
}}
{assignments}unset -f dirtune_edit
"""


def _pattern(word: str) -> str:
    return "".join(f"\\{c}" if c in r".*[]^$/\\" else c for c in word)


def _put(word: str) -> str:
    escaped = "".join(f"\\{c}" if c in r"&/\\" else c for c in word)
    return f" {escaped} " if escaped else " "


def _menu_entry(snapshot: Snapshot, around: Surroundings) -> str | None:
    """Return a script that prints a boot entry for the running kernel and its command line.

    Return None if the kernel's image is unknown, or if a word has unprintable characters.
    """
    release = snapshot.kernel.osrelease if snapshot.kernel else None
    image = _first(around, f"/boot/vmlinuz-{release}")
    if image is None:
        return None
    initrd = _first(
        around,
        f"/boot/initrd.img-{release}",
        f"/boot/initramfs-{release}.img",
        f"/boot/initrd-{release}",
    )
    words = [word for word in snapshot.cmdline or () if not word.startswith("BOOT_IMAGE=")]
    if not all(word.isprintable() for word in (*words, image, initrd or "")):
        return None
    options = " ".join(map(shlex.quote, words))
    seen = _as_grub_sees(snapshot)
    load = f"    initrd {shlex.quote(initrd.removeprefix(seen))}\n" if initrd else ""
    path = shlex.quote(image.removeprefix(seen))
    return f"""#!/bin/sh
{_SIGNED}cat <<'ENTRY'
menuentry 'Linux with the command line before dirtune' --class gnu-linux --id dirtune-previous {{
    search --no-floppy --set=root --file {path}
    linux {path} {options}
{load}}}
ENTRY
"""


def _as_grub_sees(snapshot: Snapshot) -> str:
    """Return what GRUB omits from an image's path: `/boot` if that is a mount, else nothing."""
    own = any(mount.target == "/boot" for mount in snapshot.mounts or ())
    return "/boot" if own else ""


def _first(around: Surroundings, *paths: str) -> str | None:
    return next((path for path in paths if path in around.paths), None)


FIX = Fix(
    "boot-options",
    _plan,
    reads=(
        f"{_FOLDERS[0]}/*.cfg",
        _ENTRY,
        *(f"/usr/sbin/{maker}" for maker in _MAKERS),
        *lines.READS,
    ),
    looks=(*_FOLDERS, "/boot/vmlinuz-*", "/boot/initr*", lines.UNIFIED, "/boot/grub*/grub.cfg"),
    commands=("update-grub", *_MAKERS, "grubby", "update-extlinux", "zipl"),
)
