"""A kernel file with one value: seen as the plan saw it, and restored."""

from dirtune.change.action import Saved
from dirtune.change.expected import require
from dirtune.host import Host, WritableHost


def save(path: str, before: str, host: Host) -> Saved:
    """Return what *path* holds; `ApplyError` unless it is *before*."""
    text = host.read(path)
    require(path, text.strip(), before)
    return Saved(text=text)


def restore(path: str, saved: Saved, host: WritableHost) -> None:
    """Give *path* its text of before."""
    text = saved.text or ""
    if host.read(path) != text:
        host.write(path, text)
        require(path, host.read(path).strip(), text.strip())
