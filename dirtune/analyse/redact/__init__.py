"""Redact a recorded host: replace names and addresses that identify the site.

An audit of the redacted record finds the same as one of the original. Each source, such as
/proc/interrupts, has a rule. If the kernel writes only numbers and words of its own into a source,
the text is kept. Otherwise words and addresses are replaced (modules `names` and `addresses`), in
the same way in paths, links and texts. A source without a rule is left out of the record.
"""

import re
from collections.abc import Callable, Iterable

from dirtune.analyse.nic_drivers import NIC_DRIVERS
from dirtune.analyse.redact import sources
from dirtune.analyse.redact.addresses import Addresses, networks
from dirtune.analyse.redact.names import Names
from dirtune.analyse.redact.replacements import Replacements
from dirtune.analyse.redact.texts import Texts

__all__ = ["Redactor"]

_INTERFACES = re.compile(
    r"(?:/sys/class/net|/proc/sys/net/ipv[46]/(?:conf|neigh)|/cmd/ethtool/[a-zA-Z])/(?P<name>[^/]+)"
)
_DRIVER = re.compile(r"/sys/bus/pci/drivers/(?P<name>[^/]+)/")
_NO_INTERFACE = ("/device/driver", "/phydev")
_HOSTNAME = "/proc/sys/kernel/hostname"
_CONTAINERS = ("net", "block", "virtual")


class Redactor:
    """A redactor for one record, which always replaces a name by the same other name."""

    def __init__(self, key: bytes, paths: Iterable[str], texts: Iterable[tuple[str, str]]) -> None:
        """Collect the names in all *paths* and *texts* of a record.

        *texts* are pairs (path, text). *key* decides how addresses are replaced, and must not be
        stored.
        """
        paths, texts = tuple(dict.fromkeys(paths)), tuple(texts)
        addresses = Addresses(key, networks(texts))
        named = {match["name"] for path in paths if (match := _INTERFACES.match(path))}
        named |= {name for path, text in texts for name in sources.interfaces(path, text)}
        hosts = [text for path, text in texts if path == _HOSTNAME]
        names = Names(addresses.mac, named, hosts, sources.COMMON)
        drivers = {match["name"] for path in paths if (match := _DRIVER.match(path))}
        drivers |= {name for path, text in texts for name in sources.modules(path, text)}
        files = sorted({path.rsplit("/", 1)[1] for path in paths if sources.is_settings(path)})
        self._files = {name: f"settings{at:03d}.conf" for at, name in enumerate(files, 1)}
        self._names = names
        self._replacements = Replacements(addresses, names, Texts(addresses, names, drivers))

    def path(self, path: str) -> str | None:
        """Return the redacted *path*; None if the record must leave the file out."""
        if sources.rule(path) is None:
            return None
        if sources.is_settings(path):
            folder, _, name = path.rpartition("/")
            return f"{folder}/{self._files.get(name, name)}"
        match = _INTERFACES.match(path)
        if match:
            start, end = match.span("name")
            return f"{path[:start]}{self._names.interface(match['name'])}{path[end:]}"
        if path.startswith("/sys/class/block/"):
            return self._below("/sys/class/block/", path)
        return path

    def link(self, path: str, target: str) -> str:
        """Return the redacted *target* of the symbolic link *path*."""
        *folders, last = target.split("/")
        kept = [self._name(part, folders[at - 1] if at else "") for at, part in enumerate(folders)]
        if path.startswith("/sys/class/net/") and not path.endswith(_NO_INTERFACE):
            return "/".join((*kept, self._names.interface(last)))
        if path.startswith("/sys/class/block/"):
            return "/".join((*kept, self._names.disk(last)))
        return "/".join((*kept, self._name(last, folders[-1] if folders else "")))

    def text(self, path: str, text: str) -> str:
        """Return the redacted *text* of the file *path*."""
        rule = sources.rule(path)
        return rule(self._replacements, text) if rule else ""

    def _below(self, folder: str, path: str) -> str:
        """Return *path*, a path below *folder*, with the names in it replaced.

        These are the names of disks, and of the devices that hold the disks.
        """
        name, *rest = path.removeprefix(folder).split("/")
        if rest[:1] == ["holders"]:
            rest[1:] = map(self._names.disk, rest[1:])
        return "/".join((folder.rstrip("/"), self._names.disk(name), *rest))

    def _name(self, part: str, before: str) -> str:
        """Return the redacted name of a folder in the path of a device.

        *before* is the folder above it. Most of these names are made from numbers, and are kept.
        """
        named: dict[str, Callable[[str], str]] = {
            "net": self._names.interface,
            "block": self._names.disk,
        }
        if before in named:
            return named[before](part)
        common = part in NIC_DRIVERS or sources.DEVICE.fullmatch(part)
        return part if common else self._names.word(part)
