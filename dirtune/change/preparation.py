"""Plan the settings that real servers, and directors with NAT, need for forwarding. Pure.

Direct routing needs the virtual addresses on loopback, and no ARP replies for these addresses. A
tunnel needs a tunnel interface that is up and has the virtual addresses, a loose rp_filter on that
interface, and TCP segments that fit into the tunnel. NAT needs a director that forwards the
replies and sends no ICMP redirects, and replies that are routed to the director. Settings that are
already correct are not changed. The settings of ARP and rp_filter come before the addresses.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import pairwise
from typing import NamedTuple

import msgspec

from dirtune.change.action import Action
from dirtune.change.actions.add_address import AddAddress
from dirtune.change.actions.run import Run
from dirtune.change.actions.set_default_route import SetDefaultRoute
from dirtune.change.actions.set_value import SetValue
from dirtune.change.actions.switch_on import SwitchOn
from dirtune.change.plan import Change, Plan, Refusal
from dirtune.change.table import Changes
from dirtune.checks.host_roles import is_quiet
from dirtune.checks.realserver import is_up, on_links, tunnels
from dirtune.collect.addresses import InterfaceAddress
from dirtune.collect.routes import route_to
from dirtune.collect.sysctls import dotted
from dirtune.lvs.diff import Step
from dirtune.lvs.documents import DirectorPlanDocument, NeededSetting, plan_document
from dirtune.lvs.model import Forwarding, Table, Tunnel
from dirtune.settings import Risk
from dirtune.snapshot import Snapshot

FIELDS = (
    "addresses",
    "local_networks",
    "interface_addresses",
    "interfaces",
    "routes",
    "sysctls",
    "modules",
)
"""The fields of a snapshot that this module reads."""
_CONF = "/proc/sys/net/ipv4/conf"
_TUNNEL = "tunl0"
_MODULES = ("ipip", "tunnel4", "ip_tunnel")
# Values at which a host neither answers ARP requests for a loopback address nor announces it.
_QUIET = {"arp_ignore": ({1, 2, 8}, "1"), "arp_announce": ({2}, "2")}
_STRICT, _LOOSE = 1, "2"
# Keywords of `ip route` that dirtune looks for in a row.
_WORDS = frozenset({"via", "dev", "metric", "advmss"})
_MTU, _MSS = 1500, 1440  # the tunnel takes 20 bytes, IPv4 and TCP 40


class Done(NamedTuple):
    """The changes that were made on one real server."""

    journal: str | None
    """The name of the journal on the real server; None if there was nothing to do."""
    titles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Need:
    """The ways in which a director's table forwards packets to one real server."""

    direct: tuple[str, ...] = ()
    """Virtual addresses whose packets arrive by direct routing."""
    tunnelled: tuple[str, ...] = ()
    """Virtual addresses whose packets arrive through an IP-in-IP tunnel."""
    wrapped: tuple[str, ...] = ()
    """The other tunnel types in use (gue, gre), which dirtune does not set up."""
    nat: bool = False
    gateway: str | None = None
    """The director's address to which NAT replies are routed; None if the plan lacks it."""

    @property
    def vips(self) -> tuple[str, ...]:
        """The virtual addresses that the real server must have."""
        return tuple(dict.fromkeys((*self.direct, *self.tunnelled)))


@dataclass(frozen=True, slots=True)
class Seen:
    """The present state of a real server."""

    snapshot: Snapshot
    default_routes: tuple[str, ...] = ()
    """The default routes in the form that `ip.default_routes` returns."""
    ssh_client: str | None = None
    """The client's address of this session's SSH connection; None without SSH."""


def need(table: Table, addresses: frozenset[str], gateway: str | None = None) -> Need:
    """Return how *table* forwards packets to the real server that has *addresses*."""
    uses = [
        (server, service.address)
        for service in table.services
        for server in service.destinations
        if server.address in addresses
    ]

    def vips(*ways: Forwarding | Tunnel) -> tuple[str, ...]:
        vips = (
            vip for server, vip in uses if vip and _way(server.forwarding, server.tunnel) in ways
        )
        return tuple(dict.fromkeys(vips))

    ways = {_way(server.forwarding, server.tunnel) for server, _ in uses}
    wrapped = tuple(sorted(ways & {"gue", "gre"}))
    return Need(vips("dr"), vips("ipip", "gue", "gre"), wrapped, "nat" in ways, gateway)


def real_server(needs: Need, seen: Seen) -> Plan:
    """Return the changes that *needs* requires on a real server, and the refusals."""
    return _plan(
        (
            *_quiet(needs, seen.snapshot),
            *_tunnel_end(needs, seen),
            *_default_route(needs, seen),
            *_addresses(needs, seen.snapshot),
        )
    )


