"""Pages and docstrings of checks begin with their subject, in the field's words."""

import ast
from pathlib import Path

import pytest

from dirtune import checks
from dirtune.checks import discovery
from tests.checks.conftest import NO_BEGINNING, NOT_THE_FIELDS

PACKAGE = Path(checks.__file__).parent


def docstrings(tree):
    """Yield each docstring with what it documents, a field's declaration among them."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for at, statement in enumerate(body if isinstance(body, list) else ()):
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    field = at and isinstance(body[at - 1], ast.Assign | ast.AnnAssign)
                    yield text, body[at - 1] if field else node


def tells_a_bool(node):
    declared = node.returns if isinstance(node, ast.FunctionDef) else node.annotation
    return "bool" in ast.unparse(declared)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_docstrings_begin_with_their_subject(path):
    for text, node in docstrings(ast.parse(path.read_text())):
        first = text.split()[0].lower()

        assert first not in NO_BEGINNING or (first == "whether" and tells_a_bool(node)), text


@pytest.mark.parametrize("check", discovery.all_checks(), ids=lambda check: check.id)
def test_pages_use_the_words_of_the_field(check):
    assert not NOT_THE_FIELDS.search(check.doc)
    assert check.title.endswith(".")
