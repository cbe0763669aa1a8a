"""Answers that only a dirtune on the host gives, which a record keeps as JSON files.

`collect.netlink` queries the kernel and reads keepalived's configuration; `ipvs_netlink`,
`ethtool`, `netdev` and `keepalived` read the answers.
"""

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host

IPVS = "/netlink/ipvs.json"
ETHTOOL = "/netlink/ethtool.json"
KEEPALIVED = "/netlink/keepalived.json"
NETDEV = "/netlink/netdev.json"
ANSWERS = (IPVS, ETHTOOL, KEEPALIVED, NETDEV)
"""Paths of all answers in a record."""


def answer(host: Host, path: str) -> str:
    """Return the text of the netlink answer at *path* in the record.

    Raises `SourceMissing` if the record lacks the answer; the message says what the host needs.
    """
    try:
        return host.read(path)
    except (SourceMissing, SourceRefused) as error:
        why = "netlink could not be queried: a query needs root, and dirtune on the audited host"
        raise SourceMissing(why) from error
