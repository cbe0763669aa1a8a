"""The plan that changes a director's IPVS table through keepalived's configuration. Pure.

dirtune writes one file of its own, which the main file includes by one line. It never edits a line
that a person wrote: what would need that is a refusal, with the file and the line.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from dirtune.change.actions.add_line import AddLine
from dirtune.change.actions.drain_ipvs import DrainIpvs
from dirtune.change.actions.edit_ipvs import EditIpvs
from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.reload_keepalived import ReloadKeepalived
from dirtune.change.plan import Change, Plan, Refusal
from dirtune.change.table import leaving
from dirtune.keepalived.model import Conf
from dirtune.lvs import diff, keepalived_conf, keepalived_text
from dirtune.lvs.keepalived_text import Checker
from dirtune.lvs.model import Service, ServiceKey, Table
from dirtune.settings import Risk

LINE = "include dirtune.d/*.conf"
"""The line of the main file that includes dirtune's own file."""
_OWN = "dirtune.d/services.conf"
_HEAD = "# dirtune lvs apply writes this file, and overwrites changes that are made here.\n"
_WAIT_S = 30.0
_REASON = _FIX = "lvs"


@dataclass(frozen=True, slots=True)
class Owner:
    """The keepalived of a director, with its configuration before the change."""

    path: str
    """The main file."""
    config_id: str | None
    unit: str
    own: str | None
    """The text of dirtune's own file; None if there is none."""
    included: bool
    """Whether the main file has the line that includes the own file."""
    others: Conf
    """The configuration without the own file."""
    known: tuple[str, ...]
    """Names of services and real servers that differ from the configuration already."""
    actual: Table
    """The current IPVS table."""

    @property
    def own_path(self) -> str:
        """The path of dirtune's own file."""
        return own_path(self.path)


def own_path(path: str) -> str:
    """Return the path of dirtune's own file beside the main file *path*."""
    return f"{path.rpartition('/')[0]}/{_OWN}"


def wanted(owner: Owner, desired: Table) -> Table:
    """Return *desired* with the services that keepalived has from other files.

    *desired* comes first where both have a service.
    """
    have = {service.key for service in desired.services}
    others = keepalived_conf.derive(owner.others).table.services
    return replace(
        desired, services=(*desired.services, *(s for s in others if s.key not in have))
    )


def text(owner: Owner, table: Table, checker: Checker) -> str:
    """Return the own file for *table*: its services that no other file has as they are there."""
    derived = keepalived_conf.derive(owner.others).table
    others = diff.by_key(derived.services)
    services = tuple(
        service
        for service in table.services
        if service.key not in others or not diff.same(others[service.key], service)
    )
    timeouts = table.timeouts
    head = _HEAD
    if timeouts is not None and timeouts != derived.timeouts:
        seconds = f"tcp {timeouts.tcp} tcpfin {timeouts.tcp_fin} udp {timeouts.udp}"
        head += f"global_defs {{\n    lvs_timeouts {seconds}\n}}\n"
    blocks = keepalived_text.blocks(Table(services), checker)
    return f"{head}\n{blocks}" if blocks else head


def plan(owner: Owner, desired: Table, checker: Checker, drain_s: float | None) -> Plan:
    """Return the changes that make keepalived set up *desired*, besides refusals of `against`."""
    after = wanted(owner, desired)
    texts: list[str | DrainIpvs] = [text(owner, after, checker)]
    gone = leaving(owner.actual, after)
    if drain_s is not None and gone:
        between = diff.quiesced(owner.actual, after)
        texts = [text(owner, between, checker), DrainIpvs(gone, drain_s), *texts]
    if owner.included and texts == [owner.own]:
        return Plan()
    return Plan(tuple(_changes(owner, desired, texts)))


def _changes(owner: Owner, desired: Table, texts: list[str | DrainIpvs]) -> Iterator[Change]:
    now, timeouts = owner.actual.timeouts, desired.timeouts
    if timeouts is not None and timeouts != now:
        # keepalived does not put timeouts back when they are gone from its configuration.
        edit = EditIpvs(Table(timeouts=now), Table(timeouts=timeouts))
        yield _change(edit, edit.title)
    yield _reload(owner, of_undo=True)
    before, included = owner.own, owner.included
    for step in texts:
        if isinstance(step, DrainIpvs):
            yield _change(step, step.title)
            continue
        if step != before:
            yield _change(PutFile(owner.own_path, before, step), f"write {owner.own_path}")
            before = step
        if not included:
            yield _change(AddLine(owner.path, LINE), f"append the line {LINE!r} to {owner.path}")
            included = True
        yield _reload(owner)


