"""Small files of one value each, as /sys is made of them."""

from dirtune.errors import ParseError, SourceMissing, SourceRefused
from dirtune.host import Host

_DIGITS = 20


def text_in(host: Host, path: str) -> str | None:
    """Return a file's text without the blanks around it; None if it is absent or refused."""
    try:
        return host.read(path).strip()
    except (SourceMissing, SourceRefused):
        return None


def texts_in(host: Host, pattern: str) -> dict[str, str]:
    """Return the texts of the files that match *pattern*, by path.

    What went away since it was listed, or is refused, is left out.
    """
    found = ((path, text_in(host, path)) for path in host.glob(pattern))
    return {path: text for path, text in found if text is not None}


def number_in(host: Host, path: str, base: int = 10) -> int | None:
    """Return the number a file holds; None if it is absent, refused or empty."""
    text = text_in(host, path)
    if not text:
        return None
    try:
        return int(text, base)
    except ValueError as error:
        raise ParseError(path, f"{text[:60]!r} is not a number") from error


def whole_numbers(text: str) -> tuple[int, ...]:
    """Return the words of *text* that are numbers of at most 64 bits, as the kernel's are."""
    words = (word for word in text.split() if word.isdecimal() and len(word) <= _DIGITS)
    return tuple(map(int, words))


def link_of(host: Host, path: str) -> str:
    """Return the target of a link; empty if there is no such link."""
    try:
        return host.link(path)
    except SourceMissing:
        return ""
