"""Texts to begin with, and ways to break them. A given seed gives the same inputs again."""

import ast
import random
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent.parent
_RECORDED = (
    TESTS,
    TESTS.parent.parent / "shared" / "fixtures",
    TESTS.parent.parent / "shared/data",
)
_LARGEST = 64 << 10
_LONGEST_SEED = 8 << 10
# What breaks readers: limits of int() and of C's types, signs, digits that are none of ASCII.
NUMBERS = (
    *("0", "-1", "1", "2147483648", "4294967295", "18446744073709551616", "9" * 5000),
    *("-" + "9" * 40, "0x10", "1e999", "nan", "-inf", "٣", "²", "1_000", "f" * 24, "08"),
    *("0-99999999999", "65535", "99999", "1" * 300, "255.255.255.256", "0.0", "::1", "a:b:c"),
    *("1.2.3", "0-65535"),
)
WORDS = (
    *("\0", "\x1b[2J", "\u2028", "\r", "\\", '"', "'", "[", "]", "{", "}", "(", ")", ":", "="),
    *(
        ",",
        "->",
        "CPU0",
        "persistent",
        "scope",
        "peer",
        "unlimited",
        "kB",
        "/",
        "*",
        "%",
        "-",
        "@",
    ),
    *("\t", "\ud800", "\U0001f600", "x" * 4096, "[" * 3000, '{"a":' * 3000, "a." * 3000),
    *(" " * 5000, ""),
)
_NUMBER = re.compile(r"[0-9a-fA-F]*\d[0-9a-fA-F]*")
_TOKEN = re.compile(r"\S+")


@cache
def seeds() -> tuple[str, ...]:
    """Return every recorded text that is at hand, and every text of a few lines in the tests."""
    found = {""}
    for folder in _RECORDED:
        for path in sorted(folder.rglob("*.txt")) if folder.is_dir() else ():
            found.add(path.read_bytes()[:_LONGEST_SEED].decode("utf-8", "backslashreplace"))
    for path in sorted(TESTS.rglob("*.py")):
        if path.parent != Path(__file__).parent:
            found |= set(_strings(ast.parse(path.read_text(encoding="utf-8"))))
    return tuple(sorted(found))


@cache
def files() -> tuple[tuple[str, str], ...]:
    """Return every file of a host that stands in the tests, as its path and its text."""
    found = {
        (key.value, value.value)
        for path in sorted(TESTS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
        if isinstance(key.value, str) and isinstance(value.value, str) and key.value[:1] == "/"
    }
    return tuple(sorted(found))


def _strings(tree: ast.AST) -> list[str]:
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [text[:_LONGEST_SEED] for text in texts if isinstance(text, str) and "\n" in text]


def mutated(text: str, chance: random.Random) -> str:
    """Return *text* with a few of its parts broken."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        text = chance.choice(_WAYS)(text, chance)[:_LARGEST]
    return text


def _other_number(text: str, chance: random.Random) -> str:
    return _replaced(_NUMBER, text, chance, chance.choice(NUMBERS))


def _other_word(text: str, chance: random.Random) -> str:
    return _replaced(_TOKEN, text, chance, chance.choice((*NUMBERS, *WORDS)))


def _replaced(what: re.Pattern[str], text: str, chance: random.Random, by: str) -> str:
    places = [match.span() for match in what.finditer(text)]
    if not places:
        return text + by
    begin, end = chance.choice(places)
    return text[:begin] + by + text[end:]


def _inserted(text: str, chance: random.Random) -> str:
    at = chance.randint(0, len(text))
    return (
        text[:at] + chance.choice((*WORDS, *NUMBERS, chr(chance.randint(0, 0x2FFF)))) + text[at:]
    )


def _cut(text: str, chance: random.Random) -> str:
    begin, end = sorted(chance.randint(0, len(text)) for _ in range(2))
    return chance.choice((text[:begin], text[begin:], text[:begin] + text[end:]))


def _rows(text: str, chance: random.Random) -> str:
    rows = text.split("\n")
    row = chance.randrange(len(rows))
    match chance.randrange(4):
        case 0:
            del rows[row]
        case 1:
            rows.insert(row, rows[chance.randrange(len(rows))])
        case 2:
            rows[row : row + 1] = [rows[row]] * chance.choice((2, 50, 2000))
        case _:
            chance.shuffle(rows)
    return "\n".join(rows)


def _joined(text: str, chance: random.Random) -> str:
    other = chance.choice(seeds())
    return text[: chance.randint(0, len(text))] + other[chance.randint(0, len(other)) :]


_WAYS = (_other_number, _other_number, _other_word, _other_word, _inserted, _cut, _rows, _joined)
