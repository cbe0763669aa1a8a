"""Replace one line of a file that a person or a boot loader wrote.

The journal holds the line and nothing else of the file, which may contain passwords.
"""

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from dirtune.change.action import Action, Saved
from dirtune.change.boot_files import Row, Unwritable
from dirtune.errors import ApplyError
from dirtune.host import FileContents, Host, WritableHost

if TYPE_CHECKING:
    from dirtune.snapshot import Snapshot

# GRUB's environment block has a fixed size, because GRUB writes to it without a file system; `#`
# fills it up.
_ENVIRONMENT = b"# GRUB Environment Block\n"
_FILL = b"#"
# Characters with a special meaning in sed's command `s`.
_IN_PATTERN, _IN_REPLACEMENT = r".*[]^$/\\", r"&/\\"


class EditLine(Action, frozen=True, tag="edit-line"):
    """Replace the line *before* of the file *path*; the undo replaces it back.

    Other lines may change meanwhile, and the undo keeps them.
    """

    path: str
    before: str
    after: str

    @property
    def commands(self) -> tuple[str, ...]:
        old, new = _escaped(self.before, _IN_PATTERN), _escaped(self.after, _IN_REPLACEMENT)
        return (f"sed -i {shlex.quote(f's/^{old}$/{new}/')} {shlex.quote(self.path)}",)

    @property
    def kept(self) -> tuple[Row, ...] | Unwritable:
        return ()  # a file outlives a boot

    @property
    def targets(self) -> frozenset[str]:
        return frozenset({self.path})

    def touched(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return ()

    def suspects(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return ()

    @property
    def needless(self) -> bool:
        return self.before == self.after

    def save(self, host: WritableHost) -> Saved:
        contents = host.contents(self.path)
        count = contents.data.split(b"\n").count(self.before.encode()) if contents else 0
        if contents is None or count != 1:
            why = f"has {count} lines" if contents else "does not exist, so it has no line"
            raise ApplyError(f"{self.path} {why} {self.before!r}, expected 1. Make a new plan.")
        _replaced(contents, self.before, self.after)  # refuses before anything is changed
        return Saved()

    def make(self, host: WritableHost) -> None:
        contents = host.contents(self.path)
        if contents is not None:
            host.replace(self.path, _replaced(contents, self.before, self.after))

    def require_made(self, saved: Saved, host: Host) -> None:
        if self.after not in host.read(self.path).split("\n"):
            raise ApplyError(f"{self.path} does not have the line {self.after!r}")

    def undo(self, saved: Saved, host: WritableHost) -> None:
        contents = host.contents(self.path)
        if contents is None:  # the kernel of a boot entry was removed
            host.remove(self.path)  # also removes what a kill left behind
            return
        lines = contents.data.split(b"\n")
        if not {self.before.encode(), self.after.encode()} & {*lines}:
            why = f"has neither the line {self.after!r} nor {self.before!r}"
            raise ApplyError(f"{self.path} {why}, because another program changed it. Edit it.")
        host.replace(self.path, _replaced(contents, self.after, self.before))


def _replaced(contents: FileContents, old: str, new: str) -> FileContents:
    """Return *contents* with the line *new* in place of *old*; unchanged without *old*."""
    lines = contents.data.split(b"\n")
    data = b"\n".join(new.encode() if line == old.encode() else line for line in lines)
    if data.startswith(_ENVIRONMENT):
        size = len(contents.data)
        text = data.rstrip(_FILL)
        if len(text) > size:
            raise ApplyError(f"GRUB's environment block of {size} bytes cannot hold {new!r}")
        data = text.ljust(size, _FILL)
    return replace(contents, data=data)


def _escaped(text: str, special: str) -> str:
    return "".join(f"\\{c}" if c in special else c for c in text)
