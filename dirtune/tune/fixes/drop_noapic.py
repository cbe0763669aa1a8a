"""Take `noapic` and `nolapic` from the kernel command line by a drop-in of GRUB's.

The drop-in is read after /etc/default/grub and edits what was set there, whatever it was. The
option may have been put in for a reason, so an entry with the old command line stays in the menu.
"""

import shlex
from collections.abc import Iterator

from dirtune.checks import Risk
from dirtune.snapshot import Snapshot
from dirtune.tune.fixes import Fix, Surroundings
from dirtune.tune.plan import Action, Change, Plan, PutFile, Refusal, Run

_CHECK = "irq/xtpic-mode"
_ID = "drop-noapic"
_OPTIONS = ("noapic", "nolapic")
_FOLDERS = ("/etc/default/grub.d", "/etc/grub.d")
_DROP_IN = "/etc/default/grub.d/90-dirtune.cfg"
_ENTRY = "/etc/grub.d/42_dirtune_previous"
_MAKERS = ("grub-mkconfig", "grub2-mkconfig")
_SIGNED = "# Written by dirtune for irq/xtpic-mode; `dirtune rollback` removes it.\n"


def _plan(snapshot: Snapshot, around: Surroundings, force: bool) -> Plan:  # noqa: FBT001
    dropped = tuple(word for word in snapshot.cmdline or () if word in _OPTIONS)
    update = _update(around)
    refusals = tuple(_refusals(dropped, update, snapshot, around))
    if any(not (refusal.forceable and force) for refusal in refusals):
        return Plan(refusals=refusals)
    entry = _menu_entry(snapshot, around)
    files = (
        PutFile(_DROP_IN, around.texts.get(_DROP_IN), _drop_in(dropped)),
        *((PutFile(_ENTRY, around.texts.get(_ENTRY), entry, 0o755),) if entry else ()),
    )
    # The menu is made from the files, so it is made after them on the way back as well.
    actions: tuple[Action, ...] = (Run(undo=update), *files, Run(make=update))
    words = " ".join(dropped)
    titles = {
        _DROP_IN: f"take {words} from the command line of the next boot",
        _ENTRY: "keep a boot entry with the command line of today",
    }
    return Plan(tuple(_change(action, titles) for action in actions))


def _change(action: Action, titles: dict[str, str]) -> Change:
    named = titles[action.path] if isinstance(action, PutFile) else "make the boot menu anew"
    return Change(action, Risk.REBOOT, _CHECK, _ID, named)


def _refusals(
    dropped: tuple[str, ...], update: tuple[str, ...], snapshot: Snapshot, around: Surroundings
) -> Iterator[Refusal]:
    words = " ".join(dropped)
    if not dropped:
        why = f"has none of {', '.join(_OPTIONS)}; turn on APIC mode in the firmware"
        yield Refusal(_CHECK, _ID, "/proc/cmdline", why, forceable=False)
        return
    if not update or not around.paths.issuperset(_FOLDERS):
        why = f"GRUB with drop-ins is not here; take {words} out of the boot loader's own file"
        yield Refusal(_CHECK, _ID, _DROP_IN, why, forceable=False)
    for path in _later(dropped, around):
        yield Refusal(_CHECK, _ID, path, f"is read after {_DROP_IN} and sets {words} again")
    if _menu_entry(snapshot, around) is None:
        why = "the running kernel's image is not in /boot, so no entry with the old line is kept"
        yield Refusal(_CHECK, _ID, _ENTRY, why)


def _later(dropped: tuple[str, ...], around: Surroundings) -> Iterator[str]:
    for path, text in around.texts.items():
        if path.startswith(_FOLDERS[0]) and path > _DROP_IN and any(w in text for w in dropped):
            yield path


def _update(around: Surroundings) -> tuple[str, ...]:
    """Return the command that makes the boot menu; empty if it would not read a drop-in."""
    if "update-grub" in around.commands:
        return ("update-grub",)
    menu = next((p for p in sorted(around.paths) if p.endswith("/grub.cfg")), None)
    for maker in _MAKERS:
        # GRUB's own version reads /etc/default/grub alone; Debian's and others' read the folder.
        reads = any(p.endswith(f"/{maker}") and "grub.d" in t for p, t in around.texts.items())
        if maker in around.commands and reads and menu:
            return (maker, "-o", menu)
    return ()


def _drop_in(dropped: tuple[str, ...]) -> str:
    # Blanks around every word make first, middle, last and only one the same case; the loop
    # takes a word given twice in a row, whose blanks overlap.
    edits = " ".join(
        f"-e ':{word}' -e 's/ {word} / /' -e 't{word}'" for word in dict.fromkeys(dropped)
    )
    return f"""{_SIGNED}dirtune_without() {{
    {{ printf ' %s ' "$1" | tr '\\t\\n' '  '; echo; }} |
        sed {edits} -e 's/^ *//' -e 's/ *$//'
}}
GRUB_CMDLINE_LINUX=$(dirtune_without "${{GRUB_CMDLINE_LINUX-}}")
GRUB_CMDLINE_LINUX_DEFAULT=$(dirtune_without "${{GRUB_CMDLINE_LINUX_DEFAULT-}}")
unset -f dirtune_without
"""


def _menu_entry(snapshot: Snapshot, around: Surroundings) -> str | None:
    """Return a script that prints an entry for what runs now; None if its image is not known."""
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
    words = (word for word in snapshot.cmdline or () if not word.startswith("BOOT_IMAGE="))
    options = " ".join(map(shlex.quote, words))
    seen = _as_grub_sees(snapshot)
    load = f"    initrd {initrd.removeprefix(seen)}\n" if initrd else ""
    path = image.removeprefix(seen)
    return f"""#!/bin/sh
{_SIGNED}cat <<'ENTRY'
menuentry 'Linux with the command line before dirtune' --class gnu-linux --id dirtune-previous {{
    search --no-floppy --set=root --file {path}
    linux {path} {options}
{load}}}
ENTRY
"""


def _as_grub_sees(snapshot: Snapshot) -> str:
    """Return what to drop from the path of an image: GRUB knows no mounts."""
    own = any(mount.target == "/boot" for mount in snapshot.mounts or ())
    return "/boot" if own else ""


def _first(around: Surroundings, *paths: str) -> str | None:
    return next((path for path in paths if path in around.paths), None)


FIX = Fix(
    id=_ID,
    checks=(_CHECK,),
    risk=Risk.REBOOT,
    title="Drop noapic from the kernel command line, keeping a boot entry with the old line",
    function=_plan,
    reads=(
        f"{_FOLDERS[0]}/*.cfg",
        _ENTRY,
        *(f"/usr/sbin/{maker}" for maker in _MAKERS),
    ),
    looks=(*_FOLDERS, "/boot/vmlinuz-*", "/boot/initr*", "/boot/grub*/grub.cfg"),
    commands=("update-grub", *_MAKERS),
)
