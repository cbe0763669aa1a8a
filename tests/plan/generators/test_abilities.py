"""What a generator can do is said by its own module, and asked for by nobody by its name."""

import ast
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

import dirtune
from dirtune import plan
from dirtune.errors import PlanError
from dirtune.plan import generators
from dirtune.plan.load import Load

PACKAGE = Path(dirtune.__file__).parent
NAMES = set(generators.names())


def names_one(node):
    """Tell whether *node* is the name of a generator, or a literal of such names alone."""
    match node:
        case ast.Constant(value=str(value)):
            return value in NAMES
        case ast.Tuple(elts=elts) | ast.List(elts=elts) | ast.Set(elts=elts):
            return bool(elts) and all(map(names_one, elts))
        case ast.Call(func=ast.Name(id="frozenset" | "set" | "tuple"), args=[argument]):
            return names_one(argument)
    return False


def comparisons(path):
    """Yield the lines of a module that compare something with a generator's name."""
    tree = ast.parse(path.read_text())
    constants = {
        node.targets[0].id
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and names_one(node.value)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, comparators=others):
                sides = (left, *others)
            case ast.MatchValue(value=value):
                sides = (value,)
            case _:
                continue
        named = (getattr(s, "id", None) or getattr(s, "attr", None) for s in sides)
        if any(map(names_one, sides)) or constants & {*named}:
            yield f"{path.relative_to(PACKAGE)}:{node.lineno}"


def test_nothing_is_compared_with_a_generators_name(tmp_path):
    own = PACKAGE / "plan/generators"
    modules = [path for path in PACKAGE.rglob("*.py") if path.parent != own]

    assert len(NAMES) > 3
    assert [line for path in modules for line in comparisons(path)] == []


@pytest.fixture
def closed(monkeypatch):
    """A new closed loop, in the place of one that was open."""
    can = generators.Abilities(open_loop=False)
    found = SimpleNamespace(PACKAGE="", ABILITIES=can)
    monkeypatch.setattr(generators, "find", lambda name: found)


@pytest.mark.usefixtures("closed")
def test_a_new_closed_loop_is_taken_for_one():
    assert not Load(rates=(1.0,)).open_loop
    for row, said in {
        'ramp = "3s"': r"load\.ramp: ",
        "keepalive = 2": "only one request per connection",
    }.items():
        with pytest.raises(PlanError, match=said):
            plan.parse(plan.EXAMPLE.replace("[load]\n", f"[load]\n{row}\n"))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_generator_says_what_it_can_do(name):
    assert isinstance(generators.find(name).ABILITIES, generators.Abilities)


def test_what_they_can_do():
    """By their manuals: h2load(1) -r, httperf(1) --rate, wrk's README."""
    can = {name: generators.find(name).ABILITIES for name in ("h2load", "httperf", "wrk")}

    assert {name: a.open_loop for name, a in can.items()} == {
        "h2load": True,
        "httperf": True,
        "wrk": False,
    }
    assert [name for name, a in can.items() if a.polls] == ["httperf"]
    assert [name for name, a in can.items() if a.ramps] == ["h2load"]
    assert [name for name, a in can.items() if a.logs_replies] == ["h2load"]  # --log-file
    assert msgspec.structs.asdict(can["wrk"])["keeps_alive"] is False
