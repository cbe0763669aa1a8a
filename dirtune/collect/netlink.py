"""What only netlink tells: IPVS services in full, and how network cards are set.

Asked on a live host by the dirtune that runs there; a record keeps each answer as JSON in a file
below `/netlink`. No module is loaded by asking: the IPVS family, whose lookup would load ip_vs, is
looked up only where /proc says that ip_vs is there.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from socket import AF_INET, AF_INET6, inet_ntop, ntohs
from typing import Any

from dirtune.errors import DirtuneError, SourceMissing, SourceRefused, require_files
from dirtune.formats import parsing
from dirtune.host import Host, recorded_path
from dirtune.netlink import ethtool, genl, ip_vs
from dirtune.netlink.attributes import number, text

IPVS = "/netlink/ipvs.json"
ETHTOOL = "/netlink/ethtool.json"
ANSWERS = (IPVS, ETHTOOL)
"""What can be asked, by the path that a record keeps the answer by."""

_FORWARD = {0: "Masq", 1: "Local", 2: "Tunnel", 3: "Route", 4: "Bypass"}
_PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP"}
_STATES = {ip_vs.IP_VS_STATE_MASTER: "master", ip_vs.IP_VS_STATE_BACKUP: "backup"}


def answers(host: Host, wanted: Collection[str] = ANSWERS) -> dict[str, str]:
    """Return the answers of this machine's kernel as JSON, by path; absent where it has none."""
    found: dict[str, Any] = {}
    if ETHTOOL in wanted:
        found[ETHTOOL] = _ethtool(host)
    if IPVS in wanted:
        with suppress(SourceMissing, SourceRefused):
            host.read(ip_vs.LOADED)
            found[IPVS] = _ipvs()
    return {path: json.dumps(value) for path, value in found.items() if value}


def answer(host: Host, path: str) -> str:
    """Return an answer of the kernel; `SourceMissing` says what it takes."""
    try:
        return host.read(path)
    except (SourceMissing, SourceRefused) as error:
        why = "netlink was not asked: it takes dirtune on that host, and root"
        raise SourceMissing(why) from error


def _ethtool(host: Host) -> dict[str, Any]:
    found = {}
    with ethtool.opened() as cards:
        for path in host.glob("/sys/class/net/*"):
            name = path.rsplit("/", 1)[1]
            if name not in {"lo", "bonding_masters"}:
                found[recorded_path(name)] = dict(_card(cards, name))
    return {name: facts for name, facts in found.items() if facts}


def _card(cards: ethtool.Cards, name: str) -> Iterator[tuple[str, object]]:
    """Yield what a card's driver tells; many drivers do not know many of the questions."""
    for what in ("rings", "channels", "coalesce", "features", "statistics"):
        with suppress(DirtuneError, OSError):
            yield what, getattr(cards, what)(name)


def _ipvs() -> dict[str, Any] | None:
    try:
        with genl.Socket(ip_vs.IPVS_GENL_NAME, ip_vs.IPVS_GENL_VERSION) as socket:
            return _all(ip_vs.Reader(socket))
    except (DirtuneError, OSError) as error:  # not root, or a family this kernel does not have
        require_files(error)
        return None


@parsing("netlink")
def _all(reader: ip_vs.Reader) -> dict[str, Any]:
    config = reader.config()
    timeouts = {
        "tcp": config.timeout_tcp,
        "tcp_fin": config.timeout_tcp_fin,
        "udp": config.timeout_udp,
    }
    return {
        "services": [_service(reader, each, behind) for each, behind in reader.services()],
        "timeouts_s": {name: value for name, value in timeouts.items() if value is not None},
        "daemons": [_daemon(each) for each in reader.daemons()],
    }


def _service(
    reader: ip_vs.Reader, found: ip_vs.ServiceAttributes, behind: Sequence[ip_vs.DestAttributes]
) -> dict[str, Any]:
    mark = found.fwmark
    flags = number(found.flags[:4])
    return {
        "protocol": "FWM" if mark else _PROTOCOLS.get(found.protocol, str(found.protocol)),
        "address": None if mark else _address(found.af, found.addr),
        "port": None if mark else ntohs(found.port),
        "fwmark": mark or None,
        "family": 4 if found.af == AF_INET else 6,
        "scheduler": text(found.sched_name) or "none",
        "flags": flags,
        "persistent_s": found.timeout if flags & ip_vs.IP_VS_SVC_F_PERSISTENT else None,
        "netmask": _netmask(found),
        "destinations": [_destination(reader, each) for each in behind],
    } | _stats(reader.stats(found))


def _destination(reader: ip_vs.Reader, found: ip_vs.DestAttributes) -> dict[str, Any]:
    method = found.fwd_method & ip_vs.IP_VS_CONN_F_FWD_MASK
    return {
        "address": _address(found.addr_family, found.addr),
        "port": ntohs(found.port),
        "forward": _FORWARD.get(method, str(method)),
        "weight": found.weight,
        "upper": found.u_thresh,
        "lower": found.l_thresh,
        "active": found.active_conns,
        "inactive": found.inact_conns,
        "persistent": found.persist_conns,
        "tunnel_type": found.tun_type,
    } | _stats(reader.stats(found))


def _stats(found: ip_vs.StatsAttributes) -> dict[str, Any]:
    return {
        "connections": found.conns,
        "packets_in": found.inpkts,
        "packets_out": found.outpkts,
        "bytes_in": found.inbytes,
        "bytes_out": found.outbytes,
    }


def _daemon(found: ip_vs.DaemonAttributes) -> dict[str, Any]:
    return {
        "state": _STATES.get(found.state, "none"),
        "interface": text(found.mcast_ifn) or None,
        "sync_id": found.sync_id,
        "maxlen": found.sync_maxlen,
    }


def _address(af: int, addr: bytes) -> str:
    # The kernel's union has room for IPv6 whatever is in it.
    return inet_ntop(AF_INET, addr[:4]) if af == AF_INET else inet_ntop(AF_INET6, addr)


def _netmask(found: ip_vs.ServiceAttributes) -> str:
    """Return the mask of persistence; for IPv6, where the field is a prefix's length, nothing."""
    return inet_ntop(AF_INET, found.netmask) if found.af == AF_INET and found.netmask else ""
