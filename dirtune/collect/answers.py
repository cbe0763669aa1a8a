"""Answers of netlink, which a record keeps as JSON files below `/netlink`.

`collect.netlink` queries the kernel; `ipvs_netlink` and `ethtool` read the answers.
"""

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host

IPVS = "/netlink/ipvs.json"
ETHTOOL = "/netlink/ethtool.json"
ANSWERS = (IPVS, ETHTOOL)
"""Paths of all answers in a record."""


def answer(host: Host, path: str) -> str:
    """Return the text of the answer at *path* in the record.

    Raises `SourceMissing`, which names what the host needs, if the record has no answer.
    """
    try:
        return host.read(path)
    except (SourceMissing, SourceRefused) as error:
        why = "netlink could not be queried, which needs root and dirtune on the audited host"
        raise SourceMissing(why) from error
