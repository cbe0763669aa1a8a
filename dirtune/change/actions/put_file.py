"""Create or replace a file."""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dirtune.change.action import Action, Saved
from dirtune.change.boot_files import Row, Unwritable
from dirtune.change.expected import require, text
from dirtune.errors import ApplyError
from dirtune.host import FileContents, Host, WritableHost, literal, readable
from dirtune.settings import as_escapes, in_quotes

if TYPE_CHECKING:
    from dirtune.snapshot import Snapshot

_MODE = 0o644


class PutFile(Action, frozen=True, tag="file"):
    """Create or replace a file; the undo restores the previous contents, byte for byte."""

    path: str
    before: str | None
    """The text of the file when the plan was made; None if the file did not exist."""
    after: str
    mode: int = _MODE

    @property
    def commands(self) -> tuple[str, ...]:
        return tuple(self._commands())

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
        require(self.path, text(host, self.path), self.before)
        missing = None if host.glob(literal(self._folder)) else self._folder
        file = host.contents(self.path)
        if file is not None and not _unreadable(file.data).isdisjoint(self.after.split("\n")):
            raise ApplyError(f"{self.path} contains bytes that are not UTF-8. Edit it by hand.")
        return Saved(file=file, folder=missing)

    def make(self, host: WritableHost) -> None:
        if not host.glob(literal(self._folder)):
            host.make_folder(self._folder)
        host.replace(self.path, self._contents(host))

    def require_made(self, saved: Saved, host: Host) -> None:
        require(self.path, text(host, self.path), self.after)

    def undo(self, saved: Saved, host: WritableHost) -> None:
        if saved.file is None:
            host.remove(self.path)
        else:
            host.replace(self.path, saved.file)
        if host.contents(self.path) != saved.file:
            raise ApplyError(f"{self.path} was restored, but another program changed it again")
        if saved.folder is not None:
            _remove_if_empty(host, saved.folder)

    @property
    def _folder(self) -> str:
        return self.path.rpartition("/")[0]

    def _contents(self, host: WritableHost) -> FileContents:
        """Return the new contents; the file keeps its owner, and no further user gains access."""
        data, before = self.after.encode(), host.contents(self.path)
        if before is None:
            return host.new_contents(data, self.mode)
        # Users who could read the file may also run it if it is a program now.
        allowed = before.mode | (before.mode & 0o444) >> 2
        return FileContents(data, self.mode & allowed, before.uid, before.gid)

    def _commands(self) -> Iterator[str]:
        # Each row is a word, so the commands can be pasted from a text that indents them.
        rows, printer = self.after.removesuffix("\n").split("\n"), "printf '%s\\n'"
        if not all(map(str.isprintable, rows)):
            rows, printer = list(map(as_escapes, rows)), "printf '%b\\n'"
        words = " \\\n".join((printer, *map(in_quotes, rows)))
        yield f"{words if self.after else ':'} > {shlex.quote(self.path)}"
        if self.mode != _MODE:
            yield f"chmod {self.mode:o} {shlex.quote(self.path)}"


def _unreadable(data: bytes) -> set[str]:
    """Return the rows that are not UTF-8, in the escaped form in which a plan has them."""
    rows = ((row, readable(row)) for row in data.split(b"\n"))
    return {shown for row, shown in rows if shown.encode() != row}


def _remove_if_empty(host: WritableHost, folder: str) -> None:
    """Remove a folder that dirtune made, unless another program has put a file into it."""
    here = literal(folder)
    if host.glob(here) and not host.glob(f"{here}/*"):
        host.remove_folder(folder)
