"""The service under test, as the director's own IPVS table shows it. Pure.

The table shows how many connections each real server got, and whether anybody but the plan's
clients uses the service. A rig fetches the texts.

/proc/net/ip_vs does not count connections. `ipvsadm -Ln --stats --exact` prints a count for each
destination. If ipvsadm is not installed, the director's dirtune reads the same counts by netlink.
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

# ipvsadm would load the module, so it runs only if the module is loaded.
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
"""Prints the source address that a client uses towards the service, and the client's sockets."""
WATCH_S = 3
"""Seconds during which dirtune sends nothing and watches for the connections of others."""
LOOK_MAX = 20_000
"""Largest idle table, in entries, that is read: 322 reads of 10,000 steps, about 0.05 s."""
LEFTOVERS_S = 130
"""Seconds to wait for a larger table to shrink: an ended connection leaves it after 120 s."""

_NAMED = 3
_ESTABLISHED = "01"
_PROTOCOLS = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP"}
_Service = TypeVar("_Service", ip_vs.Service, IpvsService)


@dataclass(frozen=True, slots=True)
class Use:
    """The use of the service at one moment."""

    entries: int
    """Connections of the service in the table, in any state."""
    connections: int
    """Connections of all the director's services since the counters were last zeroed."""


def ours(services: Iterable[_Service], plan: Plan) -> _Service | None:
    """Return the plan's service from a director's *services*; None if it is missing."""
    place = _place(plan)
    return next((s for s in services if (s.protocol, s.address, s.port) == place), None)


def shares(text: str, plan: Plan) -> dict[str, int]:
    """Return the connections of each real server, by label, from the output of `STATS_SCRIPT`.

    The ports of a real server are added up. The result is empty if the director has neither tool,
    or lacks the service.
    """
    parse = _from_netlink if text.startswith("/netlink/") else _from_ipvsadm
    totals: dict[str, int] = {}
    for address, count in parse(text, plan):
        label = plan.server_at(address)
        totals[label] = totals.get(label, 0) + count
    return totals


def use(services: str, counters: str, plan: Plan) -> Use | None:
    """Return the use of the plan's service; None if the service is missing.

    *services* is the text of /proc/net/ip_vs, and *counters* the text of ip_vs_stats_percpu.
    """
    service = ours(ip_vs.parse_services(services), plan)
    if service is None:
        return None
    entries = sum(end.active + end.inactive for end in service.destinations)
    return Use(entries, ip_vs.parse_ip_vs_stats_percpu(counters).connections)


def foreign(table: str, clients: Mapping[str, str], plan: Plan) -> str | None:
    """Describe the connections to the service that dirtune did not open; None if there are none.

    *table* is the text of /proc/net/ip_vs_conn, and *clients* the output of `CLIENT_SCRIPT` on
    each client, by label. Entries for connections that our clients no longer hold remain from an
    earlier run: the director forgets an ended connection after 2 minutes, and one that was cut
    off after 15.
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
    """Count the established sockets to the service in the text of /proc/net/tcp and tcp6.

    Format: tcp_ipv4.c, get_tcp4_sock(). Addresses are 32-bit words in the machine's byte order.
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
