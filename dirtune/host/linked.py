"""A tree of files and symbolic links in memory, and a host to which translated texts are added."""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host.live import Host
from dirtune.host.paths import followed, is_pattern
from dirtune.host.recorded import RecordedHost


@dataclass(frozen=True)
class LinkedHost(RecordedHost):
    """An unpacked tree in memory: files have their real paths, and links to folders are followed.

    No link leads out of the tree.
    """

    def read(self, path: str) -> str:
        """Return the text of *path*, after following every link in it."""
        real = followed(path, self.links.get)
        if real in self.refused or real in self.files:
            return super().read(real)
        raise SourceMissing(f"{path} is not in the record")

    def glob(self, pattern: str) -> tuple[str, ...]:
        """Return the paths that match *pattern*. Links to folders on the way are followed."""
        paths = [""]
        for part in pattern.split("/")[1:]:
            paths = [
                f"{folder}/{name}" for folder in paths for name in self._matching(folder, part)
            ]
        return tuple(sorted(paths))

    def link(self, path: str) -> str:
        """Return the target of the link *path*, after following links in its folder."""
        folder, _, name = path.rpartition("/")
        try:
            real = followed(folder, self.links.get).rstrip("/")
        except SourceRefused as error:
            raise SourceMissing(str(error)) from error
        return super().link(f"{real}/{name}")

    def _matching(self, folder: str, part: str) -> Iterable[str]:
        try:
            real = followed(folder, self.links.get) if folder else "/"
        except SourceRefused:  # a loop, or a link that leads out of the tree
            return ()
        names = self._tree
        for step in real.strip("/").split("/") if real != "/" else ():
            if step not in names:
                return ()
            names = names[step]
        if not is_pattern(part):
            return (part,) if part in names else ()
        return fnmatch.filter(names, part)


@dataclass(frozen=True)
class AddedHost:
    """A host whose record lacks sources, and a second record that has them."""

    base: Host
    added: RecordedHost

    def read(self, path: str) -> str:
        """Return the text of *path*; the first record's text if both have one."""
        try:
            return self.base.read(path)
        except SourceMissing:
            return self.added.read(path)

    def glob(self, pattern: str) -> tuple[str, ...]:
        """Return the paths in both records that match *pattern*."""
        return tuple(sorted({*self.base.glob(pattern), *self.added.glob(pattern)}))

    def link(self, path: str) -> str:
        """Return the target of the link *path*; the first record's if both have the link."""
        try:
            return self.base.link(path)
        except SourceMissing:
            return self.added.link(path)

    def mode(self, path: str) -> int | None:
        """Return the permission bits of *path*; None if they were not recorded."""
        return self.base.mode(path)

    def monotonic(self) -> float | None:
        """Return the host's monotonic clock in seconds; None if it was not recorded."""
        return self.base.monotonic()