def director(table: Table, snapshot: Snapshot) -> Plan:
    """Return the changes that let a director forward the replies of real servers behind NAT."""
    servers = {
        server.address
        for service in table.services
        for server in service.destinations
        if server.forwarding == "nat"
        if ":" not in server.address and server.address not in (snapshot.addresses or ())
    }
    routes = snapshot.routes or ()
    links = sorted({route.interface for s in servers if (route := route_to(routes, s))})
    return _plan(item for link in links for item in _passing(table, link, snapshot))


def _plan(found: Iterable[Change | Refusal]) -> Plan:
    every = tuple(found)
    return Plan(
        tuple(each for each in every if isinstance(each, Change)),
        tuple(each for each in every if isinstance(each, Refusal)),
    )


def _way(forwarding: Forwarding, tunnel: Tunnel) -> Forwarding | Tunnel:
    return tunnel if forwarding == "tun" else forwarding


def needed(plan: Plan) -> tuple[NeededSetting, ...]:
    """Return the changes of *plan* as a document shows them."""
    return tuple(NeededSetting(c.title, c.reason, c.risk, c.action.commands) for c in plan.changes)


def director_document(
    changes: Changes, steps: Sequence[Step], actual: Table, settings: Plan
) -> DirectorPlanDocument:
    """Return the document of the changes to a director's table *actual* and to its *settings*."""
    titles = tuple(edit.title for edit in changes.edits)
    document = plan_document(steps, actual, changes.modules, titles)
    return DirectorPlanDocument(**msgspec.structs.asdict(document), settings=needed(settings))


def _passing(table: Table, link: str, snapshot: Snapshot) -> Iterator[Change | Refusal]:
    vips = {service.address for service in table.services}
    # If one NIC leads to both clients and real servers, replies leave by the NIC they came in on.
    one_card = any(
        address.interface == link and address.address in vips
        for address in snapshot.interface_addresses or ()
    )
    if one_card:
        for where in ("all", link):
            yield from _set(
                snapshot, f"{where}/send_redirects", {0}, "0", "realserver/nat-redirects"
            )
    # net.ipv4.ip_forward would reset other settings of every NIC.
    yield from _set(snapshot, f"{link}/forwarding", {1}, "1", "ipvs/nat-forward-off")


def _quiet(needs: Need, snapshot: Snapshot) -> Iterator[Change | Refusal]:
    vips = [vip for vip in needs.vips if ":" not in vip]
    links = on_links(snapshot)
    for name, (good, value) in _QUIET.items() if vips else ():
        known = {
            snapshot.sysctls.effective(link, name) if snapshot.sysctls else None for link in links
        }
        if not known <= good:
            yield from _set(snapshot, f"all/{name}", good, value, "realserver/arp-leak")
    for address in snapshot.interface_addresses or ():
        if (
            address.address in vips
            and address.interface in links
            and not is_quiet(address.interface)
        ):
            yield Refusal(
                "realserver/arp-leak",
                "",
                address.address,
                f"is an address of {address.interface}, which answers ARP requests for it; "
                f"run `{_removal(address)}` first",
                "vip-on-link",
            )


def _removal(found: InterfaceAddress) -> str:
    address = f"{found.address}/{found.prefix}"
    return shlex.join(("ip", "addr", "del", address, "dev", found.interface))


def _tunnel_end(needs: Need, seen: Seen) -> Iterator[Change | Refusal]:
    if not needs.tunnelled:
        return
    for kind in needs.wrapped:
        why = "cannot be set up by dirtune; create the tunnel endpoint by hand"
        yield Refusal("realserver/tun-endpoint", "", f"{kind} tunnel", why, kind)
    if needs.wrapped:
        return
    snapshot = seen.snapshot
    ends = {tunnel.name: tunnel for tunnel in tunnels(snapshot)}
    reason = "realserver/tun-endpoint"
    if _TUNNEL not in ends:
        loaded = snapshot.modules.loaded if snapshot.modules else frozenset()
        # Its dependencies are removed with it unless they were loaded before; modules in use stay.
        own = (name for name in _MODULES if name not in loaded)
        gone = ("sh", "-c", 'for m; do rmmod "$m" 2>/dev/null; done; :', "sh", *own)
        yield _change(Run(("modprobe", "ipip"), gone), "load ipip", reason)
    yield from _loosely(snapshot)
    if _TUNNEL not in ends or is_up(ends[_TUNNEL]) is False:
        yield _change(SwitchOn(_TUNNEL), f"{_TUNNEL} off -> on", reason)


def _loosely(snapshot: Snapshot) -> Iterator[Change]:
    """Make the tunnel's rp_filter loose; the kernel uses the greater of its value and `all`."""
    settings = snapshot.sysctls
    if settings is None:
        return
    # The interface of a module that is loaded later starts with the default.
    own, known = f"{_TUNNEL}/rp_filter", settings.conf(_TUNNEL, "rp_filter")
    before = settings.conf("default", "rp_filter") if known is None else known
    everyone = settings.conf("all", "rp_filter")
    if before is not None and max(before, everyone or 0) == _STRICT:
        action = SetValue(f"{_CONF}/{own}", str(before), _LOOSE)
        title = f"net.ipv4.conf.{_TUNNEL}.rp_filter {before} -> {_LOOSE}"
        yield _change(action, title, "realserver/tun-rp-filter")


