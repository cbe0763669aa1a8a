"""Files in memory, for a configuration that includes others."""

from fnmatch import fnmatch

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.keepalived import reading


class Given:
    """Files by path; None stands for a file that may not be read."""

    def __init__(self, files, executable=()):
        self._files, self._executable = files, executable

    def read(self, path):
        if path not in self._files:
            raise SourceMissing(f"{path} does not exist on this host")
        if self._files[path] is None:
            raise SourceRefused(f"{path}: Permission denied")
        return self._files[path]

    def glob(self, pattern):
        return tuple(sorted(path for path in self._files if fnmatch(path, pattern)))

    def mode(self, path):
        return 0o755 if path in self._executable else 0o644


def conf(text, others=None, config_id=None, executable=()):
    """Return the configuration *text* at /etc/k.conf, with the files *others*."""
    files = {"/etc/k.conf": text, **(others or {})}
    return reading.read(Given(files, executable), "/etc/k.conf", config_id)
