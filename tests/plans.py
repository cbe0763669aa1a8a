"""Bench plans for tests: one service, one client, and what a test is about."""

import json
import re

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


def lab_plan_text(**load):
    """Return the plan of the lab that is up, with other values under [load]."""
    folder = state.folder()
    text = folder.plan.read_text().replace('"ssh_config"', json.dumps(str(folder.ssh_config)))
    for key in load:
        text = re.sub(rf"^{key} = .*\n", "", text, flags=re.MULTILINE)
    return text.replace("[load]\n", _table("[load]", "rates", load))


def _table(head, first, values):
    values = values if isinstance(values, dict) else {first: values}
    return f"{head}\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items())
