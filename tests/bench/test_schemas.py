"""The published schemas are those of the code, and say what plans and results hold."""

import json
from pathlib import Path

import pytest

from dirtune.bench import schemas

DOCS = Path(__file__).parents[2] / "docs/schema"


@pytest.mark.parametrize("name", schemas.texts())
def test_the_committed_schema_is_this_one(name):
    assert (DOCS / name).read_text() == schemas.texts()[name], "run `make docs`"


def test_what_a_plan_may_hold():
    load = json.loads((DOCS / "plan.json").read_text())["$defs"]["Load"]

    assert load["additionalProperties"] is False
    assert load["required"] == ["rates"]
    assert sorted(load["properties"]["generator"]["enum"]) == [
        "command",
        "h2load",
        "httperf",
        "wrk",
    ]


def test_results_say_their_schema():
    for name in ("run", "comparison", "bench-check"):
        found = json.loads((DOCS / f"{name}.json").read_text())["$defs"]
        kind = schemas.PUBLISHED[name].__name__
        assert found[kind]["properties"]["schema"]["default"] == f"dirtune/{name}/1"