def _default_route(needs: Need, seen: Seen) -> Iterator[Change | Refusal]:
    """Route NAT replies to the director, and limit the segment size to what a tunnel can carry.

    One change does both, because a second change would no longer find the routes in the plan.
    """
    if needs.nat and needs.gateway is None:
        why = "must lead to the director, whose address the plan lacks; set director.address"
        yield Refusal("realserver/nat-gateway", "", "default route", why, "gateway")
    old = seen.default_routes[0] if seen.default_routes else ""
    led = needs.gateway is not None and needs.nat and not _leads_to(needs.gateway, seen)
    new = f"via {needs.gateway}" if led else old
    if needs.tunnelled and not needs.wrapped and _too_large(new, seen):
        new = f"{new} advmss {_MSS}"
    if new == old:
        return
    reason = "realserver/nat-gateway" if led else "realserver/tun-mss"
    odd = [row for row in seen.default_routes if not _taken_back(row)]
    if odd:
        why = f"includes `{odd[0]}`, which dirtune could not restore; change the route by hand"
        yield Refusal(reason, "", "default route", why)
        return
    action = SetDefaultRoute(seen.default_routes, new)
    if led:
        before = " | ".join(seen.default_routes) or "none"
        yield _change(action, f"default route {before} -> {new}", reason, Risk.DISRUPTIVE)
        yield from _cut_off(seen)
    else:
        yield _change(action, f"default route + advmss {_MSS}", reason)


def _leads_to(gateway: str, seen: Seen) -> bool:
    # The network of the default route.
    now = route_to(seen.snapshot.routes or (), "0.0.0.0")  # noqa: S104
    return now is not None and now.gateway == gateway


def _too_large(row: str, seen: Seen) -> bool:
    """Return whether segments that use the route *row* are too large for a tunnel."""
    if not _told_apart(row):
        return True  # the caller then refuses the row
    words = dict(pairwise(row.split()))
    if not words or "advmss" in words:
        return False
    link = words.get("dev")
    if link is None and "via" in words:
        hop = route_to(seen.snapshot.routes or (), words["via"])
        link = hop.interface if hop else None
    mtu = {interface.name: interface.mtu for interface in seen.snapshot.interfaces or ()}.get(
        link or ""
    )
    return mtu is not None and mtu <= _MTU and mtu - 40 > _MSS


def _taken_back(row: str) -> bool:
    """Return whether ip(8) can restore *row*, which must be an ordinary route with one next hop.

    A route with a TOS value cannot be restored: dirtune finds a replaced route by its metric, and
    routes that differ only in TOS have the same metric.
    """
    words = row.split()
    usual = "dev" in words and not {"default", "nexthop", "nhid", "tos"} & {*words}
    return usual and _told_apart(row)


def _told_apart(row: str) -> bool:
    """Return whether no interface in *row* has the name of a keyword of `ip route`."""
    words = row.split()
    names = {name for before, name in pairwise(words) if before == "dev"}
    return row.isprintable() and "\\" not in row and not names & _WORDS


def _cut_off(seen: Seen) -> Iterator[Refusal]:
    client = seen.ssh_client
    back = route_to(seen.snapshot.routes or (), client) if client and ":" not in client else None
    if back is not None and back.network.prefixlen == 0:
        yield Refusal(
            "realserver/nat-gateway",
            "",
            "default route",
            f"carries your SSH connection, so replies to {client} would go through the "
            f"director; add a separate route to {client} first",
            "ssh",
        )


def _addresses(wanted: Need, snapshot: Snapshot) -> Iterator[Change]:
    for vip in wanted.vips:
        if _held(vip, snapshot):
            continue
        ended = vip in wanted.tunnelled and not wanted.wrapped and ":" not in vip
        device = _TUNNEL if ended else "lo"
        address = f"{vip}/{128 if ':' in vip else 32}"
        yield _change(
            AddAddress(device, address), f"{address} on {device}", "realserver/vip-missing"
        )


def _held(vip: str, snapshot: Snapshot) -> bool:
    if vip in (snapshot.addresses or ()):
        return True
    return any(
        ip_address(vip) in network for network in snapshot.local_networks or () if ":" not in vip
    )


def _set(
    snapshot: Snapshot, name: str, good: Iterable[int], value: str, reason: str
) -> Iterator[Change | Refusal]:
    path = f"net/ipv4/conf/{name}"
    before = snapshot.sysctls.number(path) if snapshot.sysctls else None
    if before is None:
        yield Refusal(reason, "", dotted(path), "could not be read")
    elif before not in good:
        action = SetValue(f"/proc/sys/{path}", str(before), value)
        yield _change(action, f"{dotted(path)} {before} -> {value}", reason)


def _change(action: Action, title: str, reason: str, risk: Risk = Risk.SAFE) -> Change:
    return Change(action, risk, reason, "prepare", title)
