"""The lines of a keepalived.conf as keepalived's parser sees them, with their places. Pure.

A line has no comments, its definitions are replaced, and each brace outside quotes is a line of
its own. The rules are those of read_line() in lib/parser.c (keepalived 2.2.7): includes,
conditional lines, definitions, ~SEQ and ~LST. Files come only from the reader that is passed in.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from dirtune.errors import ParseError, SourceMissing, SourceRefused
from dirtune.keepalived.texts import brace, braced, c_number
from dirtune.keepalived.texts import sets as lists

MOST_LINES = 1_000_000
"""Limit of the lines of a configuration, those that ~SEQ and ~LST make included. 40,000 real
servers with a health check each have 400,000 to 700,000."""
_MOST_TEXT = 64 << 20
"""Limit in characters of all files together; a file that is included twice counts twice."""
_DEEPEST = 64
"""Limit of includes within includes."""
_MOST_REPLACEMENTS = 1000
"""Limit of the replacements in one line, and of the lines that are read later."""
_MOST_USES = 2_000_000
"""Limit of the definitions that all lines together use."""
_MOST_PATTERNS = 5_000
"""Limit of the patterns of files in all includes together."""
_MOST_PROBLEMS = 1000
_LONGEST = 1023
"""Length at which keepalived cuts a line (MAXBUF of lib/parser.h)."""
_EXECUTABLE = 0o111
_COMMENT = re.compile(r'[!#"\\]')
_DEFINITION = re.compile(r"\$([A-Za-z_]\w*)=[ \t]*(.*)", re.ASCII | re.DOTALL)
_USE = re.compile(r"\$(?:\{([A-Za-z_]\w*)([ 0-9]*)\}|([A-Za-z_]\w*)(?=[ \t,)]|$))", re.ASCII)
_CONDITION = re.compile(r"@(\^?)([^ \t]*)[ \t]+(.*)", re.DOTALL)
_INCLUDE = re.compile(r"include([rmwba]?)\s+(.*)", re.DOTALL)
_SEQ = re.compile(r"~SEQ(x?)[ \t]*\([ \t]*([^ \t,)]+)[ \t]*,([^)]*)\)[ \t]*(.*)", re.DOTALL)
_LST = re.compile(r"~LST[ \t]*\(([^)]*)\)[ \t]*(.*)", re.DOTALL)
_NUMBER = re.compile(r"[ \t]*([+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+))[ \t]*")
_MOST_DIGITS = 19


class Place(NamedTuple):
    """A line of a file."""

    file: str
    line: int
    """Number of the line, from 1."""

    def __str__(self) -> str:
        """Return the place for a message."""
        return f"{self.file}: line {self.line}"


class Problem(NamedTuple):
    """A complaint of keepalived about its configuration, which keepalived reads all the same."""

    place: Place
    why: str


class Files(Protocol):
    """The files that a configuration may include. `Host` is one."""

    def read(self, path: str) -> str:
        """Return the text of *path*. Raises `SourceMissing` or `SourceRefused`."""
        ...

    def glob(self, pattern: str) -> tuple[str, ...]:
        """Return the absolute paths that match *pattern*, sorted."""
        ...

    def mode(self, path: str) -> int | None:
        """Return the permission bits of *path*; None if unknown."""
        ...


@dataclass(slots=True)
class _Open:
    path: str
    line: int = 0


class Source:
    """The lines of one configuration."""

    def __init__(self, files: Files, path: str, config_id: str | None) -> None:
        """Read *path* and what it includes from *files*; lines with @ are for *config_id*."""
        self.problems: list[Problem] = []
        self.paths: list[str] = []
        """The files that were read."""
        self._files = files
        self._id = config_id
        self._definitions = {"_HASH": "#", "_BANG": "!", "_INSTANCE": config_id or ""}
        self._many: dict[str, list[str]] = {}
        """Lines of the definitions with several lines, by name."""
        self._open: list[_Open] = []
        self._last = Place(path, 1)
        self._stack: list[Iterator[str]] = [self._file(path)]
        self._depth = 0
        self._lines = self._uses = self._patterns = 0
        self._text = 0

    @property
    def place(self) -> Place:
        """The place of the line that was read last."""
        if not self._open:
            return self._last
        return Place(self._open[-1].path, self._open[-1].line)

    def problem(self, why: str) -> None:
        """Add a problem at this place. Raises `ParseError` if there are more than 1,000."""
        self.problems.append(Problem(self.place, why))
        if len(self.problems) > _MOST_PROBLEMS:
            self._refuse(f"there are {_MOST_PROBLEMS} problems, so this is not a keepalived.conf")

    def lines(self) -> Iterator[str]:
        """Yield the lines. Raises `ParseError` if a limit is exceeded or a file is binary."""
        while (raw := self._next()) is not None:
            text = self._processed(raw) if raw else ""
            if not text:
                continue
            text = self._first_part(text)
            if text == "{":
                self._depth += 1
            elif text == "}":
                self._depth -= 1
                if self._depth < 0:
                    self.problem("Extra '}'")
                    self._depth = 0
            yield text
        if self._depth:
            self.problem(f"The configuration ends within {self._depth} blocks: '}}' is missing")

    def _next(self) -> str | None:
        while self._stack:
            text = next(self._stack[-1], None)
            if text is not None:
                self._lines += 1
                if self._lines > MOST_LINES:
                    self._refuse(f"the configuration has more than {MOST_LINES} lines")
                return text
            self._stack.pop()
        return None

    def _refuse(self, why: str) -> None:
        raise ParseError(str(self.place), why)

    def _processed(self, text: str) -> str:
        """Return *text* as a line of the grammar, or nothing if it is used up here."""
        for _ in range(_MOST_REPLACEMENTS):
            if text[0] in "@$~" and not (text := self._used(text)):
                return ""
            if text[0] == "~" or "$" not in text:
                break
            replaced = self._replaced(text)
            if replaced is None:
                break
            text = self._decommented(replaced)
            if not text:
                return ""
        else:
            self._refuse("a definition contains itself")
        if text.startswith("include") and (match := _INCLUDE.fullmatch(text)):
            self._include(match[2].strip(), strict=bool(match[1]))
            return ""
        return text

    def _used(self, text: str) -> str:
        """Return what is left of *text* without its condition, definition or repetition."""
        if text[0] == "@" and not (text := self._chosen(text)):
            return ""
        if text[0] == "$" and (match := _DEFINITION.fullmatch(text)):
            self._define(match[1], match[2])
            return ""
        if text.startswith(("~SEQ", "~LST")):
            self._repeat(text)
            return ""
        return text

    def _first_part(self, text: str) -> str:
        """Return *text* up to its first brace, and put the rest back as the next line."""
        if "{" not in text and "}" not in text:
            return text.rstrip(" \t")
        at = 0
        if text[0] not in "{}":
            at = brace(text)
            if at < 0:
                return text.rstrip(" \t")
        rest = text[at:] if at else text[1:].lstrip(" \t")
        if rest:
            self._stack.append(iter((rest.rstrip(" \t"),)))
        return text[:at].rstrip(" \t") if at else text[0]

    def _chosen(self, text: str) -> str:
        match = _CONDITION.fullmatch(text)
        if not match or (match[2] == self._id) == bool(match[1]):
            return ""
        return match[3]

    def _define(self, name: str, value: str) -> None:
        self._many.pop(name, None)
        self._definitions.pop(name, None)
        if not value.endswith("\\"):
            self._definitions[name] = value
            return
        rows = [value[:-1].rstrip(" \t")]
        while row := self._next():
            more = row.endswith("\\")
            rows.append(row[:-1].rstrip(" \t") if more else row)
            if not more:
                break
        self._many[name] = [row for row in rows if row]

    def _replaced(self, text: str) -> str | None:
        """Return *text* with its definitions replaced; None if it has none that are known."""
        at, changes = 0, 0
        while match := _USE.search(text, at):
            value = self._value(match, whole=match.end() == len(text))
            if value is None:
                at = match.start() + 1
                continue
            at = match.start()
            changes += 1
            self._uses += 1
            if self._uses > _MOST_USES:
                self._refuse(f"the lines use definitions more than {_MOST_USES:,} times")
            if changes > _MOST_REPLACEMENTS:
                self._refuse("a definition contains itself")
            if at + len(value) + len(text) - match.end() > _LONGEST:
                self.problem(f"The line is longer than {_LONGEST} characters")
                return None
            text = f"{text[:at]}{value}{text[match.end() :]}"
            if value.lstrip(" \t").startswith("~"):
                break
        return text if changes else None

    def _value(self, match: re.Match[str], *, whole: bool) -> str | None:
        name = match[1] or match[3]
        if name == "_RANDOM" and name not in self._definitions:
            # keepalived draws the number when it starts; the lowest one stands for it here.
            return next(iter((match[2] or "").split()), "0")
        if (match[2] or "").strip():
            return None
        if name == "_PWD" and name not in self._definitions:
            return self.place.file.rpartition("/")[0] or "/"
        if name in self._definitions:
            return self._definitions[name]
        if not whole or name not in self._many:
            return None
        first, *rest = self._many[name] or [""]
        self._push(iter(rest))
        return first

    def _push(self, lines: Iterator[str]) -> None:
        self._stack.append(lines)
        if len(self._stack) > _MOST_REPLACEMENTS:
            self._refuse("a definition or an include contains itself")

    def _repeat(self, text: str) -> None:
        if match := _SEQ.fullmatch(text):
            numbers = self._numbers(match[3])
            if numbers:
                self._push(self._sequence(match[2], numbers, match[4], "x" if match[1] else "d"))
                return
        elif match := _LST.fullmatch(text):
            sets = lists(match[1])
            if len(sets) > 1 and all(len(row) <= len(sets[0]) for row in sets):
                self._push(self._list(sets, match[2]))
                return
        self.problem(f"The {text[:4]} is invalid")

    def _numbers(self, text: str) -> range | None:
        parts = [_NUMBER.fullmatch(part) for part in (self._replaced(text) or text).split(",")]
        if any(part is None or len(part[1]) > _MOST_DIGITS for part in parts):
            return None
        values = [c_number(part[1]) for part in parts if part]
        match values:
            case [end]:
                start, step = (-1, -1) if end < 0 else (1, -1 if end < 1 else 1)
            case [start, end]:
                step = 1 if start <= end else -1
            case [start, step, end] if step and (end - start) * step >= 0:
                pass
            case _:
                return None
        return range(start, end + (1 if step > 0 else -1), step)

    def _sequence(self, name: str, numbers: range, text: str, form: str) -> Iterator[str]:
        for number in numbers:
            self._definitions[name] = format(number, form)
            yield text

    def _list(self, sets: list[list[str]], text: str) -> Iterator[str]:
        names, *rows = sets
        for row in rows:
            self._definitions |= dict(zip(names, [*row, *[""] * len(names)], strict=False))
            yield text

    def _include(self, pattern: str, *, strict: bool) -> None:
        folder = self.place.file.rpartition("/")[0]
        if not pattern.startswith("/"):
            pattern = f"{folder}/{pattern}"
        patterns = braced(pattern)
        self._patterns += len(patterns)
        if self._patterns > _MOST_PATTERNS:
            self._refuse(f"the includes name more than {_MOST_PATTERNS:,} patterns of files")
        paths = [p for plain in patterns for p in sorted(self._files.glob(plain))]
        if not paths and strict:
            self.problem("No file matches the include")
        frames = [self._file(path, strict=strict) for path in paths]
        if len(self._open) > _DEEPEST or len(paths) > MOST_LINES:
            self._refuse(f"there are more than {_DEEPEST} includes within includes")
        for frame in reversed(frames):
            self._push(frame)

    def _file(self, path: str, *, strict: bool = True) -> Iterator[str]:
        text = self._content(path, strict=strict)
        if text is None:
            return
        if any(file.path == path for file in self._open):
            self._refuse(f"{path} includes itself")
        self._open.append(_Open(path))
        self.paths.append(path)
        here = self._open[-1]
        for whole in text.split("\n"):
            here.line += 1
            row = whole.rstrip("\r")
            if not row:
                yield ""
                continue
            for start in range(0, len(row), _LONGEST):
                cut = row[start : start + _LONGEST]
                part = self._decommented(cut)
                if "\\" in cut:  # keepalived's children read what its parent has written
                    part = self._decommented(part)
                if part:
                    yield part
        self._last = Place(path, here.line)
        self._open.pop()

    def _content(self, path: str, *, strict: bool) -> str | None:
        try:
            text = self._files.read(path)
            mode = self._files.mode(path)
        except (SourceMissing, SourceRefused) as error:
            if not self._open:
                raise
            if strict:
                self.problem(str(error))
            return None
        if (mode or 0) & _EXECUTABLE:
            if strict:
                self.problem(f"{path} is executable, so keepalived does not read it")
            return None
        self._text += len(text)
        if self._text > _MOST_TEXT:
            self._refuse(f"the files have more than {_MOST_TEXT >> 20} MiB")
        if "\0" in text:
            raise ParseError(path, "this is a binary file, not a keepalived.conf")
        return text

    def _decommented(self, text: str) -> str:
        """Return *text* without comment, and without blanks at both ends."""
        text = text.strip(" \t")
        if not _COMMENT.search(text):
            return text
        parts: list[str] = []
        quoted, cut, at = False, None, 0
        for match in _COMMENT.finditer(text):
            start = match.start()
            if start < at:
                continue
            mark, after = match[0], text[start + 1 : start + 2]
            if mark == '"':
                quoted = quoted != (cut is None)
            elif mark == "\\":
                if not after:
                    body = "".join(parts) + text[at:start] if cut is None else cut
                    return body.rstrip(" \t") + "\\"
                parts.append(text[at:start])
                parts.append(after if not quoted and after in "#!" else mark + after)
                at = start + 2
            elif not quoted and cut is None:
                cut = "".join(parts) + text[at:start]
        if quoted:
            self.problem("A quote is not closed")
        return ("".join(parts) + text[at:] if cut is None else cut).rstrip(" \t")
