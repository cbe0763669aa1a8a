"""Edit the kernel command line in the files from which boot loaders read it. Pure.

The files are boot entries (the Boot Loader Specification's, which GRUB of RHEL and Fedora and
systemd-boot read), GRUB's environment block, /etc/kernel/cmdline, from which kernel-install makes
the entries of new kernels, and shell variables of /etc/default/grub and /etc/update-extlinux.conf.

dirtune edits the lines itself, as grubby(8) would, because `grubby --args=pci=noaer` removes each
other word `pci=...`, and has no undo.
"""

import re
from collections.abc import Collection, Iterator, Mapping

from dirtune.change.actions.edit_line import EditLine
from dirtune.change.lines import lines_of
from dirtune.errors import NotPossible
from dirtune.settings import BootOption
from dirtune.snapshot import Snapshot

Options = tuple[BootOption, ...]

_FOLDERS = ("/boot/loader/entries", "/efi/loader/entries", "/boot/efi/loader/entries")
ENTRIES = tuple(f"{folder}/*.conf" for folder in _FOLDERS)
ENVIRONMENTS = ("/boot/efi/EFI/*/grubenv", "/boot/grub2/grubenv")
KERNEL_CMDLINE = "/etc/kernel/cmdline"
GRUB = "/etc/default/grub"
EXTLINUX = "/etc/update-extlinux.conf"
# GRUB sorts entries by name, and others by their sort-key first, so this one is never the first.
EXTLINUX_PREVIOUS = "/etc/update-extlinux.d/dirtune-previous"
UNIFIED = "/efi/EFI/Linux/*.efi"
READS = (
    *(*ENTRIES, *ENVIRONMENTS, KERNEL_CMDLINE, GRUB),
    *(EXTLINUX, EXTLINUX_PREVIOUS),
)
TITLE = "Linux with the command line before dirtune"
# The keys that the entry with the old command line takes from the running kernel's entry.
_KEPT = [
    ["version"],
    ["linux"],
    ["initrd"],
    ["devicetree"],
    ["grub_users"],
    ["grub_arg"],
    ["grub_class"],
]
PREVIOUS = "A-dirtune-previous.conf"
GRUB_VARIABLES = ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT")
_EXTLINUX_VARIABLES = ("default_kernel_opts",)
_OPTIONS = re.compile(r"(options[ \t]+)(.*)")
_IN_ENVIRONMENT = "$kernelopts"
_KERNELOPTS = "kernelopts="
# Only a GRUB with this setting takes the boot entries of new kernels from its variables.
_BLS_IN_GRUB = "GRUB_ENABLE_BLSCFG=true"


