"""An IPVS table as the part of a plan file that makes it."""

import json
import re
from collections.abc import Iterator

from dirtune.lvs.model import Destination, Service, SyncDaemon, Table

_BEYOND_ASCII = re.compile(r"[^ -~]")


def plan(table: Table) -> str:
    """Return [[services]], and [ipvs] where *table* speaks of it, as TOML."""
    blocks = ['[director]\nhost = "local"', *_ipvs(table)]
    for service in table.services:
        lines = ["[[services]]", *_service(service)]
        for each in service.destinations:
            lines += [
                "  [[services.destinations]]",
                *(f"  {line}" for line in _real(service, each)),
            ]
        blocks.append("\n".join(lines))
    if not table.services:
        blocks.insert(0, "services = []")
    return "\n\n".join(blocks) + "\n"


def _ipvs(table: Table) -> Iterator[str]:
    if table.timeouts is not None:
        seconds = table.timeouts
        yield "\n".join(
            (
                "[ipvs.timeouts]",
                f"tcp = {seconds.tcp}",
                f"tcp_fin = {seconds.tcp_fin}",
                f"udp = {seconds.udp}",
            )
        )
    for daemon in table.daemons or ():
        yield "\n".join(("[[ipvs.sync]]", *_daemon(daemon)))


def _daemon(daemon: SyncDaemon) -> Iterator[str]:
    yield f"state = {_text(daemon.state)}"
    yield f"interface = {_text(daemon.interface)}"
    yield f"id = {daemon.sync_id}"
    if daemon.maxlen is not None:
        yield f"maxlen = {daemon.maxlen}"
    yield f"group = {_text(daemon.group)}"
    yield f"port = {daemon.port}"
    yield f"ttl = {daemon.ttl}"


def _service(service: Service) -> Iterator[str]:
    if service.protocol == "fwmark":
        yield f"fwmark = {service.port}"
        if service.family == 6:
            yield "family = 6"
    else:
        yield f"vip = {_text(service.address)}"
        yield f"port = {service.port}"
        yield f"protocol = {_text(service.protocol)}"
    yield f"scheduler = {_text(service.scheduler)}"
    if service.flag_names:
        yield f"flags = [{', '.join(map(_text, service.flag_names))}]"
    if service.one_packet:
        yield "ops = true"
    if service.persistent_s is not None:
        yield f"persistence = {service.persistent_s}"
    if service.netmask:
        yield f"netmask = {_text(service.netmask)}"
    if service.engine:
        yield f"persistence_engine = {_text(service.engine)}"


def _real(service: Service, destination: Destination) -> Iterator[str]:
    yield f"address = {_text(destination.address)}"
    if destination.port != (0 if service.protocol == "fwmark" else service.port):
        yield f"port = {destination.port}"
    yield f"forwarding = {_text(destination.forwarding)}"
    if destination.forwarding == "tun" and destination.tunnel != "ipip":
        yield f"tunnel = {_text(destination.tunnel)}"
        if destination.tunnel_port:
            yield f"tunnel_port = {destination.tunnel_port}"
        if names := destination.tunnel_flag_names:
            yield f"tunnel_flags = [{', '.join(map(_text, names))}]"
    yield f"weight = {destination.weight}"
    if destination.upper:
        yield f"upper_threshold = {destination.upper}"
    if destination.lower:
        yield f"lower_threshold = {destination.lower}"


def _text(text: str) -> str:
    # A basic string of TOML is one of JSON, but where JSON has two escapes for a character.
    return _BEYOND_ASCII.sub(
        lambda found: f"\\U{ord(found[0]):08x}", json.dumps(text, ensure_ascii=False)
    )
