"""The published schemas are those of the code, and say what plans and results hold."""

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from dirtune import field_descriptions, schemas
from dirtune.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs/schema"
GENERATORS = {path.stem for path in (ROOT / "dirtune/plan/generators").glob("[!_]*.py")}


@pytest.mark.parametrize("name", schemas.texts())
def test_the_committed_schema_is_this_one(name):
    assert (DOCS / name).read_text() == schemas.texts()[name], "run `make docs`"


def test_a_schema_does_not_depend_on_the_release_of_the_library(monkeypatch):
    def released(description, *members):
        schema = {"description": description, "anyOf": list(members), "enum": ["b", "a"]}
        return lambda kind, schema_hook: schema

    number, nothing = {"type": "integer"}, {"type": "null", "description": "None.\n  No port."}
    monkeypatch.setattr(schemas.msgspec.json, "schema", released("A port.", number, nothing))
    newer = schemas.texts()
    older = released("A port.", {"type": "null", "description": "None.\nNo port."}, number)
    monkeypatch.setattr(schemas.msgspec.json, "schema", older)

    assert newer == schemas.texts()
    assert json.loads(newer["plan.json"])["enum"] == ["b", "a"]


def test_what_a_plan_may_hold():
    load = json.loads((DOCS / "plan-file.json").read_text())["$defs"]["Load"]

    assert load["additionalProperties"] is False
    assert load["required"] == ["rates"]
    assert set(load["properties"]["generator"]["enum"]) == GENERATORS


def properties(name):
    found = json.loads((DOCS / f"{name}.json").read_text())
    return found["$defs"][found["$ref"].rpartition("/")[2]]["properties"]


@pytest.mark.parametrize("name", sorted(set(schemas.PUBLISHED) - {"plan-file", "journal"}))
def test_results_say_their_schema(name):
    said = properties(name)["schema"]
    assert f"dirtune/{name}/1" in (said.get("default"), *said.get("enum", ()))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("audit", ("audit", "--root", "{root}")),
        ("irqs", ("irqs", "--root", "{root}")),
        ("checks", ("explain",)),
        ("doctor", ("doctor",)),
        ("difference", ("audit", "--diff", "{root}", "{root}")),
        ("lab", ("lab", "status")),
        ("plan", ("fix", "plan", "--root", "{root}")),
    ],
)
def test_what_is_printed_is_what_is_published(tmp_path, monkeypatch, name, words):
    monkeypatch.setenv("DIRTUNE_LAB", str(tmp_path / "lab"))
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/interrupts").write_text(
        "           CPU0\n 10:         40   IO-APIC  20-fasteoi   enp0s16, i801_smbus\n"
    )
    argv = [word.format(root=tmp_path) for word in words]

    printed = CliRunner().invoke(main, [*argv, "--format", "json"]).stdout

    assert json.loads(printed)["schema"] == f"dirtune/{name}/1"
    assert set(json.loads(printed)) <= set(properties(name))
    msgspec.json.decode(printed, type=schemas.PUBLISHED[name])


def test_every_schema_that_is_named_is_published():
    package = Path(schemas.__file__).parent
    named = re.compile(r'"dirtune/([a-z-]+)/1"')
    found = {name for path in package.rglob("*.py") for name in named.findall(path.read_text())}

    assert found == set(schemas.PUBLISHED) - {"plan-file"}


def test_a_schema_is_printed_and_an_unknown_one_suggests_the_nearest():
    printed = CliRunner().invoke(main, ["schema", "audit"])
    assert printed.stdout == (DOCS / "audit.json").read_text()
    assert "audit" in CliRunner().invoke(main, ["schema"]).stdout.split()

    refused = CliRunner().invoke(main, ["schema", "adit"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == "dirtune: No such schema: adit. Did you mean audit or audits?\n"


def test_the_docstring_below_a_field_describes_it():
    @dataclass
    class Below:
        hidden: int
        """Not in JSON."""

    class Outer(msgspec.Struct, rename="camel"):
        first_ms: int
        """Time in
        milliseconds."""
        second: tuple[Below, ...] = ()

    assert field_descriptions.by_type(Outer | None) == {
        "Outer": {"firstMs": "Time in\nmilliseconds."},
        "Below": {"hidden": "Not in JSON."},
    }


def test_no_pattern_accepts_a_newline_at_the_end():
    """`$` also matches before a newline that ends the text, in Python but not in JSON Schema."""
    package = Path(schemas.__file__).parent
    patterns = [
        ast.literal_eval(keyword.value)
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "Meta"
        for keyword in node.keywords
        if keyword.arg == "pattern"
    ]

    assert len(patterns) > 3
    for pattern in patterns:
        assert pattern.endswith(r"$(?!\n)"), pattern
