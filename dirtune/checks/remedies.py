"""Fixes that many checks offer, and the programs on a host that would undo the fixes."""

import shlex
from collections.abc import Iterable, Mapping

from dirtune.checks import Fix, Risk
from dirtune.checks.together import listed
from dirtune.collect.sysctls import dotted
from dirtune.competitors import competitors
from dirtune.settings import (
    FEATURES,
    SYSCTL_FILE,
    BootOption,
    CardValues,
    KernelFile,
    Setting,
    appended,
    in_quotes,
    plain,
    shell,
)
from dirtune.snapshot import Snapshot


def sysctl(
    snapshot: Snapshot, id: str, title: str, values: Mapping[str, object], *, what: str = "sysctl"
) -> Fix:
    """Return a fix that sets *values* now and at boot; the keys are paths below /proc/sys."""
    rows = {name: f"{dotted(name)}={value}" for name, value in values.items()}
    return Fix(
        id,
        title,
        Risk.SAFE,
        (
            *(f"sysctl -w {in_quotes(row)}" for row in rows.values()),
            *(_kept(name, row) for name, row in rows.items()),
        ),
        competitors(snapshot, what),
        tuple(KernelFile(f"/proc/sys/{name}", str(value)) for name, value in values.items()),
    )


def _kept(name: str, row: str) -> str:
    if all(map(plain, name.split("/"))):
        return appended(SYSCTL_FILE, row)
    return f"# {SYSCTL_FILE} cannot contain this name; make the setting permanent by hand"


def commands(
    snapshot: Snapshot,
    id: str,
    title: str,
    rows: Iterable[str | tuple[str, ...] | Setting],
    *,
    risk: Risk = Risk.SAFE,
    what: str = "nic",
) -> Fix:
    """Return a fix with the settings or shell commands *rows*.

    A command that contains a name from the host must be a tuple of words. *what* is the kind of
    values that it sets: see `competitors`.
    """
    parts = tuple(rows)
    settings = tuple(row for row in parts if not isinstance(row, str | tuple))
    # dirtune cannot run shell commands, so a fix that contains one is left to a person.
    whole = settings if len(settings) == len(parts) else ()
    return Fix(id, title, risk, tuple(map(_row, parts)), competitors(snapshot, what), whole)


def gro_on(snapshot: Snapshot, *interfaces: str) -> Fix:
    """Return the fix that turns generic receive offload on for *interfaces*."""
    rows = (CardValues(name, FEATURES, {"rx-gro": 1}) for name in interfaces)
    return commands(snapshot, "turn-gro-on", f"Turn GRO on for {listed(interfaces)}", rows)


def _row(row: str | tuple[str, ...] | Setting) -> str:
    if isinstance(row, str):
        return row
    return shlex.join(row) if isinstance(row, tuple) else "\n".join(shell(row))


def boot(id: str, title: str, *options: BootOption) -> Fix:
    """Return a fix that changes the kernel command line."""
    return Fix(id, title, Risk.REBOOT, settings=options)
