"""Checks of IPVS services, and what several of them ask of a snapshot."""

from dirtune.collect.ip_vs import Destination, Service
from dirtune.snapshot import Snapshot


def vips(snapshot: Snapshot) -> frozenset[str]:
    """Return the addresses of the services; a firewall mark has none."""
    return frozenset(s.address for s in snapshot.services or () if s.address is not None)


def forwarding(snapshot: Snapshot) -> frozenset[str]:
    """Return the forwarding methods in use (Masq, Route, Tunnel, Local)."""
    return frozenset(d.forward for s in snapshot.services or () for d in s.destinations)


def entries(snapshot: Snapshot) -> int:
    """Return the connections the table holds, templates of persistence not counted."""
    return sum(d.active + d.inactive for s in snapshot.services or () for d in s.destinations)


def destinations(snapshot: Snapshot) -> tuple[tuple[Service, Destination], ...]:
    """Return every destination with its service."""
    return tuple((s, d) for s in snapshot.services or () for d in s.destinations)
