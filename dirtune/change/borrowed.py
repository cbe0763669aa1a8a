"""The folder of a dirtune that was sent to this host for one command.

`dirtune/remote/pushing.py` describes the folder. Its holder removes it when the connection ends,
but not while a watchdog that runs from it waits for a confirmation. This watchdog removes it.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dirtune.errors import NotPossible

_NAME = re.compile(r"dirtune-push\.[A-Za-z0-9]+", re.ASCII)


def folder() -> Path | None:
    """Return the folder into which this dirtune was sent; None if dirtune is installed."""
    # The interpreter is FOLDER/cache/dirtune/VERSION/bin/python3.
    parents = Path(sys.executable).parents
    sent = next((parent for parent in parents if _NAME.fullmatch(parent.name)), None)
    return sent if sent and (sent / "boot").is_file() else None


@contextmanager
def held(journal: str) -> Iterator[None]:
    """Keep the folder until the watchdog of *journal* calls `let_go`; on an error, let it go."""
    sent = folder()
    try:
        if sent is not None:
            (sent / f"watch.{journal}").touch()
    except OSError as error:
        raise NotPossible(f"{sent}: {error.strerror}, so nothing was changed.") from error
    try:
        yield
    except BaseException:
        let_go(journal)
        raise


def let_go(journal: str) -> None:
    """Remove the folder after the watchdog of *journal*, unless somebody else uses it."""
    sent = folder()
    if sent is None:
        return
    with suppress(OSError):
        (sent / f"watch.{journal}").unlink(missing_ok=True)
        if not _needed(sent):
            shutil.rmtree(sent)


def _needed(sent: Path) -> bool:
    if (sent / "kept").exists() or any(sent.glob("watch.*")):
        return True
    return any(map(_lives, sent.glob("use.*")))


def _lives(use: Path) -> bool:
    """Return whether the process lives whose id is in the name of *use*, and its start inside."""
    try:
        stat = Path("/proc", use.suffix[1:], "stat").read_text(errors="replace")
        start = use.read_text().strip()
    except OSError:
        return False
    # A process that has just begun has not written its start yet.
    return start in {"", stat.rpartition(")")[2].split()[19]}
