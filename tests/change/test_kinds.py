"""Every kind of action has all that an action needs, and a kind that nobody knows is no kind."""

import ast
import inspect
from pathlib import Path
from typing import get_args

import msgspec
import pytest

import dirtune
from dirtune import settings
from dirtune.change import culprits, guards, persist, plan, steps
from dirtune.change.plan import Action, Change
from dirtune.change.steps import Saved
from dirtune.host import WritableHost
from dirtune.settings import Risk, Setting
from dirtune.snapshot import Snapshot

PACKAGE = Path(dirtune.__file__).parent
KINDS = {kind.__name__ for kind in get_args(Action)}
SETTINGS = {kind.__name__ for kind in get_args(Setting)}


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """An action that only the union would know."""


def asked(host):
    """What is asked of an action: make, undo, save, holds, persist, guard, describe."""
    action, snapshot = Unknown(), Snapshot()
    return {
        "save": lambda: steps.save(action, host),
        "make": lambda: steps.make(action, host),
        "made": lambda: steps.require_made(action, Saved(), host),
        "holds": lambda: steps.holds(action, host),
        "undo": lambda: steps.undo(action, Saved(), host),
        "persist": lambda: persist.keeper(action),
        "guard": lambda: guards.touched(action, snapshot),
        "subject": lambda: guards._subject(Change(action, Risk.SAFE, "a/b", "c", "d")),
        "describe": lambda: plan.commands(action),
        "needed": lambda: plan.needed((Change(action, Risk.SAFE, "a/b", "c", "d"),)),
        "targets": lambda: culprits.targets(action),
        "suspects": lambda: culprits.suspects(action, snapshot),
    }


@pytest.mark.parametrize("what", asked(None))
def test_an_unknown_kind_falls_through_nothing(what, tmp_path):
    with pytest.raises(AssertionError, match="unreachable"):
        asked(WritableHost(tmp_path))[what]()


def named(node):
    """Return the classes that the patterns of a `match` name, but for those with a condition."""
    found = set()
    for case in node.cases:
        if case.guard is None:
            patterns = (n for n in ast.walk(case.pattern) if isinstance(n, ast.MatchClass))
            found |= {pattern.cls.id for pattern in patterns if isinstance(pattern.cls, ast.Name)}
    return found


WHOLE = [
    *(steps.save, steps.make, steps.undo, steps._require_there),
    *(persist._unwritable, persist._all_rows, guards.touched, guards._subject),
    *(plan.commands, plan._holds, culprits.targets, culprits.suspects),
]


@pytest.mark.parametrize("function", WHOLE, ids=lambda function: function.__qualname__)
def test_every_kind_of_the_union_is_named(function):
    matches = [n for n in ast.walk(ast.parse(inspect.getsource(function))) if is_match(n)]

    assert len(KINDS) > 10
    assert [KINDS - named(node) for node in matches] == [set()]


def test_every_kind_of_setting_is_named():
    (node,) = (n for n in ast.walk(ast.parse(inspect.getsource(settings.shell))) if is_match(n))

    assert named(node) == SETTINGS


def is_match(node):
    return isinstance(node, ast.Match)


def ends_in_assert_never(node):
    last = node.cases[-1]
    match last.pattern, last.body:
        case (
            ast.MatchAs(pattern=None, name=None),
            [ast.Expr(value=ast.Call(func=ast.Name(id="assert_never")))],
        ):
            return True
    return False


def test_every_match_over_kinds_ends_where_mypy_proves_that_nothing_is_left():
    matches = [
        (path, node)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if is_match(node) and named(node) & (KINDS | SETTINGS)
    ]

    assert len(matches) >= len(WHOLE)
    assert [f"{p.name}:{n.lineno}" for p, n in matches if not ends_in_assert_never(n)] == []
