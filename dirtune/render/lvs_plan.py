"""Render an IPVS table as the part of a plan file that describes it."""

from collections.abc import Mapping

import msgspec

from dirtune.errors import NotPossible
from dirtune.formats import LARGEST_TOML
from dirtune.lvs.model import Destination, Service, SyncDaemon, Table
from dirtune.plan.toml_text import toml


def plan(table: Table) -> str:
    """Return TOML with [[services]], and with [ipvs] if *table* has timeouts or sync daemons.

    Raises `NotPossible` if the text would be longer than a plan in TOML may be.
    """
    text = toml({**_tables(table), "services": [_service(service) for service in table.services]})
    if len(text) > LARGEST_TOML:
        raise NotPossible(
            f"The plan of {len(table.services):,} services is longer than a plan in TOML may be "
            f"({LARGEST_TOML >> 20} MiB). Use --format json."
        )
    return text


def document(table: Table) -> str:
    """Return *table* as a plan in JSON, one line per service, which is read faster than TOML."""
    tables = _tables(table)
    services = (msgspec.json.encode(_service(service)).decode() for service in table.services)
    head = msgspec.json.encode({**tables, "services": []}).decode()
    rows = ",\n".join(services)
    return f"{head.removesuffix(']}')}\n{rows}\n]}}\n"


def _tables(table: Table) -> dict[str, object]:
    """Return the tables of the plan besides [[services]]."""
    tables: dict[str, object] = {"director": {"host": "local"}}
    if ipvs := _ipvs(table):
        tables["ipvs"] = ipvs
    return tables


def _ipvs(table: Table) -> dict[str, object]:
    ipvs: dict[str, object] = {}
    if table.timeouts is not None:
        seconds = table.timeouts
        ipvs["timeouts"] = {"tcp": seconds.tcp, "tcp_fin": seconds.tcp_fin, "udp": seconds.udp}
    if table.daemons:
        ipvs["sync"] = [_daemon(daemon) for daemon in table.daemons]
    return ipvs


def _daemon(daemon: SyncDaemon) -> dict[str, object]:
    maxlen = {} if daemon.maxlen is None else {"maxlen": daemon.maxlen}
    return {
        "state": daemon.state,
        "interface": daemon.interface,
        "id": daemon.sync_id,
        **maxlen,
        "group": daemon.group,
        "port": daemon.port,
        "ttl": daemon.ttl,
    }


def _service(service: Service) -> dict[str, object]:
    if service.protocol == "fwmark":
        family = {"family": 6} if service.family == 6 else {}
        identity: dict[str, object] = {"fwmark": service.port, **family}
    else:
        identity = {
            "vip": service.address,
            "port": service.port,
            "protocol": service.protocol,
        }
    persistence = {} if service.persistent_s is None else {"persistence": service.persistent_s}
    options = {
        "flags": list(service.flag_names),
        "ops": service.one_packet,
        "netmask": service.netmask,
        "persistence_engine": service.engine,
        "destinations": [_destination(service, real) for real in service.destinations],
    }
    return {**identity, "scheduler": service.scheduler, **persistence, **_given(options)}


def _destination(service: Service, destination: Destination) -> dict[str, object]:
    own_port = destination.port != (0 if service.protocol == "fwmark" else service.port)
    wrapped = destination.forwarding == "tun" and destination.tunnel != "ipip"
    tunnel = {
        "tunnel": destination.tunnel,
        "tunnel_port": destination.tunnel_port,
        "tunnel_flags": list(destination.tunnel_flag_names),
    }
    limits = {"upper_threshold": destination.upper, "lower_threshold": destination.lower}
    return {
        "address": destination.address,
        **({"port": destination.port} if own_port else {}),
        "forwarding": destination.forwarding,
        **(_given(tunnel) if wrapped else {}),
        "weight": destination.weight,
        **_given(limits),
    }


def _given(options: Mapping[str, object]) -> dict[str, object]:
    """Return *options* without those that have the default value: None, 0, False or empty."""
    return {name: value for name, value in options.items() if value}
