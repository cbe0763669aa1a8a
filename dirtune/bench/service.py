"""The service under test as the director's own table shows it. Pure; a rig brings the texts.

It tells who got how many connections, and whether anybody but the plan's clients uses it.

/proc/net/ip_vs has no counter of connections. `ipvsadm -Ln --stats --exact` has one for each
destination, and where it is not installed netlink tells the same through the director's dirtune.
"""

import re
from dataclasses import dataclass

from dirtune.bench.tables import Plan
from dirtune.collect import ip_vs
from dirtune.collect.ipvs_netlink import parse_ipvs
from dirtune.collect.netlink import IPVS

# Asking ipvsadm would load the module where it is not.
STATS_SCRIPT = """\
[ -r /proc/net/ip_vs ] || exit 0
if command -v ipvsadm >/dev/null; then exec ipvsadm -Ln --stats --exact; fi
exec {dirtune} netlink
"""
WATCH_S = 3
"""How long connections that are not ours are looked for while nothing is sent."""
LEFTOVERS_S = 130
"""How long entries of connections that have ended are waited for, as `drain` does."""

_PROTOCOLS = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP"}


@dataclass(frozen=True, slots=True)
class Use:
    """How the service is used at one moment."""

    active: int
    inactive: int
    connections: int
    """Over all services of the director, since they were last zeroed."""


def shares(text: str, plan: Plan) -> dict[str, int]:
    """Return the connections of each destination, by label, from what `STATS_SCRIPT` printed.

    Empty where the service is not there or neither tool is.
    """
    parse = _from_netlink if text.startswith("/netlink/") else _from_ipvsadm
    found = parse(text, plan)
    return {plan.server_at(address): count for address, count in found.items()}


def use(services: str, counters: str, plan: Plan) -> Use | None:
    """Return the use of the plan's service from two files of /proc/net; None if it is not there.

    *services* is ip_vs, *counters* is ip_vs_stats_percpu.
    """
    wanted = plan.service
    for service in ip_vs.parse_services(services):
        where = (service.protocol, service.address, service.port)
        if where == (_PROTOCOLS[wanted.protocol], wanted.vip, wanted.port):
            destinations = service.destinations
            return Use(
                sum(d.active for d in destinations),
                sum(d.inactive for d in destinations),
                ip_vs.parse_ip_vs_stats_percpu(counters).connections,
            )
    return None


def foreign(series: list[Use], patience_s: int = LEFTOVERS_S) -> str | None:
    """Return in words what is not ours in a *series* of a second each, None for nothing."""
    new = series[-1].connections - series[0].connections
    if new > 0:
        return f"{new} new connections in {len(series) - 1} s"
    # A connection that is just ending is seen once.
    if active := min(each.active for each in series):
        return f"{active} established connections, or left by a run that was cut off"
    if len(series) > max(patience_s, WATCH_S) and series[-1].inactive:
        return f"{series[-1].inactive} entries of ended connections"
    return None


def _from_ipvsadm(text: str, plan: Plan) -> dict[str, int]:
    wanted, within, found = plan.service, False, {}
    host = f"[{wanted.vip}]" if ":" in (wanted.vip or "") else wanted.vip
    for row in text.splitlines():
        cells = row.split()
        if cells[:1] == ["->"] and within and len(cells) >= 3 and cells[2].isdigit():
            found[re.sub(r"^\[|\]$", "", cells[1].rpartition(":")[0])] = int(cells[2])
        elif cells[:1] != ["->"]:
            within = cells[:2] == [_PROTOCOLS[wanted.protocol], f"{host}:{wanted.port}"]
    return found


def _from_netlink(text: str, plan: Plan) -> dict[str, int]:
    wanted = plan.service
    rows = [row.partition(" ")[2] for row in text.splitlines() if row.startswith(f"{IPVS} ")]
    for service in parse_ipvs(rows[0]).services if rows else ():
        where = (service.protocol, service.address, service.port)
        if where == (_PROTOCOLS[wanted.protocol], wanted.vip, wanted.port):
            return {
                each.address: each.connections
                for each in service.destinations
                if each.connections is not None
            }
    return {}
