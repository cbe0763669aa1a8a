"""Turn a plan into cells: one for each combination of its matrix and for each control. Pure.

A cell holds a plan of its own, and the temporary changes that this plan needs on the nodes.
dirtune measures the cells in order, then in reverse order, and so on, so that drift affects all
cells equally. If a cell needs a boot, the director is booted once for each repeat.
"""

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from dirtune.analyse.run import Cell as Record
from dirtune.bench.outcome import LoadPath
from dirtune.errors import PlanError
from dirtune.lvs import ipvsadm
from dirtune.lvs.diff import diff
from dirtune.packages import shell_lacks
from dirtune.plan import services
from dirtune.plan.configuration import Destination, Service
from dirtune.plan.tables import AXES, Controls, Matrix, Plan

BOOT_AXES = ("kernel", "cpus", "forwarding")
"""Keys of the matrix whose values each need a new lab. Another forwarding method needs other
addresses, routes and real servers."""
NULL_PORT = 18080
_PAGE_BYTES = 628
_REFUSED = {
    "kernel": "dirtune can boot only a lab's director; run the plan once for each kernel",
    "cpus": "dirtune can boot only a lab's director; run the plan once for each number of CPUs",
    "forwarding": "dirtune does not set up real servers; "
    "run the plan once for each forwarding method",
}
_BEHIND_NAT = "controls.direct: with NAT, all replies pass the director; use controls.routed"


@dataclass(frozen=True, slots=True)
class Hold:
    """A temporary change on a node that is undone after the cell has been measured."""

    host: str
    do: str
    """POSIX shell commands that make the change."""
    undo: str
    """POSIX shell commands that undo the change; the node runs them even if dirtune dies."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A combination of the plan's matrix, or a control such as `routed`."""

    name: str
    plan: Plan
    """The plan with the values of this cell, without a matrix."""
    settings: dict[str, str | int] = field(default_factory=dict)
    holds: tuple[Hold, ...] = ()
    path: LoadPath = LoadPath.IPVS
    refused: str | None = None
    """The reason why the cell cannot be measured; None if it can be."""
    boot: dict[str, str | int] = field(default_factory=dict)
    """Settings with which the director must be booted; empty if no boot is needed."""

    @property
    def record(self) -> Record:
        """This cell in the form in which a run stores it."""
        return Record(self.name, dict(self.settings), self.plan.url, self.refused)


@dataclass(frozen=True, slots=True)
class Slot:
    """One required trial of a sweep: a cell, a rate and the number of the repeat."""

    cell: Cell
    rate: float
    repeat: int

    @property
    def id(self) -> str:
        """The id of the first attempt at this trial."""
        return f"{prefix(self.cell)}r{self.rate:g}-{self.repeat}"


def prefix(cell: Cell) -> str:
    """Return the text with which the ids of all trials of *cell* begin."""
    return f"{cell.name}/" if cell.name else ""


def cells(plan: Plan, *, boots: bool = False) -> tuple[Cell, ...]:
    """Return the cells of *plan*: its controls, then the combinations of its matrix.

    A plan without controls and matrix has one cell without a name. *boots* is True if dirtune can
    boot the director, as in a lab.
    """
    return (*_controls(plan), *_combinations(plan, boots=boots))


def slots(plan: Plan, of: Sequence[Cell]) -> tuple[Slot, ...]:
    """Return the required trials of a sweep, in order.

    *of* are the cells that the sweep measures. Every second repeat takes the cells in reverse
    order.
    """
    found: list[Slot] = []
    for repeat in range(1, plan.load.repeats + 1):
        order = of if repeat % 2 else tuple(reversed(of))
        found += (Slot(cell, rate, repeat) for cell in order for rate in plan.load.rates)
    return tuple(found)


def refusals(planned: Sequence[Cell]) -> tuple[str, ...]:
    """Return the reasons why some of the *planned* cells cannot be measured, each reason once."""
    return tuple(dict.fromkeys(cell.refused for cell in planned if cell.refused is not None))


