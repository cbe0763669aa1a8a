"""VRRP instances, scripts and global_defs of a keepalived.conf, from their trees. Pure."""

from collections.abc import Sequence
from typing import Any

from dirtune.keepalived import values
from dirtune.keepalived.grammar import GLOBAL_SCRIPTS, NOTIFY, Node
from dirtune.keepalived.model import Globals, SyncDaemon, VrrpInstance, VrrpScript
from dirtune.keepalived.servers import Read, reported
from dirtune.keepalived.source import Problem

_LONGEST_TIMEOUT_S = 86400 * 31
_REALTIME = frozenset({"vrrp_rt_priority", "checker_rt_priority", "bfd_rt_priority"})
_PRIORITIES = frozenset({"vrrp_priority", "checker_priority", "bfd_priority"})
_NUMBERS = {
    "id": ("sync_id", 0, 255),
    "maxlen": ("maxlen", 1, 65507),
    "port": ("port", 1, 65535),
    "ttl": ("ttl", 1, 255),
}
_TIMEOUTS = {"tcp": "tcp_s", "tcpfin": "tcp_fin_s", "udp": "udp_s"}


def _state(words: Sequence[str]) -> str:
    if values.required(words, 0) not in {"MASTER", "BACKUP"}:
        raise ValueError(f"{words[0]!r} is neither MASTER nor BACKUP")
    return words[0]


def _text(words: Sequence[str]) -> str:
    return values.required(words, 0)


_SWITCHES = {
    "authentication": ("authenticated", True),
    "nopreempt": ("preempt", False),
    "preempt": ("preempt", True),
}
_OF_INSTANCE: dict[str, tuple[str, Read]] = {
    "interface": ("interface", _text),
    "state": ("state", _state),
    "virtual_router_id": ("router_id", lambda words: values.number(words, 0, 1, 255)),
    "priority": ("priority", lambda words: values.number(words, 0, 1, 255)),
    "version": ("version", lambda words: values.number(words, 0, 2, 3)),
    "advert_int": ("advert_s", lambda words: values.seconds(words, 0.01, 255)),
    "preempt_delay": ("preempt_delay_s", lambda words: values.seconds(words, 0, 1000)),
}
_OF_GLOBAL: dict[str, tuple[str, Read]] = {
    "router_id": ("router_id", _text),
    "script_user": ("script_user", _text),
    "enable_script_security": ("script_security", lambda _: True),
    "net_namespace": ("namespace", _text),
    "net_namespace_ipvs": ("ipvs_namespace", _text),
}


def instance(node: Node, problems: list[Problem]) -> VrrpInstance:
    """Return the vrrp_instance of *node*; problems are added to *problems*."""
    fields: dict[str, Any] = {}
    addresses, tracked = [], []
    for line in node.inner:
        with reported(line, problems):
            if line.keyword in {"virtual_ipaddress", "virtual_ipaddress_excluded"}:
                for row in line.inner:
                    with reported(row, problems):
                        addresses.append(values.address(row.words[0].partition("/")[0])[0])
            elif line.keyword == "track_script":
                tracked += [(row.words[0], _weight(row.words)) for row in line.inner]
            elif line.keyword == "unicast_peer":
                fields["peers"] = tuple(row.words[0] for row in line.inner)
            else:
                fields |= _of_instance(line)
    return VrrpInstance(
        node.words[0],
        node.place,
        addresses=tuple(addresses),
        tracked=tuple(tracked),
        scripts=tuple(e.words[0] for e in node.inner if e.keyword in NOTIFY and e.words),
        **fields,
    )


def _of_instance(node: Node) -> dict[str, Any]:
    if node.keyword in _SWITCHES:
        name, value = _SWITCHES[node.keyword]
        return {name: value}
    if node.keyword in _OF_INSTANCE:
        name, read = _OF_INSTANCE[node.keyword]
        return {name: read(node.words)}
    return {}


