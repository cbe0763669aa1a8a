"""Every kind of action says all that an action must say, and is found by its module alone."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import dirtune
from dirtune import settings
from dirtune.change import actions
from dirtune.change.action import Action
from dirtune.change.actions import AnyAction
from dirtune.settings import Setting

PACKAGE = Path(dirtune.__file__).parent
KINDS = actions.kinds()
SETTINGS = {kind.__name__ for kind in get_args(Setting)}
# The tags of journals on disks. A tag is added here with its kind, and never changes or goes.
TAGS = {
    *("set", "affinity", "card", "rss", "unbind", "bind", "file", "address", "up", "route", "run"),
    *("ipvs", "ipvs-drain", "keepalived", "line", "edit-line"),
}
MUST = {
    *("save", "make", "require_made", "undo"),
    *("commands", "kept", "targets", "touched", "suspects"),
}


def test_every_kind_is_known_by_its_tag():
    tags = [kind.__struct_config__.tag for kind in KINDS]

    assert len(set(tags)) == len(tags)
    assert set(tags) == TAGS, "add a new tag to TAGS"
    assert set(get_args(AnyAction)) == set(KINDS)


def test_each_kind_has_a_module_of_its_name():
    for kind in KINDS:
        words = "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.__name__)
        assert kind.__module__ == f"dirtune.change.actions.{words[1:]}"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_kind_or_its_family_says_what_has_no_safe_default(kind):
    assert {name for name in vars(Action) if is_abstract(Action, name)} == MUST
    assert [name for name in dir(kind) if is_abstract(kind, name)] == []


def is_abstract(kind, name):
    return getattr(getattr(kind, name, None), "__isabstractmethod__", False)


def test_nobody_else_tells_kinds_apart():
    names = {kind.__name__ for kind in KINDS}
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.MatchClass)
        if isinstance(node.cls, ast.Name)
        if node.cls.id in names
    ]

    assert found == []


NEW = '''
"""Does nothing, under a name of its own."""

from dirtune.change.action import Action, Saved


class Nap(Action, frozen=True, tag="nap"):
    """Does nothing."""

    length_s: float

    @property
    def commands(self):
        return (f"sleep {self.length_s:g}",)

    @property
    def kept(self):
        return ()

    @property
    def targets(self):
        return frozenset({"nap"})

    def touched(self, snapshot):
        return ("eth0",)

    def suspects(self, snapshot):
        return ()

    def save(self, host):
        return Saved(text="awake")

    def make(self, host):
        host.said.append(f"made {self.length_s:g}")

    def require_made(self, saved, host):
        assert saved == Saved(text="awake")

    def undo(self, saved, host):
        host.said.append(f"undone {saved.text}")
'''
USE = """
import pkgutil, sys
from pathlib import Path
folder = sys.argv[1]
import dirtune.change
# A folder of the package that is looked into like the other.
walk = pkgutil.iter_modules
pkgutil.iter_modules = lambda paths, prefix: walk(
    paths.append(folder) or paths if prefix == "dirtune.change.actions." else paths, prefix)
from dirtune.change import guards, journal, persist
from dirtune.change.actions.nap import Nap
from dirtune.change.apply import apply, roll_back
from dirtune.change.fixes import Surroundings
from dirtune.change.plan import Change, Plan
from dirtune.change.record import Begun, Planned
from dirtune.render.plan import plan_json, plan_table
from dirtune.settings import Risk
from dirtune.snapshot import Snapshot

class Host:
    said = []
class Journal:
    def begun(self, index, saved): journal.append(path, Begun(index, saved))
    def applied(self): pass
change = Change(Nap(2), Risk.DISRUPTIVE, "a/b", "c", "take a nap")
path = journal.path_of(Path(sys.argv[2]), "000001-x")
journal.create(path, Planned("000001-x", "", "boot", (change,), 0))
apply((change.action,), Host, Journal())
entry = journal.load(path)
assert roll_back(entry.done, Host) == ()
plan = Plan((change,))
assert guards.guarded(plan, Snapshot(), Surroundings(), force=frozenset()) == plan
assert persist.lasting(plan, {}) == plan
assert '"nap"' in plan_json(plan)
print(plan_table(plan), *Host.said, sep="\\n")
"""


def test_one_more_kind_is_one_more_module(tmp_path):
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds/nap.py").write_text(NEW)
    argv = [sys.executable, "-c", USE, str(tmp_path / "kinds"), str(tmp_path / "state")]

    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.stdout.splitlines() == [
        *("a/b  take a nap  [disruptive]", "    sleep 2", "made 2", "undone awake")
    ], done.stderr


def is_match(node):
    return isinstance(node, ast.Match)


def named(node):
    """Return the classes that the patterns of a `match` name, but for those with a condition."""
    found = set()
    for case in node.cases:
        if case.guard is None:
            patterns = (n for n in ast.walk(case.pattern) if isinstance(n, ast.MatchClass))
            found |= {pattern.cls.id for pattern in patterns if isinstance(pattern.cls, ast.Name)}
    return found


def test_every_kind_of_setting_is_named():
    (node,) = (n for n in ast.walk(ast.parse(inspect.getsource(settings.shell))) if is_match(n))

    assert named(node) == SETTINGS


def ends_in_assert_never(node):
    last = node.cases[-1]
    match last.pattern, last.body:
        case (
            ast.MatchAs(pattern=None, name=None),
            [ast.Expr(value=ast.Call(func=ast.Name(id="assert_never")))],
        ):
            return True
    return False


def test_every_match_over_settings_ends_where_mypy_proves_that_nothing_is_left():
    matches = [
        (path, node)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if is_match(node) and named(node) & SETTINGS
    ]

    assert matches
    assert [f"{p.name}:{n.lineno}" for p, n in matches if not ends_in_assert_never(n)] == []
