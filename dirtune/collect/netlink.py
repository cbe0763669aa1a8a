"""What only netlink tells: IPVS services in full, and how network cards are set.

Asked on a live host by the dirtune that runs there; a record keeps each answer as JSON in a file
below `/netlink`. No module is loaded by asking: the IPVS family, whose lookup would load ip_vs, is
looked up only where /proc says that ip_vs is there.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, suppress
from socket import AF_INET
from typing import Any

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host, recorded_path

IPVS = "/netlink/ipvs.json"
ETHTOOL = "/netlink/ethtool.json"
ANSWERS = (IPVS, ETHTOOL)
"""What can be asked, by the path that a record keeps the answer by."""

_FORWARD = ("Masq", "Local", "Tunnel", "Route", "Bypass")
_PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP"}
_PERSISTENT = 0x1


def answers(host: Host, wanted: Collection[str] = ANSWERS) -> dict[str, str]:
    """Return the answers of this machine's kernel as JSON, by path; absent where it has none."""
    found: dict[str, Any] = {}
    if ETHTOOL in wanted:
        found[ETHTOOL] = _ethtool(host)
    if IPVS in wanted:
        with suppress(SourceMissing, SourceRefused):
            host.read("/proc/net/ip_vs")
            found[IPVS] = _asked(_ipvs)
    return {path: json.dumps(value) for path, value in found.items() if value}


def answer(host: Host, path: str) -> str:
    """Return an answer of the kernel; `SourceMissing` says what it takes."""
    try:
        return host.read(path)
    except (SourceMissing, SourceRefused) as error:
        why = "netlink was not asked: it takes dirtune on that host, and root"
        raise SourceMissing(why) from error


def _asked(ask: Callable[[], object]) -> object:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        return ask()
    except (NetlinkError, OSError):  # not root, or a family this kernel does not have
        return None


def _ethtool(host: Host) -> dict[str, Any]:
    from pyroute2.ethtool import Ethtool

    found = {}
    with closing(Ethtool()) as ethtool:
        for path in host.glob("/sys/class/net/*"):
            name = path.rsplit("/", 1)[1]
            if name not in {"lo", "bonding_masters"}:
                found[recorded_path(name)] = dict(_card(ethtool, name))
    return {name: facts for name, facts in found.items() if facts}


def _card(ethtool: Any, name: str) -> Iterator[tuple[str, object]]:
    """Yield what a card's driver tells; many drivers do not know many of the questions."""
    from pyroute2.ethtool.ioctl import IoctlEthtool

    for what in ("rings", "channels", "coalesce"):
        with suppress(Exception):  # the library has an exception of its own for each refusal
            answer = getattr(ethtool, f"get_{what}")(name)
            told = answer if isinstance(answer, dict) else answer._asdict()  # coalescing's is one
            values = {key: value for key, value in told.items() if value is not None}
            yield what, {key: int(value) for key, value in values.items()}
    with suppress(Exception):
        features = ethtool.get_features(name).features
        yield (
            "features",
            {
                key: {"on": bool(each.enable), "fixed": not each.available}
                for key, each in features.items()
            },
        )
    with suppress(Exception), closing(IoctlEthtool(name)) as counters:
        yield "statistics", {str(key): int(value) for key, value in counters.get_statistics()}


def _ipvs() -> dict[str, Any]:
    import pyroute2

    with pyroute2.IPVS() as socket:
        services = [
            _service(message, [d.get_attr("IPVS_CMD_ATTR_DEST") for d in socket.dest("dump", key)])
            for message in socket.service("dump")
            for key in (pyroute2.IPVSService.from_message(message),)
        ]
    return {"services": services} | _config()


