"""The file of os-release(5), which names the distribution."""

from dirtune.collect.files import text_in
from dirtune.host import Host

# In the order of precedence of os-release(5).
_PATHS = ("/etc/os-release", "/usr/lib/os-release")


def read_os_release(host: Host) -> str | None:
    """Return the text of the file; None if the host has none."""
    texts = (text_in(host, path) for path in _PATHS)
    return next((text for text in texts if text is not None), None)
