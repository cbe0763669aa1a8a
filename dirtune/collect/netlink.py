"""Query this machine's kernel over netlink for all details of IPVS and the settings of NICs.

keepalived's configuration is read here too: it has passwords, which must not leave the host.

Only dirtune on the host itself can query its kernel. The queries load no module: a lookup of the
netlink family IPVS would load ip_vs, so dirtune looks the family up only if /proc shows that ip_vs
is loaded.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any

import msgspec

from dirtune.collect.answers import ANSWERS, ETHTOOL, IPVS, KEEPALIVED, NETDEV
from dirtune.collect.ipvs_netlink import Ipvs, ipvs_of
from dirtune.collect.keepalived import NONE, Recorded, configuration
from dirtune.collect.netdev import queues_of
from dirtune.errors import (
    DirtuneError,
    ParseError,
    SourceMissing,
    SourceRefused,
    require_files,
)
from dirtune.host import Host, recorded_path
from dirtune.netlink import ethtool, genl, ip_vs, netdev


def answers(host: Host, paths: Collection[str] = ANSWERS) -> dict[str, str]:
    """Return the answers of this machine's kernel as JSON, by path.

    Only the answers that *paths* name are queried; an answer that the kernel lacks is left out.
    """
    documents: dict[str, object] = {}
    if ETHTOOL in paths:
        documents[ETHTOOL] = _nics(host)
    if IPVS in paths and _is_loaded(host):
        documents[IPVS] = msgspec.to_builtins(_ipvs())
    if KEEPALIVED in paths:
        documents[KEEPALIVED] = _keepalived(host)
    if NETDEV in paths:
        documents[NETDEV] = _queues()
    return {path: json.dumps(document) for path, document in documents.items() if document}


def _is_loaded(host: Host) -> bool:
    with suppress(SourceMissing, SourceRefused):
        host.read(ip_vs.LOADED)
        return True
    return False


def _keepalived(host: Host) -> object:
    """Return keepalived's configuration without its secrets, or why it cannot be read."""
    try:
        return msgspec.to_builtins(Recorded(configuration(host)))
    except SourceMissing:
        return msgspec.to_builtins(Recorded(NONE))
    except (SourceRefused, ParseError) as error:
        return msgspec.to_builtins(Recorded(error=str(error)))


def _nics(host: Host) -> dict[str, Any]:
    settings = {}
    with ethtool.opened() as drivers:
        for path in host.glob("/sys/class/net/*"):
            name = path.rsplit("/", 1)[1]
            if name not in {"lo", "bonding_masters"}:
                settings[recorded_path(name)] = dict(_nic(drivers, name))
    return {name: facts for name, facts in settings.items() if facts}


def _nic(drivers: ethtool.Cards, name: str) -> Iterator[tuple[str, object]]:
    """Yield the settings that a NIC's driver reports; many drivers support only some."""
    for what in ("rings", "channels", "coalesce", "features", "statistics"):
        with suppress(DirtuneError, OSError):
            yield what, getattr(drivers, what)(name)
    with suppress(DirtuneError, OSError):
        yield "rss", drivers.rss_table(name)


def _queues() -> object:
    with suppress(DirtuneError, OSError), netdev.opened() as queues:  # no netdev before Linux 6.3
        return msgspec.to_builtins(queues_of(queues))
    return None


def _ipvs() -> Ipvs | None:
    try:
        with genl.Socket(ip_vs.IPVS_GENL_NAME, ip_vs.IPVS_GENL_VERSION) as socket:
            return ipvs_of(ip_vs.Reader(socket))
    except (DirtuneError, OSError) as error:  # not root, or the kernel lacks the family
        require_files(error)
        return None
