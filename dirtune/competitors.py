"""Name the programs on a host that also set its values, and so may undo a fix. Pure."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the watchdog, which needs no snapshot, starts faster without it
    from dirtune.snapshot import Snapshot

# By the names of their processes.
_WRITERS = {
    "irq": ("irqbalance", "tuned", "tuna"),
    "sysctl": ("tuned", "bpftune"),
    "ipvs": (
        "keepalived",
        "kube-proxy",
        "kube-router",
        "kube-vip",
        "ldirectord",
        "pybal",
        "seesaw_ncc",
    ),
    "nic": ("NetworkManager", "systemd-networ", "tuned"),
    "cpu": ("tuned", "tlp", "power-profiles-"),
}


def competitors(snapshot: "Snapshot", what: str) -> tuple[str, ...]:
    """Return the running programs that also set values of the kind *what*, such as irq or nic."""
    names = {process.name for process in snapshot.processes or () if not process.kernel}
    found = tuple(n for n in _WRITERS[what] if any(each.startswith(n) for each in names))
    profile = snapshot.settings_files.tuned if snapshot.settings_files else None
    return tuple(f"tuned ({profile})" if n == "tuned" and profile else n for n in found)
