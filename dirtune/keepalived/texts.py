"""Texts within one line of keepalived.conf(5): braces, lists, numbers and words. Pure."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice

_MOST_PATTERNS = 1000
_SET = re.compile(r"[ \t]*(?:\{([^{}]*)\}|([^{},]*))[ \t]*(?:,|$)")
_BRACE = re.compile(r'[{}"]')


def braced(pattern: str) -> list[str]:
    """Return the patterns that the csh braces of *pattern* stand for, at most 1,000."""
    return list(islice(_braced(pattern), _MOST_PATTERNS))


def _braced(pattern: str) -> Iterator[str]:
    """Yield the patterns one by one: 40 pairs of braces may stand for 2^40."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if not match:
        yield pattern
        return
    for choice in match[1].split(","):
        yield from _braced(f"{pattern[: match.start()]}{choice}{pattern[match.end() :]}")


def brace(text: str) -> int:
    """Return the position of the first brace outside quotes, or -1."""
    at = 0
    while match := _BRACE.search(text, at):
        if match[0] != '"':
            return match.start()
        at = text.find('"', match.end()) + 1
        if not at:
            return -1
    return -1


def sets(text: str) -> list[list[str]]:
    """Return the sets of names or values of a ~LST."""
    results = []
    at = 0
    while at <= len(text) and (match := _SET.match(text, at)):
        inner = match[1] if match[1] is not None else match[2]
        results.append([word.strip(" \t") for word in inner.split(",")])
        if match.end() == at or match.end() >= len(text):
            break
        at = match.end()
    return results


def c_number(text: str) -> int:
    """Return a number as strtol(3) reads it with base 0."""
    digits = text.lstrip("+-")
    if digits[:2] in {"0x", "0X"}:
        value = int(digits, 16)
    elif digits.startswith("0") and set(digits) <= set("01234567"):
        value = int(digits, 8)
    else:
        value = int(digits)
    return -value if text.startswith("-") else value


def split(text: str) -> Sequence[str]:
    """Return the words of a line; words in double quotes lose them."""
    if '"' not in text:
        return text.split()
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"?|([^\s"]+)', text)]
