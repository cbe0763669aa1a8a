"""Bench plans for tests: one service, one client, and what a test is about."""

import json
import tomllib

import tomli_w

from dirtune import plan
from dirtune.lab import state

BALANCED = {
    "to": ["rs1", "rs2"],
    "servers": [{"host": f"rs{n}", "address": f"198.18.0.1{n}"} for n in (1, 2)],
}
"""Two real servers behind the service."""


def plan_text(more="", *, director=None, service=(), to=(), servers=(), clients=("c1",), **load):
    """Return a plan as TOML, [load] last and *more* after it.

    A node may be its host alone, and a destination its node alone.
    """
    service = {"vip": "198.18.0.100", "port": 80, **dict(service)}
    return "".join(
        (
            *([] if director is None else [_table("[director]", "host", director)]),
            _table("[[services]]", "vip", service),
            *(_table("[[services.destinations]]", "node", each) for each in to),
            *(_table("[[real_servers]]", "host", each) for each in servers),
            *(_table("[[clients]]", "host", each) for each in clients),
            _table("[load]", "rates", {"rates": [100], **load}),
            more,
        )
    )


def plan_of(more="", **tables):
    return plan.parse(plan_text(more, **tables))


def lab_plan(**load):
    """Return the plan of the lab that is up as its tables, with other values under [load]."""
    folder = state.folder()
    tables = tomllib.loads(folder.plan.read_text())
    tables["ssh_config"] = str(folder.ssh_config)
    tables["load"] |= load
    return tables


def lab_plan_text(**load):
    """Return the same as TOML."""
    return tomli_w.dumps(lab_plan(**load))


def _table(head, first, values):
    values = values if isinstance(values, dict) else {first: values}
    return f"{head}\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items())
