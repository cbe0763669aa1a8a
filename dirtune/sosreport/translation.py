"""The sources of a host that the outputs of commands in a report answer.

Each module of this package reads the texts of one tool and yields paths that a record of dirtune
has. Files that the report copied from /proc and /sys come first; a translation only adds what they
lack.
"""

from dirtune.host import AddedHost, Host, RecordedHost, recorded_text
from dirtune.sosreport import (
    addresses,
    cpus,
    ipvs,
    kernel,
    links,
    pci,
    processes,
    routes,
    rules,
)

_FILES = (addresses, cpus, ipvs, kernel, links, pci, processes, routes, rules)
_LINKS = (links, pci)
_MOST = 400_000
"""The largest number of added files; a host with 1,152 CPUs and 5,000 processes needs 20,000."""


def translated(host: Host) -> AddedHost:
    """Return *host*, the tree of a report, with the sources that its outputs answer."""
    files: dict[str, str] = {}
    for module in _FILES:
        for path, text in module.translated(host):
            if len(files) < _MOST:
                files.setdefault(path, recorded_text(text))
    added = {path: target for module in _LINKS for path, target in module.links(host)}
    return AddedHost(host, RecordedHost(files, added))
