"""Small files that hold one value each, such as those of /sys."""

import re
from collections.abc import Sequence

from dirtune.cpu_sets import parse_cpulist
from dirtune.errors import ParseError, SourceMissing, SourceRefused
from dirtune.host import Host

DIGITS = 20
"""The digits of the largest number of 64 bits."""
_DECIMAL = re.compile(rf"-?[0-9]{{1,{DIGITS}}}")
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{1,16}")


def text_in(host: Host, path: str) -> str | None:
    """Return the stripped text of a file; None if the file is absent or may not be read."""
    try:
        return host.read(path).strip()
    except (SourceMissing, SourceRefused):
        return None


def texts_in(host: Host, pattern: str) -> dict[str, str]:
    """Return the texts of the files that match *pattern*, by path.

    The result lacks files that vanished after they were listed, or that may not be read.
    """
    found = ((path, text_in(host, path)) for path in host.glob(pattern))
    return {path: text for path, text in found if text is not None}


def cpulist_in(host: Host, path: str) -> tuple[int, ...] | None:
    """Return the CPUs in a file; None if the file is absent or may not be read."""
    text = text_in(host, path)
    return None if text is None else parse_cpulist(text)


def number_in(host: Host, path: str, base: int = 10) -> int | None:
    """Return the number in a file; None if the file is absent, empty or may not be read."""
    text = text_in(host, path)
    if not text:
        return None
    try:
        return hexadecimal(text.removeprefix("0x")) if base == 16 else decimal(text)
    except ValueError as error:
        raise ParseError(path, f"{text[:60]!r} is not a number") from error


def hexadecimal(text: str) -> int:
    """Return the number that *text* writes with 1 to 16 hexadecimal digits (64 bits).

    Raises `ValueError` for anything else. int() would also take a sign, `0x`, `_`, and so many
    digits that no float holds the number.
    """
    if not _HEXADECIMAL.fullmatch(text):
        raise ValueError(f"{text[:60]!r} is not a hexadecimal number of 64 bits")
    return int(text, 16)


def decimal(text: str) -> int:
    """Return the number that *text* writes with 1 to 20 digits (64 bits), perhaps after a minus.

    Raises `ValueError` for anything else.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text[:60]!r} is not a number of 64 bits")
    return int(text)


def all_whole(cells: Sequence[str]) -> bool:
    """Whether every one of *cells* is a number of at most 20 digits (64 bits) without a sign."""
    return "".join(cells).isdecimal() and max(map(len, cells)) <= DIGITS


def whole_numbers(text: str) -> tuple[int, ...]:
    """Return the numbers among the words of *text*; a number has at most 20 digits (64 bits)."""
    words = (word for word in text.split() if word.isdecimal() and len(word) <= DIGITS)
    return tuple(map(int, words))


def link_of(host: Host, path: str) -> str:
    """Return the target of a link; an empty string if the link does not exist."""
    try:
        return host.link(path)
    except SourceMissing:
        return ""
