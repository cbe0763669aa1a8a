"""Decode JSON and TOML from untrusted sources within limits. Pure.

The plain decoders are not safe. msgspec and tomllib raise RecursionError for deep nesting. tomllib
also raises a plain ValueError for a number with thousands of digits, and stores every prefix of a
dotted key, so that 120 kB of text can take 3 GB of memory.
"""

import re
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar, get_args

import msgspec

from dirtune import __version__
from dirtune.errors import ParseError, PlanError

_T = TypeVar("_T")
_SHOWN = 120
_MOST_DIGITS = 200
"""Largest number of digits in a row; an integer of 309 digits fits into no float."""
_LONG_NUMBER = re.compile(
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|(?P<number>\d{%d})' % (_MOST_DIGITS + 1), re.DOTALL
)
_AS_ZERO = bytes(ord("0") if chr(byte).isdecimal() else byte for byte in range(256))
_TOO_LARGE = "a number has more digits than any number of the kernel"
_NESTED = "the text is nested too deeply"
LARGEST_TOML = 1 << 20
"""Size limit of a TOML text, in characters. A plan with 10,000 destinations needs two thirds of
this; larger plans can be written as JSON."""
_LONGEST_KEY = 16
"""Largest number of parts in a dotted key; the keys of dirtune have four parts at most."""
_PART = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
# Matches where a key may begin, but never inside a word, so that each key is examined once.
_LONG_KEY = re.compile(
    rf"(?:^|[\[{{,])[ \t]*+{_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{_LONGEST_KEY}}}", re.MULTILINE
)
_MOST_PARTS = 1 << 16
"""Largest number of parts in all table headers and dotted keys together. A plan with 10,000
destinations has 20,000 parts, and tomllib needs about 1 kB for each part."""
_NAMED_BY_PARTS = re.compile(
    rf"^[ \t]*+\[{{1,2}}[ \t]*+{_PART}(?:[ \t]*+\.[ \t]*+{_PART})*+"
    rf"|(?:^|[{{,])[ \t]*+{_PART}(?:[ \t]*+\.[ \t]*+{_PART})++",
    re.MULTILINE,
)


class _Head(msgspec.Struct):
    schema: str
    version: str = ""


@contextmanager
def parsing(source: str, *more: type[Exception]) -> Iterator[None]:
    """Turn exceptions that a malformed text causes in a parser into a `ParseError` about *source*.

    *more* are further types of exceptions to turn. Use this as a context in a parser, or as its
    decorator, but not as the decorator of a generator, because the body of a generator runs later.
    """
    kinds: tuple[type[Exception], ...] = (ArithmeticError, LookupError, struct.error, ValueError)
    try:
        yield
    except (*kinds, *more) as error:
        raise ParseError(source, f"The text has an unknown form: {_problem(error)}") from error


def _problem(error: Exception) -> str:
    text = str(error)
    if "set_int_max_str_digits" in text:  # advice that Python gives to programmers
        return _TOO_LARGE
    return text[:_SHOWN]


def from_json(text: bytes | str, kind: type[_T]) -> _T:
    """Decode the JSON *text* as a value of the type *kind*.

    Raises `msgspec.DecodeError` if *text* is not of this type. If *kind* is a dirtune document (it
    has a field `schema`) and another version of dirtune wrote *text*, the error says so.
    """
    try:
        if (schema := _schema(kind)) and (problem := foreign(text, (schema,))):
            raise msgspec.ValidationError(problem)
        if _has_long_number(text):
            raise msgspec.DecodeError(_TOO_LARGE)
        return msgspec.json.decode(text, type=kind)
    except RecursionError as error:
        raise msgspec.DecodeError(_NESTED) from error
    except (
        UnicodeEncodeError
    ) as error:  # the text contains a lone surrogate, which UTF-8 cannot express
        raise msgspec.DecodeError("The text is not UTF-8.") from error


def _has_long_number(text: bytes | str) -> bool:
    raw = text.encode() if isinstance(text, str) else text
    if b"0" * (_MOST_DIGITS + 1) not in raw.translate(_AS_ZERO):
        return False  # nearly every text; the search for strings takes a hundred times as long
    return any(match["number"] for match in _LONG_NUMBER.finditer(raw))


def foreign(text: bytes | str, known: Collection[str]) -> str | None:
    """Return why this version of dirtune cannot read the document *text*; None if it can.

    dirtune can read a document whose schema is one of *known*. Raises `msgspec.DecodeError` if
    *text* is not a document of dirtune.
    """
    head = msgspec.json.decode(text, type=_Head)
    if head.schema in known:
        return None
    writer = f"dirtune {head.version}" if head.version else "another version of dirtune"
    return (
        f"the document has the schema {head.schema[:60]}, written by {writer[:60]}; "
        f"dirtune {__version__} reads {' and '.join(known)}. Use the version that wrote it."
    )


def _schema(kind: type) -> str | None:
    """Return the name of the schema of *kind*; None if *kind* is not a dirtune document."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return None
    if "schema" not in kind.__struct_fields__:
        return None
    field = next(field for field in msgspec.structs.fields(kind) if field.name == "schema")
    return str(next(iter(get_args(field.type)), field.default))


def from_toml(text: str) -> dict[str, object]:
    """Decode the TOML *text*.

    Raises `PlanError` if *text* is not TOML, or if it is too large.
    """
    import tomllib  # noqa: PLC0415  (a plan in JSON does not need it)

    if len(text) > LARGEST_TOML:
        raise PlanError(
            f"The text is longer than {LARGEST_TOML >> 20} MiB. Write larger plans as JSON, with "
            "the same keys, in a file whose name ends in .json."
        )
    if long := _LONG_KEY.search(text):
        line = text.count("\n", 0, long.start()) + 1
        raise PlanError(f"The dotted key at line {line} has more than {_LONGEST_KEY} parts.")
    if sum(key[0].count(".") + 1 for key in _NAMED_BY_PARTS.finditer(text)) > _MOST_PARTS:
        raise PlanError(
            f"The names of tables and dotted keys have more than {_MOST_PARTS} parts in total."
        )
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise PlanError("The text is nested too deeply for TOML.") from error
    except ValueError as error:  # TOMLDecodeError, and the ValueError of int() and datetime
        raise PlanError(f"The text is not TOML: {error}") from error