def _reload(owner: Owner, *, of_undo: bool = False) -> Change:
    action = ReloadKeepalived(
        owner.path, owner.config_id, owner.unit, _WAIT_S, owner.known, of_undo
    )
    title = "reload keepalived, and wait until the IPVS table is as its configuration has it"
    return _change(action, title)


def _change(
    action: AddLine | DrainIpvs | EditIpvs | PutFile | ReloadKeepalived, title: str
) -> Change:
    return Change(action, Risk.SAFE, _REASON, _FIX, title)


def against(owner: Owner, desired: Table, after: Conf) -> tuple[Refusal, ...]:
    """Return the reasons not to apply *desired*; *after* is the configuration as it would be."""
    return (
        *_already(owner),
        *_include(owner, after),
        *_not_as_planned(owner, desired, after),
        *_elsewhere(owner, desired),
        *_globals(owner, desired),
    )


def _already(owner: Owner) -> Iterator[Refusal]:
    if owner.known:
        why = (
            f"differs from keepalived's configuration already ({len(owner.known)} in all). Reload "
            "keepalived or undo edits by hand; `dirtune lvs plan` prints each difference"
        )
        yield _refusal(owner.known[0], why, "drift")


def _include(owner: Owner, after: Conf) -> Iterator[Refusal]:
    if owner.own_path in owner.others.files and not owner.included:
        why = f"is included by another line than `{LINE}`. Use this line in {owner.path}"
        yield _refusal(owner.own_path, why)
    elif not owner.included:
        why = f"lacks the line that includes dirtune's own file; dirtune would append: {LINE}"
        yield _refusal(owner.path, why, "include")
    elif owner.own_path not in after.files:
        why = f"has the line `{LINE}`, but keepalived would not read {owner.own_path} by it"
        yield _refusal(owner.path, why)


def _not_as_planned(owner: Owner, desired: Table, after: Conf) -> Iterator[Refusal]:
    made = diff.by_key(keepalived_conf.derive(after).table.services)
    places = _places(owner.others)
    for service in desired.services:
        if service.key in made and diff.same(made[service.key], service):
            continue
        if not service.destinations:
            yield _refusal(service.name, "has no real server, so keepalived would ignore it")
        elif service.key in places:
            why = (
                f"is at {places[service.key]}, with other values than the plan's. dirtune does "
                "not edit lines that it did not write: change them there, or move the "
                "virtual_server out of that file, and dirtune writes it into its own"
            )
            yield _refusal(service.name, why)
        else:
            yield _refusal(service.name, "has a value that keepalived's configuration cannot have")


def _elsewhere(owner: Owner, desired: Table) -> Iterator[Refusal]:
    planned = {service.key for service in desired.services}
    for key, place in _places(owner.others).items():
        if key not in planned:
            why = (
                "has a virtual_server that the plan lacks. Add it to the plan, as `dirtune lvs "
                "import` prints it, or remove it from the file"
            )
            yield _refusal(place, why, "keep")


def _globals(owner: Owner, desired: Table) -> Iterator[Refusal]:
    derived = keepalived_conf.derive(owner.others).table
    if desired.timeouts and derived.timeouts and desired.timeouts != derived.timeouts:
        seconds = desired.timeouts
        why = (
            "has other lvs_timeouts than the plan. Write: lvs_timeouts tcp "
            f"{seconds.tcp} tcpfin {seconds.tcp_fin} udp {seconds.udp}"
        )
        yield _refusal(owner.path, why)
    if desired.daemons is not None and desired.daemons != (owner.actual.daemons or ()):
        why = (
            "starts the sync daemons, by lvs_sync_daemon in global_defs. Change them there, and "
            "leave `sync` out of the plan"
        )
        yield _refusal("keepalived", why)


def _places(others: Conf) -> dict[ServiceKey, str]:
    """Return the place of each service that *others* has."""
    places: dict[ServiceKey, str] = {}
    for server in others.virtual_servers:
        services: tuple[Service, ...] = keepalived_conf.derive(
            replace(others, virtual_servers=(server,))
        ).table.services
        for service in services:
            places.setdefault(service.key, str(server.place))
    return places


def _refusal(subject: str, why: str, name: str = "") -> Refusal:
    return Refusal(_REASON, _FIX, subject, why, name)
