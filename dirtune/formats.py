"""Decode texts that others wrote, or refuse them with an error that callers know. Pure.

Neither decoder is safe by itself. msgspec raises RecursionError for deep nesting; tomllib does as
well, raises a bare ValueError for a number of thousands of digits, and keeps every prefix of a
dotted key, which makes 3 GB of 120 kB.
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
_NESTED = "it is nested too deeply"
_LARGEST_TOML = 1 << 20
"""Characters; a plan of 10,000 destinations is two thirds of it, and programs write JSON."""
_LONGEST_KEY = 16
"""Parts of a dotted key; dirtune's own have four at most."""
_PART = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
# Where a key may begin; never inside a word, so that each is looked at once.
_LONG_KEY = re.compile(
    rf"(?:^|[\[{{,])[ \t]*+{_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{_LONGEST_KEY}}}", re.MULTILINE
)
_MOST_PARTS = 1 << 16
"""Limit of the parts of all table headers and dotted keys: 10,000 destinations have 20,000, and
tomllib keeps about 1 kB for each."""
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
    """Make a `ParseError` about *source* of what numbers, rows and names that do not fit raise.

    Of *more* as well. It stands around the body of a parser, or is its decorator (not that of a
    generator, which runs later).
    """
    kinds: tuple[type[Exception], ...] = (ArithmeticError, LookupError, struct.error, ValueError)
    try:
        yield
    except (*kinds, *more) as error:
        raise ParseError(source, f"The text has an unknown form: {_problem(error)}") from error


def _problem(error: Exception) -> str:
    text = str(error)
    if "set_int_max_str_digits" in text:  # advice for programmers of Python
        return "a number has more digits than any number of the kernel"
    return text[:_SHOWN]


def from_json(text: bytes | str, kind: type[_T]) -> _T:
    """Decode *text* as *kind*; `msgspec.DecodeError` if it is not one.

    A kind that has a `schema` is one of dirtune's documents: another version's says so, and is
    not taken for a wrong one.
    """
    try:
        if (schema := _schema(kind)) and (problem := foreign(text, (schema,))):
            raise msgspec.ValidationError(problem)
        return msgspec.json.decode(text, type=kind)
    except RecursionError as error:
        raise msgspec.DecodeError(_NESTED) from error
    except UnicodeEncodeError as error:  # a lone surrogate, which no bytes of UTF-8 give
        raise msgspec.DecodeError("The text is not UTF-8.") from error


def foreign(text: bytes | str, known: Collection[str]) -> str | None:
    """Return why this dirtune cannot read *text*; None if its schema is one of the *known*.

    `msgspec.DecodeError` if it is no document at all.
    """
    head = msgspec.json.decode(text, type=_Head)
    if head.schema in known:
        return None
    writer = f"dirtune {head.version}" if head.version else "another version of dirtune"
    return (
        f"has the schema {head.schema[:60]}, written by {writer[:60]}; dirtune {__version__} "
        f"reads {' and '.join(known)}. Use the version that wrote it."
    )


def _schema(kind: type) -> str | None:
    """Return the schema that documents of *kind* have; None if *kind* is no document."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return None
    if "schema" not in kind.__struct_fields__:
        return None
    field = next(field for field in msgspec.structs.fields(kind) if field.name == "schema")
    return str(next(iter(get_args(field.type)), field.default))


def from_toml(text: str) -> dict[str, object]:
    """Decode *text*; `PlanError` if it is not TOML, or too large."""
    import tomllib  # noqa: PLC0415  (a plan in JSON, which a program made, needs it not)

    if len(text) > _LARGEST_TOML:
        raise PlanError(f"The text is longer than {_LARGEST_TOML >> 20} MiB.")
    if long := _LONG_KEY.search(text):
        line = text.count("\n", 0, long.start()) + 1
        raise PlanError(f"The dotted key at line {line} has more than {_LONGEST_KEY} parts.")
    if sum(key[0].count(".") + 1 for key in _NAMED_BY_PARTS.finditer(text)) > _MOST_PARTS:
        raise PlanError(
            f"The names of its tables and dotted keys have more than {_MOST_PARTS} parts in all."
        )
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise PlanError(f"The text is not TOML: {_NESTED}.") from error
    except ValueError as error:  # TOMLDecodeError, and what int() and datetime raise
        raise PlanError(f"The text is not TOML: {error}") from error