def _service(message: Any, destinations: list[Any]) -> dict[str, Any]:
    found = message.get_attr("IPVS_CMD_ATTR_SERVICE")
    get = {name.removeprefix("IPVS_SVC_ATTR_"): value for name, value in found["attrs"]}
    flags = get["FLAGS"]["flags"]
    mark = get.get("FWMARK")
    return {
        "protocol": "FWM" if mark else _PROTOCOLS.get(get["PROTOCOL"], str(get["PROTOCOL"])),
        "address": None if mark else get["ADDR"],
        "port": None if mark else get["PORT"],
        "fwmark": mark or None,
        "family": 4 if get["AF"] == AF_INET else 6,
        "scheduler": get["SCHED_NAME"],
        "flags": flags,
        "persistent_s": get["TIMEOUT"] if flags & _PERSISTENT else None,
        # The field holds the length of a prefix for IPv6, which the library prints as an address.
        "netmask": str(get.get("NETMASK", "")) if get["AF"] == AF_INET else "",
        "destinations": [_destination(each) for each in destinations],
    } | _stats(get)


def _destination(found: Any) -> dict[str, Any]:
    get = {name.removeprefix("IPVS_DEST_ATTR_"): value for name, value in found["attrs"]}
    return {
        "address": get["ADDR"],
        "port": get["PORT"],
        "forward": _FORWARD[get["FWD_METHOD"] & 7],
        "weight": get["WEIGHT"],
        "upper": get["U_THRESH"],
        "lower": get["L_THRESH"],
        "active": get["ACTIVE_CONNS"],
        "inactive": get["INACT_CONNS"],
        "persistent": get["PERSIST_CONNS"],
        "tunnel_type": get.get("TUN_TYPE", 0),
    } | _stats(get)


def _stats(get: Mapping[str, Any]) -> dict[str, Any]:
    stats = get.get("STATS64") or get.get("STATS")
    values = {
        name.removeprefix("IPVS_STATS_ATTR_"): v for name, v in (stats or {"attrs": ()})["attrs"]
    }
    return {
        "connections": values.get("CONNS"),
        "packets_in": values.get("INPKTS"),
        "packets_out": values.get("OUTPKTS"),
        "bytes_in": values.get("INBYTES"),
        "bytes_out": values.get("OUTBYTES"),
    }


def _config() -> dict[str, Any]:
    """Ask for timeouts and sync daemons, for which pyroute2 has constants but no methods."""
    from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, genlmsg, nla
    from pyroute2.netlink.generic import GenericNetlinkSocket, ipvs

    class Message(genlmsg):  # type: ignore[misc]
        nla_map = (
            ("UNSPEC", "none"),
            ("SERVICE", "hex"),
            ("DEST", "hex"),
            ("DAEMON", "daemon"),
            ("TIMEOUT_TCP", "uint32"),
            ("TIMEOUT_TCP_FIN", "uint32"),
            ("TIMEOUT_UDP", "uint32"),
        )

        class daemon(nla):  # type: ignore[misc]  # noqa: N801  (pyroute2 finds it by this name)
            nla_map = (
                ("UNSPEC", "none"),
                ("STATE", "uint32"),
                ("MCAST_IFN", "asciiz"),
                ("SYNC_ID", "uint32"),
                ("SYNC_MAXLEN", "uint16"),
            )

    with GenericNetlinkSocket() as socket:
        socket.bind(ipvs.GENL_NAME, Message)

        def ask(command: int, flags: int) -> list[Any]:
            message = Message()
            message["cmd"], message["version"] = command, ipvs.GENL_VERSION
            return list(socket.nlm_request(message, socket.prid, NLM_F_REQUEST | flags))

        (config,) = ask(ipvs.IPVS_CMD_GET_CONFIG, 0)
        daemons = [m.get_attr("DAEMON") for m in ask(ipvs.IPVS_CMD_GET_DAEMON, NLM_F_DUMP)]
    return {
        "timeouts_s": {
            "tcp": config.get_attr("TIMEOUT_TCP"),
            "tcp_fin": config.get_attr("TIMEOUT_TCP_FIN"),
            "udp": config.get_attr("TIMEOUT_UDP"),
        },
        "daemons": [
            {
                "state": {1: "master", 2: "backup"}.get(each.get_attr("STATE"), "none"),
                "interface": each.get_attr("MCAST_IFN"),
                "sync_id": each.get_attr("SYNC_ID"),
                "maxlen": each.get_attr("SYNC_MAXLEN"),
            }
            for each in daemons
            if each is not None
        ],
    }
