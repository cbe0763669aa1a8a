"""JSON Schema of plans and results: `python -m dirtune.bench.schemas docs/schema` writes them."""

import sys
from pathlib import Path

import msgspec

from dirtune.analyse.run import Comparison, Run
from dirtune.bench.check import Readiness
from dirtune.bench.tables import Plan

PUBLISHED: dict[str, type] = {
    "plan": Plan,
    "bench-check": Readiness,
    "run": Run,
    "comparison": Comparison,
}
"""By name; those of results are the NAME of their `"schema": "dirtune/NAME/1"`."""


def texts() -> dict[str, str]:
    """Return the text of each schema by its file's name."""
    return {f"{name}.json": _text(kind) for name, kind in PUBLISHED.items()}


def _text(kind: type) -> str:
    schema = msgspec.json.schema(kind, schema_hook=_anything)
    encoded = msgspec.json.encode(schema, order="sorted")
    return msgspec.json.format(encoded).decode() + "\n"


def _anything(kind: type) -> dict[str, object]:
    """Return the schema of `object`, for which msgspec has none; an empty one is none to it."""
    if kind is not object:
        raise NotImplementedError(kind)
    return {"description": "anything"}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (folder / name).write_text(text, encoding="utf-8")
