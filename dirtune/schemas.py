"""Write the JSON Schemas of plans and results: `python -m dirtune.schemas docs/schema`."""

import inspect
import sys
from pathlib import Path

import msgspec

from dirtune import archive, field_descriptions, writing
from dirtune.analyse.doctor import Diagnosis
from dirtune.analyse.failover import Failover
from dirtune.analyse.profile import Profile
from dirtune.analyse.profile_difference import Difference
from dirtune.analyse.reach import Reach
from dirtune.analyse.run import Comparison, Run
from dirtune.bench.check import Readiness
from dirtune.bench.tour import Itinerary
from dirtune.change import record
from dirtune.change.documents import (
    AppliedDocument,
    HelloDocument,
    PlanDocument,
    ResultDocument,
    SettledDocument,
    VerifyDocument,
)
from dirtune.checks import documents
from dirtune.checks.events import Event
from dirtune.checks.fleet import FleetDocument
from dirtune.errors import NotPossible
from dirtune.exit_status import outermost
from dirtune.lvs.documents import LvsDocument, LvsPlanDocument
from dirtune.lvs.drift import DriftDocument
from dirtune.nearest import no_such
from dirtune.plan.tables import Plan
from dirtune.render import json_documents
from dirtune.render.comparison import ComparisonsDocument
from dirtune.tune.decide import Session
from dirtune.watch.documents import Evidence

PUBLISHED: dict[str, object] = {
    "plan-file": Plan,
    "applied": AppliedDocument,
    "audit": documents.AuditDocument,
    "audits": documents.AuditsDocument,
    "bench-check": Readiness,
    "bench-trials": Itinerary,
    "checks": json_documents.ChecksDocument,
    "comparison": Comparison,
    "comparisons": ComparisonsDocument,
    "difference": json_documents.DifferencesDocument,
    "doctor": Diagnosis,
    "event": Event,
    "failover": Failover,
    "fleet": FleetDocument,
    "irqs": json_documents.IrqsDocument,
    "journal": record.Record,
    "lab": json_documents.LabDocument,
    "lvs": LvsDocument,
    "lvs-check": Reach,
    "lvs-drift": DriftDocument,
    "lvs-plan": LvsPlanDocument,
    "plan": PlanDocument,
    "presets": json_documents.PresetsDocument,
    "profile": Profile,
    "profile-difference": Difference,
    "run": Run,
    "settled": SettledDocument,
    "snapshot": archive.Meta,
    "stay": HelloDocument,
    "stay-result": ResultDocument,
    "tune": Session,
    "verify": VerifyDocument,
    "watch": Evidence,
}
"""The published types by name. A result of the type NAME has `"schema": "dirtune/NAME/1"`."""


def texts() -> dict[str, str]:
    """Return the text of each schema by file name."""
    return {f"{name}.json": text(name) for name in PUBLISHED}


def text(name: str) -> str:
    """Return the JSON Schema of the type *name*. Raises `NotPossible` if there is none."""
    if name not in PUBLISHED:
        raise NotPossible(no_such("schema", name, PUBLISHED, "`dirtune schema` lists them."))
    kind = PUBLISHED[name]
    schema = msgspec.json.schema(kind, schema_hook=_anything)
    described = field_descriptions.by_type(kind)
    for definition in schema.get("$defs", {}).values():
        for field, description in described.get(definition.get("title"), {}).items():
            definition["properties"][field]["description"] = description
    return msgspec.json.format(_encoded(_canonical(schema))).decode() + "\n"


def _canonical(value: object, key: str = "") -> object:
    """Return a schema's *value* in a form that is the same for all releases of msgspec and Python.

    Releases differ in how much of a docstring's indentation they keep, and in the order of a
    union's members, which has no meaning.
    """
    match key, value:
        case "description", str():
            return inspect.cleandoc(value)
        case "anyOf", list():
            return sorted(map(_canonical, value), key=_encoded)
        case _, list():
            return [_canonical(item) for item in value]
        case _, dict():
            return {name: _canonical(item, name) for name, item in value.items()}
    return value


def _encoded(value: object) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def _anything(kind: type) -> dict[str, object]:
    """Return a schema that accepts any value, because msgspec has none for `object`."""
    if kind is not object:
        raise NotImplementedError(kind)
    return {"description": "anything"}


def _write() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in texts().items():
        writing.replace(folder / name, schema.encode())


if __name__ == "__main__":
    outermost(_write)
