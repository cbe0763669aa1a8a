"""Decode texts from untrusted sources, or refuse them with an error that callers expect. Pure.

The plain decoders are not safe. msgspec raises RecursionError for deep nesting. tomllib does so as
well, raises a plain ValueError for a number with thousands of digits, and stores every prefix of a
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
_NESTED = "the text is nested too deeply"
_LARGEST_TOML = 1 << 20
"""Limit in characters. A plan with 10,000 destinations takes two thirds; programs write JSON."""
_LONGEST_KEY = 16
"""Limit of the parts of a dotted key; dirtune's own keys have four parts at most."""
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
    """Turn exceptions from malformed numbers, rows and names into a `ParseError` about *source*.

    *more* are further types of exceptions to turn. Use this around the body of a parser or as its
    decorator, but not as the decorator of a generator, whose body runs later.
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
    """Decode *text* as *kind*. Raises `msgspec.DecodeError` if *text* is not of this kind.

    A kind with a field `schema` is one of dirtune's documents. If another version wrote the
    document, the error says so, instead of naming a wrong field.
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

    Raises `msgspec.DecodeError` if *text* is not a document at all.
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
    """Return the schema that documents of *kind* have; None if *kind* is not a document type."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return None
    if "schema" not in kind.__struct_fields__:
        return None
    field = next(field for field in msgspec.structs.fields(kind) if field.name == "schema")
    return str(next(iter(get_args(field.type)), field.default))


def from_toml(text: str) -> dict[str, object]:
    """Decode *text*. Raises `PlanError` if it is not TOML or is too large."""
    import tomllib  # noqa: PLC0415  (a plan in JSON, which a program made, needs it not)

    if len(text) > _LARGEST_TOML:
        raise PlanError(f"The text is longer than {_LARGEST_TOML >> 20} MiB.")
    if long := _LONG_KEY.search(text):
        line = text.count("\n", 0, long.start()) + 1
        raise PlanError(f"The dotted key at line {line} has more than {_LONGEST_KEY} parts.")
    if sum(key[0].count(".") + 1 for key in _NAMED_BY_PARTS.finditer(text)) > _MOST_PARTS:
        raise PlanError(
            f"The names of all tables and dotted keys have more than {_MOST_PARTS} parts together."
        )
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise PlanError("The text is nested too deeply for TOML.") from error
    except ValueError as error:  # TOMLDecodeError, and what int() and datetime raise
        raise PlanError(f"The text is not TOML: {error}") from error
