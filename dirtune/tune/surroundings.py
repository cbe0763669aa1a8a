"""Look around a host for what the fixes ask beyond a snapshot."""

import shutil
from collections.abc import Iterator

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host
from dirtune.tune.fixes import Fix, Surroundings


def look_around(host: Host, fixes: tuple[Fix, ...], *, live: bool) -> Surroundings:
    """Read what *fixes* want to know; *live* says that *host* is this machine."""
    texts = {pattern for fix in fixes for pattern in fix.reads}
    paths = {pattern for fix in fixes for pattern in fix.looks}
    commands = {name for fix in fixes for name in fix.commands}
    return Surroundings(
        dict(_texts(host, texts)),
        frozenset(path for pattern in paths for path in host.glob(pattern)),
        frozenset(name for name in commands if _has(host, name, live=live)),
    )


def _texts(host: Host, patterns: set[str]) -> Iterator[tuple[str, str]]:
    for path in sorted(path for pattern in patterns for path in host.glob(pattern)):
        try:
            yield path, host.read(path)
        except (SourceMissing, SourceRefused):
            continue


def _has(host: Host, name: str, *, live: bool) -> bool:
    if live:
        return shutil.which(name) is not None
    # A recorded host has no PATH.
    return any(host.glob(f"{place}/{name}") for place in ("/usr/sbin", "/sbin", "/usr/bin"))
