"""Reasons to refuse a table: another program owns it, or addresses or modules are missing.

`look_around` reads the facts and changes nothing; `refusals` decides from these facts alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from dirtune.addresses import family
from dirtune.collect.addresses import read_addresses, read_local_networks
from dirtune.collect.files import text_in
from dirtune.collect.os_release import read_os_release
from dirtune.collect.processes import read_processes
from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host, literal
from dirtune.lvs import kernel
from dirtune.lvs.model import Service, Table
from dirtune.packages import install

OWNERS = ("keepalived", "kube-proxy", "ldirectord")
"""Programs that manage the IPVS table and would undo other programs' changes."""
_ROOT = re.compile(r"^Uid:\t0\t", re.MULTILINE)
_RELEASE = "/proc/sys/kernel/osrelease"
_LISTS = ("/lib/modules/{}/modules.dep", "/lib/modules/{}/modules.builtin")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason not to apply a table."""

    name: str
    """The name that `--force` takes; empty if the refusal cannot be overruled."""
    why: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The facts about a host that decide whether a table is refused."""

    owners: tuple[tuple[str, int], ...]
    """Names and process ids of the running programs that manage this namespace's table."""
    addresses: frozenset[str]
    networks: frozenset[IPv4Network]
    """IPv4 networks whose addresses are all local to this host."""
    loaded: bool
    """Whether ip_vs is loaded."""
    missing: frozenset[str]
    """Schedulers whose module is not installed for this kernel."""
    loadable: frozenset[str]
    """Schedulers whose module is installed but not loaded."""
    install: str = "Install the package with the kernel's modules"
    """How to install the modules of the running kernel."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The kernel modules that must be loaded before the table is applied."""
        schedulers = (f"ip_vs_{name}" for name in sorted(self.loadable))
        return (*(() if self.loaded else ("ip_vs",)), *schedulers)


def look_around(host: Host, table: Table) -> Surroundings:
    """Read the facts about *host* that decide whether *table* is refused."""
    missing, loadable = _schedulers(host, {service.scheduler for service in table.services})
    return Surroundings(
        tuple(_owners(host)),
        read_addresses(host),
        read_local_networks(host),
        kernel.loaded(host),
        missing,
        loadable,
        install(read_os_release(host), "modules", text_in(host, _RELEASE) or ""),
    )


def with_addresses(around: Surroundings, addresses: frozenset[str]) -> Surroundings:
    """Return *around* with *addresses* besides those of the host."""
    return replace(around, addresses=around.addresses | addresses)


def refusals(actual: Table, after: Table, around: Surroundings) -> tuple[Refusal, ...]:
    """Return the reasons not to turn *actual* into *after* on the host that *around* describes."""
    return (
        *_owned(around),
        *_addresses(after, around),
        *_modules(after, around),
        *_mixed(actual, after),
    )


def _owned(around: Surroundings) -> Iterator[Refusal]:
    for name in dict.fromkeys(name for name, _ in around.owners):
        pids = ", ".join(str(pid) for other, pid in around.owners if other == name)
        why = f"{name} (process {pids}) owns the IPVS table and would restore its own services"
        if name == "keepalived":
            why += (
                ". Change its configuration instead: `dirtune lvs apply --through keepalived` "
                "writes the services into a file of their own, and reloads keepalived"
            )
        elif name == "kube-proxy":
            why += (
                ". Change its ConfigMap instead: "
                "`dirtune lvs export PLAN --format kube-proxy` prints what it should say"
            )
        yield Refusal(name, why)


def _addresses(table: Table, around: Surroundings) -> Iterator[Refusal]:
    for service in table.services:
        if service.protocol != "fwmark" and not _held(service, around):
            length = 128 if service.family == 6 else 32
            yield Refusal(
                "vip",
                f"{service.name}: this host lacks the virtual address. Add it with "
                f"`ip addr add {service.address}/{length} dev lo`",
            )


def _held(service: Service, around: Surroundings) -> bool:
    if service.address in around.addresses:
        return True
    if service.family == 6:
        return False
    return any(IPv4Address(service.address) in network for network in around.networks)


def _modules(table: Table, around: Surroundings) -> Iterator[Refusal]:
    for service in table.services:
        if service.scheduler in around.missing:
            name = service.scheduler
            yield Refusal(
                "",
                f"{service.name}: the module ip_vs_{name} for scheduler {name} is not installed. "
                f"Choose another scheduler, or install the modules: {around.install}",
            )


def _mixed(actual: Table, after: Table) -> Iterator[Refusal]:
    if not actual.daemons or after.daemons is not None:
        return
    for service in after.services:
        for destination in service.destinations:
            if family(destination.address) != service.family:
                yield Refusal(
                    "",
                    f"{service.name} -> {destination.name} has another IP version than its "
                    "service, which the kernel refuses while a sync daemon runs. Stop the daemon "
                    "with `sync = []` in [ipvs]",
                )


def _owners(host: Host) -> Iterator[tuple[str, int]]:
    """Yield the owners of the IPVS table that root has started: any user can use their names."""
    here = _namespace(host, "self")
    for process in read_processes(host):
        # keepalived can be configured to name its children keepalived_vrrp and the like.
        name = next((n for n in OWNERS if re.fullmatch(rf"{n}(_\w+)?", process.name)), None)
        if (
            name is not None
            and _namespace(host, str(process.pid)) in {here, None}
            and _ROOT.search(text_in(host, f"/proc/{process.pid}/status") or "")
        ):
            yield name, process.pid


def _namespace(host: Host, pid: str) -> str | None:
    try:
        return host.link(f"/proc/{pid}/ns/net")
    except SourceMissing:
        return None


def _schedulers(host: Host, names: set[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the schedulers in *names* that are not installed, and those that are not loaded."""
    unloaded = {n for n in names if not host.glob(literal(f"/sys/module/ip_vs_{n}"))} - {"none"}
    if not unloaded:
        return frozenset(), frozenset()
    texts = _module_lists(host)
    if texts is None:
        return frozenset(), frozenset()  # the apply will show whether they exist
    dep, builtin = texts
    loadable = frozenset(n for n in unloaded if f"/ip_vs_{n}.ko" in dep)
    return frozenset(n for n in unloaded - loadable if f"/ip_vs_{n}.ko" not in builtin), loadable


def _module_lists(host: Host) -> tuple[str, str] | None:
    try:
        release = host.read(_RELEASE).strip()
        dep, builtin = (host.read(path.format(release)) for path in _LISTS)
    except (SourceMissing, SourceRefused):
        return None
    return dep, builtin
