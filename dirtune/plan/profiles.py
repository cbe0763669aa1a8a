"""Fill in default durations and repeats of trials from a named profile. Pure."""

import msgspec

from dirtune.plan import generators
from dirtune.plan.load import Load

PROFILES: dict[str, dict[str, dict[str, object]]] = {
    "standard": {
        "load": {"ramp": "10s", "warmup": "130s", "window": "60s", "settle": "drain"},
        "settle": {"max": "130s"},
    },
    "lab": {
        "load": {"ramp": "3s", "warmup": "5s", "window": "10s", "settle": "drain"},
        "settle": {"max": "15s"},
    },
    "ci": {
        "load": {"warmup": "2s", "window": "5s", "pairs": 1, "repeats": 1},
        "settle": {"seconds": 1, "max": "15s"},
    },
}
"""The defaults of each profile, by table of the plan.

The warm-up of `standard` is longer than the 120 s during which the connection table grows; the
warm-ups of `lab` and `ci` are shorter. `ci` is only a smoke test, because a single pair gives no
verdict.
"""


_DEFAULT = next(f.default for f in msgspec.structs.fields(Load) if f.name == "generator")


def _ramps(name: object) -> bool:
    """Return whether the load generator *name* can raise its load in steps."""
    abilities = generators.abilities(str(name))
    return abilities is not None and abilities.ramps


def applied(document: dict[str, object]) -> dict[str, object]:
    """Return the plan *document*, completed with the defaults of the profile that it names."""
    load = document.get("load")
    name = load.get("profile") if isinstance(load, dict) else None
    if not isinstance(load, dict) or name not in tuple(PROFILES):
        return document  # msgspec will report the wrong type
    changed = {
        table: {**defaults, **given}
        for table, defaults in PROFILES[name].items()
        if isinstance(given := document.get(table, {}), dict)
    }
    if "load" in changed and not _ramps(load.get("generator", _DEFAULT)):
        changed["load"] = {k: v for k, v in changed["load"].items() if k != "ramp" or k in load}
    return document | changed
