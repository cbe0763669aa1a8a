"""Fold text that is wider than the terminal: the cells of tables, and sentences at spaces."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

_GLYPH = re.compile(r"(?:\x1b\[[\d;]*m)*[^\x1b](?:\x1b\[0m)*")
"""One character with the colours that begin before it or end after it."""
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_SPAN = re.compile(r"x(?:x| (?=x))*")
_QUOTED = re.compile(r"`[^`\n]*`")
_BLANK = "\0"
"""Stands for a blank inside a command, where no line may end."""
_GUTTER = 2
_COMMAND = 4
"""Lines that are no table and are indented by so many blanks are commands, which people copy."""
_LABEL = re.compile(r"\S+ {2,}(?=\S)")
_LONGEST = 1 << 20
"""A longer text is left as it is, because nobody reads it on a terminal."""


def folded(text: str, width: int) -> str:
    """Return *text* with no line longer than *width* columns, except for words and commands.

    A table's widest columns are folded. If that is not enough, the columns that do not fit follow
    in another table, with the first column before them. Other lines are folded at spaces, but not
    commands, which are indented by four blanks or stand between backticks. *text* may contain
    colours.
    """
    if len(text) > _LONGEST:
        return text
    groups = groupby(text.split("\n"), key=lambda line: bool(line.strip()))
    return "\n".join(row for _, group in groups for row in _block(tuple(group), width))


def filled(page: str, width: int) -> str:
    """Return the Markdown *page* with the lines of each paragraph filled up to *width* columns.

    Code blocks and tables are kept.
    """
    return "\n\n".join(_paragraph(block, width) for block in page.split("\n\n"))


def _paragraph(block: str, width: int) -> str:
    if block.startswith(("    ", "```", "|")):
        return block
    items = re.split(r"^(#.*)\n|\n(?=- )", block)
    return "\n".join(
        "\n".join(_wrapped(" ".join(item.split()), width, then="  " if item[0] == "-" else ""))
        for item in items
        if item
    )


def _block(lines: Sequence[str], width: int) -> Iterator[str]:
    plain = [*map(_bare, lines)]
    if max(map(len, plain)) <= width:
        yield from lines
    elif len(spans := _columns(plain)) > 1:
        yield from _table(lines, spans, width)
    else:
        for line, bare in zip(lines, plain, strict=True):
            command = bare.startswith(" " * _COMMAND)
            yield line if len(bare) <= width or command else _sentence(bare, width)


def _sentence(line: str, width: int) -> str:
    """Return *line* folded below its text; the text begins behind a label and two blanks."""
    margin = len(line) - len(line.lstrip())
    label = _LABEL.match(line)
    behind = label.end() if label and label.end() <= width // 3 else margin + _GUTTER
    whole = _QUOTED.sub(lambda quoted: quoted[0].replace(" ", _BLANK), line)
    rows = _wrapped(whole, width, first=" " * margin, then=" " * behind)
    return "\n".join(rows).replace(_BLANK, " ")


def _wrapped(text: str, width: int, *, first: str = "", then: str = "") -> list[str]:
    return textwrap.wrap(
        text.lstrip(),
        width,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _columns(plain: Sequence[str]) -> list[tuple[int, int]]:
    """Return where the columns of a table begin and end; two blanks in every row part them."""
    if len(plain) == 1:
        return []
    longest = max(map(len, plain))
    used = ["".join("x" if c != " " else " " for c in row).ljust(longest) for row in plain]
    mask = "".join("x" if "x" in column else " " for column in zip(*used, strict=True))
    return [found.span() for found in _SPAN.finditer(mask)]


def _table(lines: Sequence[str], spans: Sequence[tuple[int, int]], width: int) -> Iterator[str]:
    glyphs = [_GLYPH.findall(line) for line in lines]
    starts = [0, *(start for start, _ in spans[1:])]
    ends = [end for _, end in spans]
    columns = [
        ["".join(row[start:end]) for row in glyphs]
        for start, end in zip(starts, ends, strict=True)
    ]
    widths = _shrunk([e - s for s, e in zip(starts, ends, strict=True)], columns, width)
    for number, chosen in enumerate(_chosen(widths, width)):
        if number:
            yield ""
        cells = (_folded_cells(columns[n], widths[n]) for n in chosen)
        for row in zip(*cells, strict=True):
            yield from (
                (" " * _GUTTER).join(parts).rstrip() for parts in zip(*_level(row), strict=True)
            )


def _shrunk(widths: list[int], columns: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return *widths* of which the widest have given up columns until the table fits."""
    least = [_least(column) for column in columns]
    room = width - _GUTTER * (len(widths) - 1)
    while sum(widths) > room:
        wide = [n for n in range(len(widths)) if widths[n] > least[n]]
        if not wide:
            break
        widths[max(wide, key=lambda n: widths[n])] -= 1
    return widths


def _least(column: Sequence[str]) -> int:
    """Return the width that the longest word of *column* needs, with the blanks before it."""
    bare = [cell for cell in map(_bare, column) if not _is_rule(cell)]
    right = _is_right(bare)
    margins = (0 if right else len(cell) - len(cell.lstrip()) for cell in bare)
    words = (max(map(len, cell.split()), default=0) for cell in bare)
    return max(map(sum, zip(margins, words, strict=True)), default=0)


def _bare(cell: str) -> str:
    return _COLOUR.sub("", cell)


def _is_right(column: Sequence[str]) -> bool:
    """Return whether the cells of a column end, and do not begin, in one place."""
    cells = [cell for cell in column if cell.strip()]
    return any(cell[0] == " " for cell in cells) and not any(cell[-1] == " " for cell in cells)


def _is_rule(cell: str) -> bool:
    return set(cell.strip()) == {"-"} and len(cell.strip()) > 1


def _chosen(widths: Sequence[int], width: int) -> Iterator[list[int]]:
    """Yield the columns of each table; every table begins with the first column."""
    chosen = [0]
    for n in range(1, len(widths)):
        if len(chosen) > 1 and sum(widths[c] + _GUTTER for c in chosen) + widths[n] > width:
            yield chosen
            chosen = [0]
        chosen.append(n)
    yield chosen


def _folded_cells(column: Sequence[str], width: int) -> list[list[str]]:
    """Return the rows of each cell, all as wide as the column; numbers stay on the right."""
    right = _is_right(tuple(map(_bare, column)))
    return [_folded_cell(cell, width, right=right) for cell in column]


def _folded_cell(cell: str, width: int, *, right: bool) -> list[str]:
    bare = _bare(cell)
    if _is_rule(bare):
        return ["-" * width]
    if len(bare) <= width:
        return [cell + " " * (width - len(bare))]
    margin = "" if right else bare[: len(bare) - len(bare.lstrip())]
    rows = _wrapped(bare, width, first=margin, then=margin) or [""]
    return [row.rjust(width) if right else row.ljust(width) for row in rows]


def _level(row: Sequence[list[str]]) -> Iterator[list[str]]:
    """Yield the cells of a row, all of them with as many rows as the highest."""
    most = max(map(len, row))
    for cell in row:
        yield cell + [" " * len(_bare(cell[0]))] * (most - len(cell))
