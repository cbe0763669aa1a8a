"""Virtual servers of a keepalived.conf, from the tree of its keywords. Pure."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dirtune.keepalived import values
from dirtune.keepalived.grammar import CHECKERS, Node
from dirtune.keepalived.model import Checker, Endpoint, RealServer, VirtualServer
from dirtune.keepalived.source import Problem

SCHEDULERS = frozenset(
    {"rr", "wrr", "lc", "wlc", "lblc", "sh", "mh", "dh", "fo", "ovf", "lblcr", "sed", "nq", "twos"}
)
"""Schedulers that keepalived 2.2.7 accepts."""
_MOST = 2**32 - 1
_LAST_WEIGHT = 2**31 - 1
_LONGEST_PERSISTENCE_S = 86400 * 31
_FLAGS = frozenset(
    {"flag-1", "flag-2", "flag-3", "sh-port", "sh-fallback", "mh-port", "mh-fallback"}
)
_SHORTEST_S = 1e-6
_LONGEST_DELAY_S = 2**32
Read = Callable[[Sequence[str]], Any]


def _unsigned(least: int = 0, most: int = _MOST) -> Read:
    return lambda words: values.number(words, 0, least, most)


def _delay(least: float) -> Read:
    return lambda words: values.seconds(words, least, _LONGEST_DELAY_S)


def _on(_: Sequence[str]) -> bool:
    return True


def _one_of(known: dict[str, Any], words: Sequence[str]) -> Any:  # noqa: ANN401
    word = values.required(words, 0)
    if word not in known:
        raise ValueError(f"{word!r} is not one of {', '.join(known)}")
    return known[word]


def _scheduler(words: Sequence[str]) -> str:
    name = values.required(words, 0)
    if name not in SCHEDULERS:
        raise ValueError(f"{name!r} is not a scheduler that keepalived knows")
    return name


_TIMES: dict[str, tuple[str, Read]] = {
    "delay_loop": ("delay_loop_s", _delay(_SHORTEST_S)),
    "retry": ("retry", _unsigned(1)),
    "delay_before_retry": ("delay_before_retry_s", _delay(0)),
    "connect_timeout": ("connect_timeout_s", lambda words: values.seconds(words, _SHORTEST_S)),
}
_CHECKER = _TIMES | {
    "retry": ("retry", _unsigned(0)),
    "nb_get_retry": ("retry", _unsigned(0)),
    "misc_path": ("script", lambda words: values.required(words, 0)),
    "misc_timeout": ("script_timeout_s", _delay(0)),
    "misc_dynamic": ("dynamic", _on),
}
_REAL = _TIMES | {
    "lvs_method": ("forwarding", values.forwarding),
    "weight": ("weight", _unsigned(0, _LAST_WEIGHT)),
    "uthreshold": ("upper", _unsigned()),
    "lthreshold": ("lower", _unsigned()),
    "inhibit_on_failure": ("inhibit", values.switch),
    "alpha": ("alpha", values.switch),
}
_SERVER = _TIMES | {
    "ip_family": ("family", lambda words: _one_of({"inet": 4, "inet6": 6}, words)),
    "lvs_sched": ("scheduler", _scheduler),
    "lb_algo": ("scheduler", _scheduler),
    "lvs_method": ("forwarding", values.forwarding),
    "lb_kind": ("forwarding", values.forwarding),
    "protocol": (
        "protocol",
        lambda words: _one_of(
            {"tcp": "tcp", "udp": "udp", "sctp": "sctp"}, [w.lower() for w in words]
        ),
    ),
    "persistence_engine": ("persistence_engine", lambda words: values.required(words, 0)),
    "weight": ("weight", _unsigned(1, _LAST_WEIGHT)),
    "quorum": ("quorum", _unsigned(1)),
    "hysteresis": ("hysteresis", _unsigned()),
    "alpha": ("alpha", _on),
    "omega": ("omega", _on),
    "inhibit_on_failure": ("inhibit", _on),
    "ha_suspend": ("ha_suspend", _on),
    "ops": ("one_packet", _on),
}
_SCRIPTS = frozenset({"notify_up", "notify_down", "quorum_up", "quorum_down"})


def server_head(words: Sequence[str]) -> str:
    """Return why the words after virtual_server are invalid, or an empty text."""
    return _why(values.server, words)


def real_head(words: Sequence[str]) -> str:
    """Return why the words after real_server are invalid, or an empty text."""
    return _why(values.host_port, words)


def virtual_server(node: Node, problems: list[Problem]) -> VirtualServer:
    """Return the virtual server of *node*; problems are added to *problems*."""
    endpoint = values.server(node.words)
    fields: dict[str, Any] = {"family": endpoint.family if endpoint else None}
    reals, flags = [], []
    for line in node.inner:
        with reported(line, problems):
            if line.keyword == "real_server":
                reals.append(_real_server(line, problems))
            elif line.keyword in _FLAGS:
                flags.append(_flag(line.keyword, fields.get("scheduler", "")))
            elif line.keyword == "persistence_timeout":
                fields["persistence_timeout_s"] = _persistence(line.words)
            elif line.keyword == "persistence_granularity":
                fields |= _granularity(line.words, fields)
            elif line.keyword.startswith("sorry_server"):
                _sorry(line, fields)
            elif line.keyword in _SERVER:
                _set(fields, _SERVER, line)
    return VirtualServer(
        name=" ".join(node.words[:2]),
        place=node.place,
        endpoint=endpoint,
        group=node.words[1] if endpoint is None else "",
        flags=tuple(flag for flag in flags if flag),
        real_servers=tuple(reals),
        scripts=_scripts(node),
        **fields,
    )


def group(node: Node, problems: list[Problem]) -> tuple[str, tuple[Endpoint, ...]]:
    """Return the name and the entries of a virtual_server_group."""
    entries = []
    for row in node.inner:
        with reported(row, problems):
            entries.append(values.entry(row.words))
    if not entries:
        problems.append(Problem(node.place, f"The group {node.words[0]} has no entries"))
    return node.words[0], tuple(entries)


def _real_server(node: Node, problems: list[Problem]) -> RealServer:
    host, port = values.host_port(node.words)
    fields: dict[str, Any] = {}
    checkers = []
    for line in node.inner:
        with reported(line, problems):
            if line.keyword in CHECKERS:
                checkers.append(_checker(line, problems))
            elif line.keyword in _REAL:
                _set(fields, _REAL, line)
    return RealServer(
        host, port, node.place, checkers=tuple(checkers), scripts=_scripts(node), **fields
    )


def _checker(node: Node, problems: list[Problem]) -> Checker:
    fields: dict[str, Any] = {}
    for line in node.inner:
        if line.keyword in _CHECKER:
            with reported(line, problems):
                _set(fields, _CHECKER, line)
    return Checker(node.keyword, **fields)


def _set(fields: dict[str, Any], table: dict[str, tuple[str, Read]], node: Node) -> None:
    name, read = table[node.keyword]
    fields[name] = read(node.words)


def _sorry(node: Node, fields: dict[str, Any]) -> None:
    if node.keyword == "sorry_server":
        host, port = values.host_port(node.words)
        fields["sorry"] = RealServer(host, port, node.place, fields.get("forwarding"), 1)
    elif "sorry" not in fields:
        raise ValueError("the virtual server has no sorry_server yet")
    elif node.keyword == "sorry_server_inhibit":
        fields["sorry_inhibit"] = True
    else:
        old = fields["sorry"]
        method = values.forwarding(node.words)
        fields["sorry"] = RealServer(old.address, old.port, old.place, method, 1)


def _persistence(words: Sequence[str]) -> int:
    return values.number(words, 0, 1, _LONGEST_PERSISTENCE_S) if words else 360


def _granularity(words: Sequence[str], fields: dict[str, Any]) -> dict[str, Any]:
    text = values.required(words, 0)
    family = fields["family"] or (4 if "." in text else 6)
    text = str(values.number(words, 0, 1, 128)) if family == 6 else values.old_address(text)
    given = {"persistence_granularity": text, "family": family}
    if fields.get("persistence_timeout_s") is None:
        given["persistence_timeout_s"] = 360
    return given


def _flag(name: str, scheduler: str) -> str:
    """Return the flag *name* if *scheduler* has it; keepalived ignores another one's flag."""
    if name.startswith(("flag-", f"{scheduler}-")):
        return name
    if scheduler not in {"sh", "mh"}:
        raise ValueError(f"only the scheduler {name[:2]} has the flag {name}")
    return ""


def _scripts(node: Node) -> tuple[str, ...]:
    return tuple(e.words[0] for e in node.inner if e.keyword in _SCRIPTS and e.words)


def _why(read: Read, words: Sequence[str]) -> str:
    try:
        read(words)
    except ValueError as error:
        return str(error)
    return ""


@contextmanager
def reported(node: Node, problems: list[Problem]) -> Iterator[None]:
    """Add a `ValueError` of the block to *problems*, at the place of *node*."""
    try:
        yield
    except ValueError as error:
        problems.append(Problem(node.place, f"{node.keyword or node.words[0]}: {error}"))
