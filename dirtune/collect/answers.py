"""A record keeps each answer of netlink as JSON in a file below `/netlink`.

`collect.netlink` asks the kernel; `ipvs_netlink` and `ethtool` read the answers.
"""

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host

IPVS = "/netlink/ipvs.json"
ETHTOOL = "/netlink/ethtool.json"
ANSWERS = (IPVS, ETHTOOL)
"""Every answer, by the path that a record keeps it by."""


def answer(host: Host, path: str) -> str:
    """Return the text of an answer; `SourceMissing` says what a host needs to give one."""
    try:
        return host.read(path)
    except (SourceMissing, SourceRefused) as error:
        why = "netlink was not asked: it needs dirtune on that host, and root"
        raise SourceMissing(why) from error
