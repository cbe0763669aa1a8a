"""Write an IPVS table as `virtual_server` blocks of keepalived.conf(5).

keepalived considers a real server without a health check to be always up.
"""

from collections.abc import Iterator
from typing import Literal

from dirtune.lvs.ipvsadm import require_words
from dirtune.lvs.model import Destination, Service, Table

Checker = Literal["tcp", "none"]
"""The health check of real servers: a TCP connection, or none. A UDP service never has one."""
# A dead real server is noticed within 18 s: keepalived/slow-detection advises these values.
_TCP_CHECK = (
    "TCP_CHECK {",
    *("    connect_timeout 3", "    retry 2", "    delay_before_retry 1"),
    "}",
)


def blocks(table: Table, checker: Checker = "none") -> str:
    """Return one block per service. Raises `NotPossible` if a value is not a plain word."""
    require_words(table)
    return "\n".join(_block(service, checker) for service in table.services)


def _block(service: Service, checker: Checker) -> str:
    # The service sets one method; a real server with another method sets its own.
    method = _method(service.destinations[0]) if service.destinations else None
    lines = [f"virtual_server {_named(service)} {{", *(f"    {row}" for row in _setup(service))]
    if method is not None:
        lines.append(f"    lvs_method {method}")
    checked = checker == "tcp" and service.protocol == "tcp"
    if checked:
        lines.append("    delay_loop 6")
    for real in service.destinations:
        rows = [f"weight {real.weight}", *_limits(real)]
        if _method(real) != method:
            rows.insert(0, f"lvs_method {_method(real)}")
        if checked and real.port:
            rows += _TCP_CHECK
        lines.append(f"    real_server {_real(real)} {{")
        lines += (f"        {row}" for row in rows)
        lines.append("    }")
    return "\n".join([*lines, "}", ""])


def _named(service: Service) -> str:
    if service.protocol == "fwmark":
        return f"fwmark {service.port}{' inet6' if service.family == 6 else ''}"
    return f"{service.address}{f' {service.port}' if service.port else ''}"


def _real(destination: Destination) -> str:
    port = f" {destination.port}" if destination.port else ""
    return f"{destination.address}{port}"


def _setup(service: Service) -> Iterator[str]:
    if service.protocol != "fwmark":
        yield f"protocol {service.protocol.upper()}"
    yield f"lvs_sched {service.scheduler}"
    yield from service.flag_names
    if service.one_packet:
        yield "ops"
    if service.persistent_s is not None:
        yield f"persistence_timeout {service.persistent_s}"
    if service.netmask:
        yield f"persistence_granularity {service.netmask}"
    if service.engine:
        yield f"persistence_engine {service.engine}"


def _method(destination: Destination) -> str:
    if destination.forwarding != "tun" or destination.tunnel == "ipip":
        return destination.forwarding.upper()
    port = f" port {destination.tunnel_port}" if destination.tunnel == "gue" else ""
    flags = " ".join(destination.tunnel_flag_names or ("nocsum",))
    return f"TUN type {destination.tunnel}{port} {flags}"


def _limits(destination: Destination) -> Iterator[str]:
    if destination.upper:
        yield f"uthreshold {destination.upper}"
    if destination.lower:
        yield f"lthreshold {destination.lower}"
