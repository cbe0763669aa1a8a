"""Read the build ids of the running kernel and of its modules.

Source: the ELF notes in /sys/kernel/notes (kernel/ksysfs.c) and in
/sys/module/NAME/notes/.note.gnu.build-id (kernel/module/sysfs.c). A build id names exactly one
build of a program, so a stack that is kept can be matched later with the source and the debugging
symbols of the functions in it.
"""

import re
import struct
from collections.abc import Iterable
from pathlib import Path

from dirtune.errors import ParseError
from dirtune.formats import parsing

KERNEL = "kernel"
"""The key of the kernel itself, beside the names of its modules."""
_KERNEL_NOTES = Path("/sys/kernel/notes")
_MODULES = Path("/sys/module")
_LARGEST_BYTES = 1 << 16
_NOTE = struct.Struct("=III")  # Elf64_Nhdr: the sizes of name and description, and the type
_NT_GNU_BUILD_ID = 3
_MODULE_NAME = re.compile(r"[A-Za-z0-9_-]+")


def build_ids(modules: Iterable[str]) -> dict[str, str]:
    """Return the build ids of the kernel and of *modules*, in hexadecimal, by name.

    A module without a build id is left out, as are functions of BPF programs (module `bpf`).
    """
    paths = {KERNEL: _KERNEL_NOTES} | {
        name: _MODULES / name / "notes" / ".note.gnu.build-id"
        for name in sorted(set(modules))
        if _MODULE_NAME.fullmatch(name)
    }
    ids = {name: _read(path) for name, path in paths.items()}
    return {name: number for name, number in ids.items() if number is not None}


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as notes:
            return parse_build_id(notes.read(_LARGEST_BYTES))
    except (OSError, ParseError):
        return None


@parsing("ELF notes")
def parse_build_id(notes: bytes) -> str | None:
    """Return the build id among ELF *notes* in hexadecimal; None if there is none."""
    at = 0
    while at + _NOTE.size <= len(notes):
        name_bytes, bytes_, kind = _NOTE.unpack_from(notes, at)
        name_at = at + _NOTE.size
        begin = name_at + (name_bytes + 3 & ~3)
        if kind == _NT_GNU_BUILD_ID and notes[name_at : name_at + name_bytes] == b"GNU\0":
            return notes[begin : begin + bytes_].hex() or None
        at = begin + (bytes_ + 3 & ~3)
    return None