def _weight(row: Sequence[str]) -> int | None:
    """Return the weight of a row of track_script, such as `check weight 10 reverse`."""
    if "weight" not in row[1:-1]:
        return None
    text = row[row.index("weight") + 1]
    return int(text) if text.lstrip("+-").isdecimal() and len(text) < 5 else None


def script(node: Node, problems: list[Problem]) -> VrrpScript:
    """Return the vrrp_script of *node*; problems are added to *problems*."""
    fields: dict[str, Any] = {}
    for line in node.inner:
        with reported(line, problems):
            match line.keyword:
                case "script":
                    fields["script"] = values.required(line.words, 0)
                case "user":
                    fields["user"] = values.required(line.words, 0)
                case "interval":
                    fields["interval_s"] = values.seconds(line.words, 1e-6)
                case "timeout":
                    fields["timeout_s"] = values.seconds(line.words, 1e-6)
                case "rise" | "fall" as name:
                    fields[name] = values.number(line.words, 0, 1, 2**31 - 1)
                case "weight":
                    fields["weight"] = _weight(["", "weight", *line.words[:1], ""]) or 0
    return VrrpScript(node.words[0], node.place, **fields)


def global_defs(nodes: Sequence[Node], problems: list[Problem]) -> Globals:
    """Return the global settings. *nodes* are the global keywords, as the file orders them."""
    fields: dict[str, Any] = {"realtime": (), "priorities": (), "scripts": ()}
    for node in nodes:
        with reported(node, problems):
            _add_global(node, fields, problems)
    return Globals(**fields)


def _add_global(node: Node, fields: dict[str, Any], problems: list[Problem]) -> None:
    words = node.words
    if node.keyword in _OF_GLOBAL:
        name, read = _OF_GLOBAL[node.keyword]
        fields[name] = read(words)
    elif node.keyword == "lvs_sync_daemon":
        if "sync_daemon" in fields:
            raise ValueError("a sync daemon was given before")
        fields["sync_daemon"] = _sync_daemon(node, problems)
    elif node.keyword == "lvs_timeouts":
        fields |= _timeouts(node, problems)
    elif node.keyword in _REALTIME:
        fields["realtime"] += ((node.keyword, values.number(words, 0, 0, 99)),)
    elif node.keyword in _PRIORITIES and words and words[0].lstrip("-").isdecimal():
        fields["priorities"] += ((node.keyword, int(words[0][:4])),)
    elif node.keyword in GLOBAL_SCRIPTS and words:
        fields["scripts"] += (words[0],)


def _sync_daemon(node: Node, problems: list[Problem]) -> SyncDaemon:
    interface = values.required(node.words, 0)
    given: dict[str, Any] = {}
    at = 1
    while at < len(node.words):
        word, value = node.words[at], node.words[at + 1 : at + 2]
        with reported(node, problems):
            at += 2
            if word == "inst":
                given.setdefault("instance", values.required(value, 0))
            elif word in _NUMBERS:
                name, least, most = _NUMBERS[word]
                given[name] = values.number(value, 0, least, most)
            elif word == "group":
                given["group"], _ = values.address(values.required(value, 0))
            elif at == 3:
                at -= 1
                given["instance"] = word
            else:
                at -= 1
                raise ValueError(f"{word!r} is not an option of a sync daemon")
    return SyncDaemon(interface, node.place, **given)


def _timeouts(node: Node, problems: list[Problem]) -> dict[str, int]:
    if len(node.words) < 2:
        raise ValueError("one of tcp, tcpfin and udp must follow")
    given = {}
    left = iter(node.words)
    for word in left:
        with reported(node, problems):
            if word not in _TIMEOUTS:
                raise ValueError(f"{word!r} is not tcp, tcpfin or udp")
            value = next(left, None)
            given[_TIMEOUTS[word]] = values.number(
                () if value is None else (value,), 0, 0, _LONGEST_TIMEOUT_S
            )
    return given
