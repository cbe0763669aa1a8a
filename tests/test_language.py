"""What plain English asks for and a program can hold: CONTRIBUTING.md, "Language".

The rest is held by readers. A case's name is the file, so `-k change` tries one folder.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dirtune.cli import main

ROOT = Path(__file__).parent.parent
FILES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "dirtune").rglob("*.py")
    if "templates" not in path.parts
)
# A sentence that opens with one of these has lost its subject. "Whether" opens what a bool means.
OPENINGS = re.compile(r"(Of|And|That|Those|From|What|Which|Who|Where|Whose)\b")
# They say that something was obtained, and not what it is.
NAMELESS = {"asked", "each", "found", "judged", "said", "told", "wanted"}
LONG = 10
# A finite verb, or an imperative that begins a remedy. Without one a message is a heading.
VERBS = re.compile(
    r"""\b(
    is|are|was|were|am|be|been|has|have|had|does|do|did|can|cannot|could|may|might|must|shall|should
    |will|would|needs?|gives?|takes?|makes?|says?|runs?|ran|ends?|ended|begins?|began|goes|went|gone
    |comes?|came|keeps?|kept|holds?|held|names?|reads?|wrote|writes?|prints?|reports?|returns?|expects?
    |expected|got|gets?|uses?|used|failed|fails?|exists?|lacks?|knows?|allows?|allowed|refuses?|refused
    |changed|changes|found|finds?|lost|loses?|left|leaves?|stopped|stops?|started|starts?|answered
    |answers?|reached|reaches|contains?|belongs?|supports?|accepts?|shows?|sent|sends?|set|sets|broke
    |breaks|replaced|replaces|remains?|stays?|stayed|moved|moves|depends?|waits?|waited|closed|died
    |vanished|disappeared|repeats?|differs?|exceeds?|produced|measured|counts?|counted|opens?|opened
    |points?|leads?|applies|works?|worked|gave|took|made|means?|asks?|asked|owns?|loads?|loaded|happened
    |run|give|name|install|use|try|wait|check|look|choose|remove|add|leave|write|read|start|stop|see
    |log|make|raise|ask|apply|free|move|copy|put|keep|undo|repeat|record|free|set
    )(n't)?\b""",
    re.VERBOSE | re.IGNORECASE,
)
# What stands in front of a message that opens with one is nothing: only a name may be small.
ORDINARY = re.compile(
    r"(a|an|the|no|not|it|its|this|that|these|of|is|are|was|only|neither|what|who|there|one|all"
    r"|cannot|could|must|needs|has|have|nothing|nobody|none|nowhere|too|while)\b"
)
RAISED = re.compile(r"(\w+Error|NotPossible|NodeUnreachable|NotInstalled|NoVerdict|LimitReached)$")


def parsed(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text())


def documented(tree: ast.Module) -> Iterator[tuple[str, str, bool]]:
    """Yield name, docstring and "returns a bool" of whatever in *tree* has a docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            returns = getattr(node, "returns", None)
            if text:
                yield (
                    getattr(node, "name", "the module"),
                    text,
                    returns is not None and ast.unparse(returns) in {"bool", "bool | None"},
                )


@pytest.mark.parametrize("name", FILES)
def test_docstrings_open_with_their_subject(name):
    wrong = [
        f"{owner}: {text.splitlines()[0]}"
        for owner, text, is_bool in documented(parsed(name))
        if OPENINGS.match(text) or (text.startswith("Whether ") and not is_bool)
    ]

    assert not wrong, "\n".join(wrong)


def bound(function: ast.AST) -> Iterator[str]:
    """Yield the names that *function* itself binds."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


@pytest.mark.parametrize("name", FILES)
def test_locals_of_long_functions_name_the_thing(name):
    wrong = [
        f"{node.name} (line {node.lineno}): {local}"
        for node in ast.walk(parsed(name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.body[0].lineno >= LONG
        for local in sorted(set(bound(node)) & NAMELESS)
    ]

    assert not wrong, "\n".join(wrong)


def messages(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """Yield line and text of what errors say, an X for each value, and "follows its source"."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args):
            continue
        called = ast.unparse(node.exc.func).rpartition(".")[2]
        if not RAISED.match(called) or called in {"OSError", "AssertionError", "KeyError"}:
            continue
        prefixed = called in {"ParseError", "ValueError", "DecodeError", "EOFError"}
        yield from ((node.lineno, text, prefixed) for text in literal(node.exc.args[-1]))


def literal(node: ast.expr) -> Iterator[str]:
    """Yield the texts that *node* can be; a text that is put together elsewhere is left out."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(
            part.value if isinstance(part, ast.Constant) else "X" for part in node.values
        )
    elif isinstance(node, ast.IfExp):
        yield from literal(node.body)
        yield from literal(node.orelse)


def has_a_verb(text: str) -> bool:
    """Return False for a heading: "no header of CPUs". A text of values alone is not judged."""
    return len(re.findall(r"[a-z]{2,}", text)) < 2 or bool(VERBS.search(text))


@pytest.mark.parametrize("name", FILES)
def test_messages_of_errors_have_a_verb(name):
    wrong = [
        f"line {line}: {text}" for line, text, _ in messages(parsed(name)) if not has_a_verb(text)
    ]

    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", FILES)
def test_messages_of_errors_begin_with_a_capital_or_with_the_name_of_a_thing(name):
    wrong = [
        f"line {line}: {text}"
        for line, text, prefixed in messages(parsed(name))
        if ORDINARY.match(text) and not prefixed
    ]

    assert not wrong, "\n".join(wrong)


def test_a_heading_and_a_lower_case_sentence_are_seen():
    assert not has_a_verb("no header of CPUs")
    assert has_a_verb("The header of CPUs is missing.")
    assert ORDINARY.match("the lab is not up")
    assert not ORDINARY.match("load.rate is negative")


def commands(command: click.Command, name: str = "dirtune") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        with click.Context(command, **main.context_settings) as context:
            for word in command.list_commands(context):
                below = command.get_command(context, word)
                assert below is not None
                yield from commands(below, f"{name} {word}")


COMMANDS = dict(commands(main))
GENERIC = {"TEXT", "INTEGER", "FLOAT", "PATH", "FILENAME", "VALUE", "STRING", "N"}


@pytest.mark.parametrize("name", COMMANDS)
def test_options_say_what_their_value_is(name):
    command = COMMANDS[name]
    with click.Context(command, **main.context_settings) as context:
        wrong = [
            f"{option.opts[-1]} {option.make_metavar(context)}"
            for option in command.params
            if isinstance(option, click.Option)
            and not option.is_flag
            and not option.hidden
            and option.make_metavar(context) in GENERIC
        ]

    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_opens_with_its_subject(name):
    command = COMMANDS[name]
    helps = [command.help or ""] + [
        option.help or "" for option in command.params if isinstance(option, click.Option)
    ]

    assert not [text for text in helps if OPENINGS.match(text)]
    assert not [text for text in helps[1:] if not text]
    assert not [text for text in helps if text and not re.match(r"[A-Z0-9\"`]", text)]
