"""Read from the director's IPVS table how the service under test is used. Pure.

The table shows how many connections each real server got, and if anybody besides the plan's
clients uses the service. The functions here parse texts that another module has fetched.

/proc/net/ip_vs has no totals of connections, but `ipvsadm -Ln --stats --exact` prints the total
for each destination. If ipvsadm is not installed, the dirtune on the director reads the same
totals by netlink.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from dirtune.collect import ip_vs
from dirtune.collect.answers import IPVS
from dirtune.collect.ipvs_netlink import IpvsService, parse_ipvs
from dirtune.plan.tables import Plan

# ipvsadm would load the module ip_vs, so the script runs it only if the module is loaded.
STATS_SCRIPT = """\
[ -r /proc/net/ip_vs ] || exit 0
if command -v ipvsadm >/dev/null; then exec ipvsadm -Ln --stats --exact; fi
exec {dirtune} netlink
"""
CLIENT_SCRIPT = """\
ip -o route get {vip} | sed -n 's/.* src \\([^ ]*\\).*/src \\1/p'
cat /proc/net/tcp /proc/net/tcp6
true
"""
"""A script that prints a client's source address towards the service and its TCP sockets."""
WATCH_S = 3
"""Seconds for which dirtune sends nothing and watches for new connections of others."""
LOOK_MAX = 20_000
"""The connection table is read only if it has at most this many entries: about 0.05 s of work."""
LEFTOVERS_S = 130
"""Seconds to wait for a larger table to shrink; an ended connection stays in it for 120 s."""

_NAMED = 3
_ESTABLISHED = "01"
_PROTOCOLS = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP"}
_Service = TypeVar("_Service", ip_vs.Service, IpvsService)


@dataclass(frozen=True, slots=True)
class Use:
    """How the service under test is used at one moment."""

    entries: int
    """Number of entries of the service in the connection table, in any state."""
    connections: int
    """Number of connections to all services of the director since the counters were last
    zeroed."""


def ours(services: Iterable[_Service], plan: Plan) -> _Service | None:
    """Return the service under test from a director's *services*; None if it is missing."""
    place = _place(plan)
    return next((s for s in services if (s.protocol, s.address, s.port) == place), None)


def shares(text: str, plan: Plan) -> dict[str, int]:
    """Return the number of connections to each real server, by its label.

    *text* is the output of `STATS_SCRIPT`. If a real server has several ports, their connections
    are added up. The result is empty if the director has neither ipvsadm nor dirtune, or lacks the
    service.
    """
    parse = _from_netlink if text.startswith("/netlink/") else _from_ipvsadm
    totals: dict[str, int] = {}
    for address, count in parse(text, plan):
        label = plan.server_at(address)
        totals[label] = totals.get(label, 0) + count
    return totals


def use(services: str, counters: str, plan: Plan) -> Use | None:
    """Return how the service under test is used; None if the director lacks the service.

    *services* is the text of /proc/net/ip_vs, and *counters* the text of ip_vs_stats_percpu.
    """
    service = ours(ip_vs.parse_services(services), plan)
    if service is None:
        return None
    entries = sum(end.active + end.inactive for end in service.destinations)
    return Use(entries, ip_vs.parse_ip_vs_stats_percpu(counters).connections)


def foreign(table: str, clients: Mapping[str, str], plan: Plan) -> str | None:
    """Describe the connections to the service that dirtune did not open; None if there are none.

    *table* is the text of /proc/net/ip_vs_conn, and *clients* the output of `CLIENT_SCRIPT` by
    client. An entry from a client of the plan that has no open socket is ignored, because it
    remains from an earlier run: an entry stays for 2 minutes after a connection has ended, and for
    15 minutes after a connection was cut off.
    """
    for label, text in clients.items():
        if held := _held(text, plan):
            return f"{held} held open by {label}"
    own = {src for text in clients.values() for src in re.findall(r"^src (\S+)$", text, re.M)}
    own |= {client.address for client in plan.clients if client.address is not None}
    place = _place(plan)
    others = Counter(
        entry.client
        for entry in ip_vs.parse_connections(table)
        if (entry.protocol, entry.address, entry.port) == place and entry.client not in own
    )
    counts = [f"{count} from {address}" for address, count in others.most_common(_NAMED)]
    more = ["more from other addresses"] if len(others) > _NAMED else []
    return ", ".join((*counts, *more)) or None


def _held(sockets: str, plan: Plan) -> int:
    """Return the number of established sockets to the service under test.

    *sockets* is the text of /proc/net/tcp and tcp6 (format: tcp_ipv4.c, get_tcp4_sock()). The
    addresses there are 32-bit words in the machine's byte order.
    """
    packed = ipaddress.ip_address(plan.service.vip or "").packed
    words = [packed[n : n + 4] for n in range(0, len(packed), 4)]
    orders = (b"".join(words), b"".join(word[::-1] for word in words))
    remotes = {f"{order.hex().upper()}:{plan.service.port:04X}" for order in orders}
    rows = (row.split() for row in sockets.splitlines())
    return sum(row[2] in remotes and row[3] == _ESTABLISHED for row in rows if len(row) > 3)


def _place(plan: Plan) -> tuple[str, str | None, int | None]:
    wanted = plan.service
    return _PROTOCOLS[wanted.protocol], wanted.vip, wanted.port


def _from_ipvsadm(text: str, plan: Plan) -> Iterator[tuple[str, int]]:
    protocol, vip, port = _place(plan)
    host = f"[{vip}]" if ":" in (vip or "") else vip
    within = False
    for row in text.splitlines():
        cells = row.split()
        if cells[:1] == ["->"] and within and len(cells) >= 3 and cells[2].isdigit():
            yield re.sub(r"^\[|\]$", "", cells[1].rpartition(":")[0]), int(cells[2])
        elif cells[:1] != ["->"]:
            within = cells[:2] == [protocol, f"{host}:{port}"]


def _from_netlink(text: str, plan: Plan) -> Iterator[tuple[str, int]]:
    rows = [row.partition(" ")[2] for row in text.splitlines() if row.startswith(f"{IPVS} ")]
    found = ours(parse_ipvs(rows[0]).services if rows else (), plan)
    for each in found.destinations if found else ():
        if each.connections is not None:
            yield each.address, each.connections
