"""Compare keepalived's configuration with the IPVS table, and find why they differ. Pure."""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

from dirtune.keepalived.model import Conf, RealServer
from dirtune.lvs import keepalived_conf
from dirtune.lvs.model import Destination, Service, Table

Cause = Literal["checker-down", "inhibited", "quorum-lost", "not-reloaded", "by-hand"]
"""`not-reloaded` may also be an edit by hand that removed or added a whole service."""
Actual = Mapping[str, tuple[str, Mapping[str, int]]]
"""For each service of the kernel by its name in ipvsadm(8): its scheduler, and the weights of its
destinations by their names."""


_UNEXPLAINED = frozenset({"not-reloaded", "by-hand"})


class Difference(msgspec.Struct, frozen=True):
    """A part of the table that is not as keepalived's configuration has it."""

    name: str
    cause: Cause
    why: str
    """A sentence for the user."""


class DriftDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The differences between keepalived's configuration and the IPVS table."""

    schema: Literal["dirtune/lvs-drift/1"] = "dirtune/lvs-drift/1"
    differences: tuple[Difference, ...]


def actual_of(table: Table) -> Actual:
    """Return the services of the kernel's *table*."""
    return {
        service.name: (
            service.scheduler,
            {real.name: real.weight for real in service.destinations},
        )
        for service in table.services
    }


def differences(conf: Conf, actual: Actual, *, versions: bool = False) -> tuple[Difference, ...]:
    """Return where the table *actual* is not the one that *conf* describes, and why.

    keepalived removes a real server whose health check fails, or sets its weight to 0 with
    `inhibit_on_failure`. Without a running check, only a person or an old configuration explains
    a difference. *versions* says whether the names in *actual* have the IP version of a firewall
    mark, as those of `actual_of` do, and those of /proc/net/ip_vs do not.
    """
    return tuple(_Comparing(conf, versions=versions).all(actual))


def misses(conf: Conf, table: Table) -> tuple[str, ...]:
    """Return the names of what *table* lacks or has otherwise although a reload would set it.

    In contrast to `differences`, this leaves out what health checks explain, and compares every
    setting of services and destinations.
    """
    have = {service.key: service for service in table.services}
    different = differences(conf, actual_of(table), versions=True)
    names = [difference.name for difference in different if difference.cause in _UNEXPLAINED]
    for service in keepalived_conf.derive(conf).table.services:
        now = have.get(service.key)
        if now is None:
            continue
        if replace(now, destinations=()) != replace(service, destinations=()):
            names.append(service.name)
        planned = {real.key: real for real in service.destinations}
        names += (
            f"{service.name} -> {real.name}"
            for real in now.destinations
            if real.key in planned and replace(planned[real.key], weight=real.weight) != real
        )
    return tuple(dict.fromkeys(names))


class _Comparing:
    def __init__(self, conf: Conf, *, versions: bool) -> None:
        self._versions = versions
        self._services = keepalived_conf.derive(conf).table.services
        self._reals: dict[str, dict[str, list[tuple[RealServer, bool]]]] = {}
        """Real servers of each service by their addresses, and whether failures inhibit them."""
        self._sorry: dict[str, set[str]] = {}
        groups = dict(conf.groups)
        for server in conf.virtual_servers:
            one = Conf(conf.globals, tuple(groups.items()), (server,), (), (), (), ())
            reals: dict[str, list[tuple[RealServer, bool]]] = {}
            for real in server.real_servers:
                inhibit = server.inhibit if real.inhibit is None else real.inhibit
                reals.setdefault(real.address, []).append((real, inhibit))
            for service in keepalived_conf.derive(one).table.services:
                self._reals.setdefault(service.name, reals)
                if server.sorry:
                    self._sorry[service.name] = {server.sorry.address}

    def all(self, actual: Actual) -> Iterator[Difference]:
        planned = {self._name(service) for service in self._services}
        for service in self._services:
            name = self._name(service)
            if name not in actual:
                why = f"The kernel lacks {service.name}, which keepalived.conf has."
                yield Difference(service.name, "not-reloaded", f"{why} Reload keepalived.")
            else:
                yield from self._service(service, *actual[name])
        for name in actual:
            if name not in planned:
                why = f"{name} is in the kernel, but not in keepalived.conf."
                yield Difference(name, "not-reloaded", why)

    def _name(self, service: Service) -> str:
        return service.name if self._versions else service.name.removesuffix(" IPv6")

    def _service(
        self, service: Service, scheduler: str, weights: Mapping[str, int]
    ) -> Iterator[Difference]:
        if scheduler != service.scheduler:
            why = (
                f"{service.name} uses the scheduler {scheduler}, but keepalived.conf has "
                f"{service.scheduler}. Reload keepalived."
            )
            yield Difference(service.name, "not-reloaded", why)
        sorry = self._sorry.get(service.name, set())
        known = {real.name for real in service.destinations}
        extra = [name for name in weights if name not in known]
        if any(name.rpartition(":")[0].strip("[]") in sorry for name in extra):
            why = f"{service.name} has lost its quorum, so the sorry_server answers."
            yield Difference(service.name, "quorum-lost", why)
        else:
            for name in extra:
                why = f"{service.name} -> {name} is in the kernel, but not in keepalived.conf."
                yield Difference(f"{service.name} -> {name}", "by-hand", why)
        for real in service.destinations:
            yield from self._destination(service, real, weights.get(real.name))

    def _destination(
        self, service: Service, real: Destination, weight: int | None
    ) -> Iterator[Difference]:
        if weight == real.weight:
            return
        name = f"{service.name} -> {real.name}"
        reals = self._reals[service.name].get(real.address, [])
        checked = any(server.checkers for server, _ in reals)
        dynamic = any(checker.dynamic for server, _ in reals for checker in server.checkers)
        if weight is None and checked:
            why = f"{name} is not in the kernel, because its health check fails."
            yield Difference(name, "checker-down", why)
        elif weight is None:
            why = f"{name} is not in the kernel, although it has no health check."
            yield Difference(name, "by-hand", why)
        elif weight == 0 and checked and any(inhibit for _, inhibit in reals):
            why = f"{name} has weight 0, because its health check fails (inhibit_on_failure)."
            yield Difference(name, "inhibited", why)
        elif not dynamic:
            why = f"{name} has weight {weight}, but keepalived.conf has {real.weight}."
            yield Difference(name, "by-hand", why)
