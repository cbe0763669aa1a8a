"""Save and restore a kernel file that holds one value."""

from dirtune.change.action import Saved
from dirtune.change.expected import require
from dirtune.host import Host, WritableHost


def save(path: str, before: str, host: Host) -> Saved:
    """Return the text of *path*; raises `ApplyError` unless the value in *path* is *before*."""
    text = host.read(path)
    require(path, text.strip(), before)
    return Saved(text=text)


def restore(path: str, saved: Saved, host: WritableHost) -> None:
    """Write the saved text back to *path*."""
    text = saved.text or ""
    if host.read(path) != text:
        host.write(path, text)
        require(path, host.read(path).strip(), text.strip())