def _combinations(plan: Plan, *, boots: bool) -> tuple[Cell, ...]:
    matrix = plan.matrix or Matrix()
    axes = [(axis, getattr(matrix, axis)) for axis in AXES if getattr(matrix, axis)]
    names = [axis for axis, _ in axes]
    found = itertools.product(*(values for _, values in axes))
    return tuple(
        _combination(plan, dict(zip(names, each, strict=True)), boots=boots) for each in found
    )


def _combination(plan: Plan, settings: dict[str, str | int], *, boots: bool) -> Cell:
    name = ",".join(f"{axis}={value}" for axis, value in settings.items())
    reasons = [
        f"matrix.{axis}: {_REFUSED[axis]}"
        for axis, value in settings.items()
        if axis in _REFUSED and not (boots and axis in BOOT_AXES) and value != _own(plan, axis)
    ]
    changed = _changed(plan, settings)
    booted = _forwarded(plan.service, settings)
    moves = "" if reasons else ipvs_moves(plan, booted, changed.service)
    back = ipvs_moves(plan, changed.service, booted) if moves else ""
    holds = (Hold(plan.director.host, moves, back),) if moves else ()
    boot = {axis: settings[axis] for axis in BOOT_AXES if boots and axis in settings}
    return Cell(name, changed, settings, holds, refused="; ".join(reasons) or None, boot=boot)


def _own(plan: Plan, axis: str) -> str | int | None:
    """Return the value of *axis* that the plan sets outside its matrix.

    The result is None if the plan sets no value or several values.
    """
    if axis == "forwarding":
        found = {destination.forwarding for destination in plan.service.destinations}
        return next(iter(found)) if len(found) == 1 else None
    return None


def _forwarded(service: Service, settings: Mapping[str, str | int]) -> Service:
    if "forwarding" not in settings:
        return service
    way = settings["forwarding"]
    destinations = (msgspec.structs.replace(d, forwarding=way) for d in service.destinations)
    return msgspec.structs.replace(service, destinations=tuple(destinations))


def _changed(plan: Plan, settings: Mapping[str, str | int]) -> Plan:
    service, load = _forwarded(plan.service, settings), plan.load
    if settings.get("scheduler", service.scheduler) != service.scheduler:
        # The flags belong to the old scheduler.
        scheduler = str(settings["scheduler"])
        service = msgspec.structs.replace(service, scheduler=scheduler, flags=())
    if "real_servers" in settings:
        kept = service.destinations[: int(settings["real_servers"])]
        service = msgspec.structs.replace(service, destinations=kept)
    if "keepalive" in settings:
        load = msgspec.structs.replace(load, keepalive=int(settings["keepalive"]))
    if "page_bytes" in settings:
        template = (plan.matrix or Matrix()).page_path or ""
        path = template.replace("{page_bytes}", str(settings["page_bytes"]))
        load = msgspec.structs.replace(load, path=path)
    clients = plan.clients[: int(settings.get("clients", len(plan.clients)))]
    return msgspec.structs.replace(_with_service(plan, service), load=load, clients=clients)


def _with_service(plan: Plan, service: Service) -> Plan:
    every = list(plan.services)
    every[plan.load.service] = service
    return msgspec.structs.replace(plan, services=tuple(every))


def ipvs_moves(plan: Plan, before: Service, after: Service) -> str:
    """Return the ipvsadm commands, one per line, that change the service *before* to *after*.

    The text is empty if the services are equal. Each command repeats all options of the plan,
    because `ipvsadm -E` resets an option that is left out. Additions come before removals, so that
    the service always has a real server.
    """
    if before == after:
        return ""
    have, want = (services.table(_with_service(plan, each)) for each in (before, after))
    return "\n".join(ipvsadm.command(step) for step in diff(have, want))


def address_of(plan: Plan, destination: Destination) -> str:
    """Return the IP address of *destination*.

    Raises `PlanError` if its real server has no address.
    """
    if destination.address is not None:
        return destination.address
    node = next(peer for peer in plan.real_servers if peer.label == destination.node)
    if node.address is None:
        raise PlanError(f"real_servers: {node.label} needs an address")
    return node.address


