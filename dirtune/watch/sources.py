"""Read the sources of conditions once a second, cheaply: files stay open and are read again.

A file of /proc that is read again from its beginning is made anew by the kernel. If a module is
unloaded or a process ends, reading its file fails; the file is then opened again by its name.
"""

import os
import time
from collections.abc import Collection
from contextlib import suppress

from dirtune.collect import keepalived_daemon
from dirtune.errors import require_files
from dirtune.host import LiveHost
from dirtune.watch.addresses import Addresses
from dirtune.watch.metrics import ADDRESSES, KEEPALIVED
from dirtune.watch.moment import Moment

_CHUNK_BYTES = 1 << 16
_LARGEST_BYTES = 32 << 20
_MOST_PROCESSES = 16
_SEARCH_S = 30.0
"""A search for keepalived's processes reads all of /proc, so two are at least this far apart."""


class Sources:
    """The open files of a watch."""

    def __init__(self, paths: Collection[str]) -> None:
        self._paths = tuple(paths)
        self._files: dict[str, int] = {}
        self._keepalived: tuple[str, ...] = ()
        self._searched_s: float | None = None
        self._addresses = Addresses() if ADDRESSES in self._paths else None

    def drop(self, paths: Collection[str]) -> None:
        """Stop reading *paths*."""
        self._paths = tuple(path for path in self._paths if path not in paths)

    def moment(self) -> Moment:
        """Return the current texts of all sources."""
        at_s = time.monotonic()
        texts = {path: text for path in self._paths if (text := self._text(path)) is not None}
        boot_s = at_s + time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        return Moment(at_s, boot_s, time.time(), texts)

    def close(self) -> None:
        """Close all files."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()
        if self._addresses is not None:
            self._addresses.close()

    def _text(self, path: str) -> bytes | None:
        if path == KEEPALIVED:
            return self._delays()
        if path == ADDRESSES:
            return None if self._addresses is None else str(self._addresses.changes()).encode()
        return self._again(path) or self._anew(path)

    def _again(self, path: str) -> bytes | None:
        """Read the open file of *path*; None if there is none, or if reading fails."""
        if path not in self._files:
            return None
        try:
            return _whole(self._files[path])
        except OSError:
            self._close(path)
            return None

    def _anew(self, path: str) -> bytes | None:
        self._close(path)
        try:
            self._files[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            require_files(error)
            return None
        return self._again(path)

    def _close(self, path: str) -> None:
        if (descriptor := self._files.pop(path, None)) is not None:
            os.close(descriptor)

    def _delays(self) -> bytes | None:
        """Return a row with the id and the schedstat of each process of keepalived."""
        rows = [self._delay(path) for path in self._keepalived]
        if not rows or None in rows:
            self._find_keepalived()
            rows = [self._delay(path) for path in self._keepalived]
        return b"\n".join(filter(None, rows)) or None

    def _delay(self, path: str) -> bytes | None:
        text = self._again(path) or self._anew(path)
        return text and path.split("/")[2].encode() + b" " + text.strip()

    def _find_keepalived(self) -> None:
        now = time.monotonic()
        if self._searched_s is not None and now - self._searched_s < _SEARCH_S:
            return
        self._searched_s = now
        for path in self._keepalived:
            self._close(path)
        paths = []
        for entry in os.scandir("/proc"):
            if entry.name.isdecimal():
                with suppress(OSError), open(f"/proc/{entry.name}/comm", "rb") as file:  # noqa: PTH123
                    if file.read().strip() == b"keepalived" and keepalived_daemon.is_keepalived(
                        LiveHost(), int(entry.name)
                    ):
                        paths.append(f"/proc/{entry.name}/schedstat")
        self._keepalived = tuple(sorted(paths)[:_MOST_PROCESSES])


def _whole(descriptor: int) -> bytes:
    """Return the whole text of an open kernel file, from its beginning."""
    text = os.pread(descriptor, _CHUNK_BYTES, 0)
    if not text:
        return text
    parts, size = [text], len(text)
    while (more := os.pread(descriptor, _CHUNK_BYTES, size)) and size < _LARGEST_BYTES:
        parts.append(more)
        size += len(more)
    return b"".join(parts)
