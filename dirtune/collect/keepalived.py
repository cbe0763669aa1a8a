"""keepalived's configuration, without its secrets.

A record never holds the file itself, only what `dirtune.keepalived` has read on the host. A
recorded tree may hold the file; its secrets are then dropped in memory.
"""

import msgspec

from dirtune.collect import keepalived_daemon
from dirtune.collect.answers import KEEPALIVED, answer
from dirtune.collect.files import text_in
from dirtune.errors import NotPossible, ParseError, SourceMissing
from dirtune.formats import from_json
from dirtune.host import Host
from dirtune.keepalived import reading
from dirtune.keepalived.model import Conf, Globals

SOURCES = (KEEPALIVED,)
PATH = "/etc/keepalived/keepalived.conf"
"""The file that keepalived reads unless its option -f names another one."""
_HOST_NAME = "/proc/sys/kernel/hostname"


class Recorded(msgspec.Struct, frozen=True):
    """The configuration as a record keeps it."""

    conf: Conf | None = None
    error: str = ""
    """The reason why the host could not read its configuration."""


NONE = Conf(Globals(), (), (), (), (), (), ())
"""What a record says of a host that has no configuration."""


def read_keepalived(host: Host) -> Conf:
    """Read the configuration. Raises `SourceMissing` if the host or the record has none."""
    try:
        text = answer(host, KEEPALIVED)
    except SourceMissing:
        return configuration(host)
    return parse_keepalived(text)


def configuration(host: Host) -> Conf:
    """Read the configuration of the keepalived that runs on *host*, else the default one."""
    path, config_id = place(host)
    try:
        return reading.read(host, path, config_id)
    except SourceMissing as error:
        raise SourceMissing(
            f"{path} does not exist, or the record lacks it: only a dirtune on the audited host "
            "reads it, because it has passwords"
        ) from error


def place(host: Host) -> tuple[str, str | None]:
    """Return the file that keepalived reads, and the name that its lines with @ are for."""
    try:
        daemon = keepalived_daemon.find(host)
    except NotPossible:
        return PATH, host_name(host)
    return daemon.conf or PATH, daemon.config_id or host_name(host)


def host_name(host: Host) -> str | None:
    """Return the name of *host* without its domain; None if it is unknown."""
    name = text_in(host, _HOST_NAME) or ""
    return name.partition(".")[0] or None


def parse_keepalived(text: str) -> Conf:
    """Parse the JSON in which a record keeps the configuration."""
    try:
        recorded = from_json(text, Recorded)
    except msgspec.MsgspecError as error:
        raise ParseError("the record of keepalived.conf", str(error)) from error
    if recorded.conf is None:
        raise ParseError(PATH, recorded.error or "the record is empty")
    return recorded.conf