def _controls(plan: Plan) -> tuple[Cell, ...]:
    wanted = plan.controls or Controls()
    makers = {"null_server": _null_server, "direct": _direct, "routed": _routed}
    return tuple(maker(plan) for name, maker in makers.items() if getattr(wanted, name))


def _direct(plan: Plan) -> Cell:
    first = plan.service.destinations[0]
    port = first.port or plan.service.port
    refused = _BEHIND_NAT if first.forwarding == "nat" else None
    aimed = _aimed(plan, address_of(plan, first), port)
    return Cell("direct", aimed, path=LoadPath.PAST, refused=refused)


def _routed(plan: Plan) -> Cell:
    """Return the control in which the director only routes the load, without IPVS.

    The clients send the load to the address of the first real server, by way of the director. The
    director forwards on one NIC, and must not send ICMP redirects, because the clients would then
    bypass the director. The real server answers the clients directly, as with direct routing.
    """
    direct = _direct(plan)
    server, router = direct.plan.service.vip or "", (plan.controls or Controls()).router or ""
    refused = "controls.routed: the control works only over IPv4" if ":" in server else None
    forwards = Hold(plan.director.host, _FORWARD.format(server=shlex.quote(server)), _FORWARDED)
    add, gone = (shlex.join(("ip", "route", v, server, "via", router)) for v in ("add", "del"))
    by_way = [Hold(client.host, add, gone) for client in plan.clients]
    holds = (forwards, *by_way)
    return Cell("routed", direct.plan, holds=holds, path=LoadPath.ROUTED, refused=refused)


# net.ipv4.ip_forward would also reset other settings; the setting of a single NIC does not.
_FORWARD = """\
dev=$(ip -o route get {server} | sed 's/.* dev \\([^ ]*\\).*/\\1/')
old=
for setting in all/send_redirects=0 "$dev/send_redirects=0" "$dev/forwarding=1"; do
  name=net/ipv4/conf/${{setting%=*}}
  old="$old $name=$(sysctl -n "$name")"
  sysctl -qw "$name=${{setting#*=}}"
done"""
_FORWARDED = '[ -z "$old" ] || { set -f; sysctl -qw $old; }'


def _null_server(plan: Plan) -> Cell:
    """Return the control in which each client sends its load to a server on itself.

    This server answers with a page of the usual size.
    """
    start = _NGINX.format(lacks=shell_lacks("nginx"), port=NULL_PORT, page="x" * _PAGE_BYTES)
    holds = tuple(
        Hold(c.host, start, 'kill "$null" 2>/dev/null; rm -rf "$dir"') for c in plan.clients
    )
    return Cell(
        "null_server", _aimed(plan, "127.0.0.1", NULL_PORT), holds=holds, path=LoadPath.PAST
    )


_NGINX = """\
command -v nginx >/dev/null || {{ {lacks}; exit 4; }}
dir=$(mktemp -d)
cat >"$dir/conf" <<CONF
daemon off; pid $dir/pid; error_log $dir/log; worker_processes 1;
events {{ worker_connections 4096; }}
http {{ access_log off; client_body_temp_path $dir/a; proxy_temp_path $dir/b;
fastcgi_temp_path $dir/c; uwsgi_temp_path $dir/d; scgi_temp_path $dir/e;
server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 "{page}"; }} }} }}
CONF
nginx -c "$dir/conf" -e "$dir/log" >/dev/null 2>&1 &
null=$!
for try in 1 2 3 4 5 6 7 8 9 10; do
  [ -s "$dir/pid" ] && break
  sleep 0.2
done
[ -s "$dir/pid" ] || {{ tail -n 1 "$dir/log"; exit 1; }}"""


def _aimed(plan: Plan, address: str, port: int | None) -> Plan:
    service = msgspec.structs.replace(plan.service, vip=address, port=port, destinations=())
    return _with_service(plan, service)
