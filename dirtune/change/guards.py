"""Guards that refuse changes which would cut somebody off. Pure.

A disruptive change resets a NIC or removes a device. If the operator's own SSH connection uses
that interface, the operator may be locked out. On a VRRP master, the change makes the backup take
over.
"""

import ipaddress
from collections.abc import Iterator

from dirtune.change.action import Action
from dirtune.change.fixes import Surroundings
from dirtune.change.plan import Change, Plan, Refusal
from dirtune.checks import Role
from dirtune.checks.host_roles import roles
from dirtune.collect.routes import route_to
from dirtune.settings import Risk
from dirtune.snapshot import Snapshot

_VRRP = ("keepalived", "vrrpd", "ucarp")


def guarded(
    plan: Plan, snapshot: Snapshot, around: Surroundings, *, force: frozenset[str]
) -> Plan:
    """Return *plan* without the changes that guards refuse; *force* names refusals to ignore."""
    refusals = tuple(
        refusal
        for change in plan.changes
        for refusal in _against(change, snapshot, around)
        if refusal.name not in force
    )
    refused = {(refusal.reason, refusal.fix, refusal.subject) for refusal in refusals}
    kept = tuple(
        change
        for change in plan.changes
        if (change.reason, change.fix, _subject(change)) not in refused
    )
    return Plan(kept, (*plan.refusals, *refusals))


def _against(change: Change, snapshot: Snapshot, around: Surroundings) -> Iterator[Refusal]:
    if change.risk is not Risk.DISRUPTIVE or change.lasting:
        return
    for name, why in _reasons(change.action, snapshot, around):
        yield Refusal(change.reason, change.fix, _subject(change), why, name)


def _reasons(
    action: Action, snapshot: Snapshot, around: Surroundings
) -> Iterator[tuple[str, str]]:
    own = own_interfaces(snapshot, around.ssh)
    for name in action.touched(snapshot):
        if name in own:
            yield "ssh", f"would cut off your own SSH connection, which {name} carries"
    master = vrrp(snapshot)
    if master:
        yield "vrrp", f"{master}; change the backup first, then fail over"


def own_interfaces(snapshot: Snapshot, ssh: str | None) -> frozenset[str]:
    """Return the interfaces that carry the SSH connection *ssh*; empty if *ssh* is None.

    The result has the interface that leads to the client, the interface with this host's address
    of the connection, and the members of these interfaces if they are bonds or bridges.
    """
    words = (ssh or "").split()
    if len(words) != 4:
        return frozenset()
    client, _, mine, _ = (word.partition("%")[0] for word in words)
    if ipaddress.ip_address(client).is_loopback:
        return frozenset()
    route = route_to(snapshot.routes or (), client)
    carriers = {route.interface} if route else set()
    carriers |= {a.interface for a in snapshot.interface_addresses or () if a.address == mine}
    carriers |= {i.name for i in snapshot.interfaces or () if i.master in carriers}
    # By default, a VLAN is named after the interface that carries it.
    return frozenset(carriers | {name.partition(".")[0] for name in carriers})


def vrrp(snapshot: Snapshot) -> str | None:
    """Return why this host seems to be a VRRP master; None if it does not."""
    if snapshot.processes is None:
        return None
    names = {process.name for process in snapshot.processes if not process.kernel}
    program = next((n for n in _VRRP if any(each.startswith(n) for each in names)), None)
    if program is None or Role.BACKUP in roles(snapshot):
        return None
    if snapshot.services and snapshot.addresses is not None:
        return f"would interrupt a VRRP master: {program} runs, and this host has the VIPs"
    return f"may interrupt a VRRP master: {program} runs, and its VRRP state is unknown"


def _subject(change: Change) -> str:
    return change.action.subject or change.title