def entries(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of the boot entries with a Linux kernel, by path.

    A folder may be reached by two paths, so of two entries with one name the first counts.
    """
    entry_of: dict[str, tuple[str, str]] = {}
    for folder in _FOLDERS:
        for path, text in sorted(texts.items()):
            place, _, name = path.rpartition("/")
            if place == folder and name != PREVIOUS and value_of(text, "linux"):
                entry_of.setdefault(name, (path, text))
    return dict(entry_of.values())


def value_of(entry: str, key: str) -> str | None:
    """Return the value of *key* in a boot entry; None if the entry lacks the key."""
    rows = (row.split(maxsplit=1) for row in lines_of(entry))
    return next((row[1] for row in rows if len(row) > 1 and row[0] == key), None)


def edits_of_entries(texts: Mapping[str, str], options: Options) -> tuple[EditLine, ...]:
    """Return the edits of every boot entry, and of the files that new entries are made from.

    Raises `NotPossible`, with the file that cannot be edited.
    """
    by_path = entries(texts)
    edits: list[EditLine] = []
    for path, text in by_path.items():
        edits += _entry(path, text, options)
    if any(
        _IN_ENVIRONMENT in (value_of(text, "options") or "").split() for text in by_path.values()
    ):
        edits.append(_environment(texts, options))
    for row in lines_of(texts.get(KERNEL_CMDLINE, "")):
        if row.strip() and not row.lstrip().startswith("#"):
            edits.append(EditLine(KERNEL_CMDLINE, row, edited(row, options)))
    if _BLS_IN_GRUB in texts.get(GRUB, ""):
        edits += _edits_of_variables(GRUB, texts[GRUB], GRUB_VARIABLES, options)
    return tuple(edit for edit in edits if not edit.needless)


def edits_of_extlinux(text: str, options: Options) -> tuple[EditLine, ...]:
    """Return the edits of /etc/update-extlinux.conf; raises `NotPossible`."""
    if "overwrite=1" not in (row.strip() for row in lines_of(text)):
        raise NotPossible(
            f"{EXTLINUX} does not set overwrite=1, so the boot menu is never written"
        )
    edits = _edits_of_variables(EXTLINUX, text, _EXTLINUX_VARIABLES, options)
    return tuple(edit for edit in edits if not edit.needless)


def previous_entry(texts: Mapping[str, str], snapshot: Snapshot) -> tuple[str, str | None]:
    """Return path and text of an entry for the running kernel with its present command line.

    *texts* has one entry or more. The text is None if no entry is the running kernel's, or if an
    entry cannot hold the line.
    """
    release = (snapshot.kernel and snapshot.kernel.osrelease) or None
    words, by_path = _running(snapshot), entries(texts)
    for path, text in by_path.items():
        folder = path.rpartition("/")[0]
        if words and release in _releases(text):
            rows = [row for row in lines_of(text) if row.split(maxsplit=1)[:1] in _KEPT]
            head = ["# Written by dirtune; `dirtune rollback` removes it.", f"title {TITLE}"]
            return f"{folder}/{PREVIOUS}", "\n".join((*head, *rows, f"options {words}", ""))
    return f"{next(iter(by_path)).rpartition('/')[0]}/{PREVIOUS}", None


def _releases(entry: str) -> set[str]:
    """Return the words of *entry* that may be its kernel's release."""
    image = (value_of(entry, "linux") or "").split("/")
    return {value_of(entry, "version") or "", *(word.removeprefix("vmlinuz-") for word in image)}


def extlinux_entry(paths: Collection[str], snapshot: Snapshot) -> str | None:
    """Return an entry for the running kernel with its present command line; None if unknown."""
    release = (snapshot.kernel and snapshot.kernel.osrelease) or ""
    # Alpine names the image after the last word of the release, such as `lts` and `virt`.
    flavour, words = release.rpartition("-")[2], _running(snapshot)
    if not words or f"/boot/vmlinuz-{flavour}" not in paths:
        return None
    initrd = f"initramfs-{flavour}"
    rows = ["LABEL dirtune-previous", f"  MENU LABEL {TITLE}", f"  LINUX vmlinuz-{flavour}"]
    rows += [f"  INITRD {initrd}"] if f"/boot/{initrd}" in paths else []
    return "\n".join((*rows, f"  APPEND {words}", ""))


def _running(snapshot: Snapshot) -> str | None:
    """Return the words of the present command line; None if an entry cannot hold them."""
    loaders = ("BOOT_IMAGE=", "initrd=")  # words that boot loaders add by themselves
    words = " ".join(w for w in snapshot.cmdline or () if not w.startswith(loaders))
    return words if words and words.isprintable() and "$" not in words else None


def _edits_of_variables(
    path: str, text: str, names: tuple[str, ...], options: Options
) -> Iterator[EditLine]:
    """Yield the edits of the shell variables *names*; a new word is added to the first of them."""
    rows = [(row, name) for row in lines_of(text) for name in names if _assigns(row, name)]
    # A later assignment may replace an earlier one, so the last one gets the word.
    adds_to = next((row for name in names for row, of in reversed(rows) if of == name), None)
    if adds_to is None and any(not option.drop for option in options):
        raise NotPossible(f"{path} does not set {names[0]}")
    for row, name in rows:
        yield EditLine(path, row, _assignment(path, row, name, options, adds=row == adds_to))


def edited(words: str, options: Options, *, adds: bool = True) -> str:
    """Return the command line *words* with *options*; other words and blanks stay as they are."""
    for option in options:
        if option.drop:
            words = _without(words, option)
        elif adds and option.add not in words.split():
            words = f"{words.rstrip()} {option.add}" if words.strip() else option.add
    return words


def _without(words: str, option: BootOption) -> str:
    pattern = rf"(?<!\S){re.escape(option.drop)}(?!\S)"
    if option.add:
        return re.sub(pattern, lambda _: option.add, words)
    less = re.sub(rf"{pattern}[ \t]*", "", words)
    return words if less == words else less.rstrip()


def _entry(path: str, text: str, options: Options) -> Iterator[EditLine]:
    rows = [match for row in lines_of(text) if (match := _OPTIONS.fullmatch(row))]
    if not rows:
        raise NotPossible(f"{path} has no line `options`")
    if re.search(r"\+\d+(-\d+)?\.conf$", path):  # no undo would find the renamed file
        raise NotPossible(f"{path} is renamed at each boot, to count the boots")
    for at, match in enumerate(rows):
        adds = at == 0 and all(_IN_ENVIRONMENT not in each[2].split() for each in rows)
        yield EditLine(path, match[0], f"{match[1]}{edited(match[2], options, adds=adds)}")


def _environment(texts: Mapping[str, str], options: Options) -> EditLine:
    # /boot/grub2/grubenv may be a link to the file in the EFI partition, which sorts first.
    for path, text in sorted(texts.items()):
        row = next((r for r in lines_of(text) if r.startswith(_KERNELOPTS)), None)
        if path.endswith("/grubenv") and row is not None:
            words = edited(row.removeprefix(_KERNELOPTS), options)
            return EditLine(path, row, f"{_KERNELOPTS}{words}")
    raise NotPossible(f"{ENVIRONMENTS[-1]} does not set kernelopts, which the boot entries use")


def _assigns(row: str, name: str) -> bool:
    return row.lstrip().startswith(f"{name}=")


def _assignment(path: str, row: str, name: str, options: Options, *, adds: bool) -> str:
    match = re.fullmatch(rf"""(\s*{name}=)("[^"\\]*"|'[^']*'|[^\s"'\\]*)(\s*(?:#.*)?)""", row)
    if match is None:
        raise NotPossible(f"{path} has a line that dirtune cannot edit: {row!r}")
    quote = match[2][:1] if match[2][:1] in {'"', "'"} else ""
    words = match[2][1:-1] if quote else match[2]
    after = edited(words, options, adds=adds)
    if after == words:
        return row
    quote = quote or '"'
    return f"{match[1]}{quote}{after}{quote}{match[3]}"
