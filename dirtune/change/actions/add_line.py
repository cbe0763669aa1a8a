"""Append a line to a file that a person wrote.

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


class AddLine(Action, frozen=True, tag="line"):
    """Append *line* to the file *path*, which must exist; the undo removes the line."""

    path: str
    line: str

    @property
    def commands(self) -> tuple[str, ...]:
        return (f"printf '%s\\n' {shlex.quote(self.line)} >> {shlex.quote(self.path)}",)

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
    def adds(self) -> bool:
        return True

    def save(self, host: WritableHost) -> Saved:
        data = _existing(host, self.path).data
        if self._line in data.splitlines():
            raise ApplyError(f"{self.path} has the line {self.line} by now. Make a new plan.")
        # A last line without its end must not become part of the new one.
        return Saved(text="" if not data or data.endswith(b"\n") else "\n")

    def make(self, host: WritableHost) -> None:
        now = _existing(host, self.path)
        end = b"" if not now.data or now.data.endswith(b"\n") else b"\n"
        data = b"".join((now.data, end, self._line, b"\n"))
        host.replace(self.path, replace(now, data=data))

    def require_made(self, saved: Saved, host: Host) -> None:
        if self.line not in host.read(self.path).split("\n"):
            raise ApplyError(f"{self.path} does not have the line {self.line}")

    def undo(self, saved: Saved, host: WritableHost) -> None:
        now = host.contents(self.path)
        if now is None:
            return
        added = b"".join(((saved.text or "").encode(), self._line, b"\n"))
        if now.data.endswith(added):
            data = now.data.removesuffix(added)
        else:  # somebody has written more below it, or it was never added
            rows = now.data.splitlines(keepends=True)
            data = b"".join(row for row in rows if row.rstrip(b"\r\n") != self._line)
        host.replace(self.path, replace(now, data=data))  # also removes what a kill left behind

    @property
    def _line(self) -> bytes:
        return self.line.encode()


def _existing(host: WritableHost, path: str) -> FileContents:
    contents = host.contents(path)
    if contents is None:
        raise ApplyError(f"{path} does not exist by now. Make a new plan.")
    return contents
