"""Read what a far host prints, with limits of bytes, of a line and of what is kept.

Decoded while it is read, so that no large text stands still in the event loop.
"""

import asyncio
import codecs
import sys

from dirtune.remote import room

LINE_BYTES = 2**20
ANSWER_BYTES = 2**20
"""Limit of an answer whose reader names no other."""
ERRORS_BYTES = 16 * 2**20
"""Limit of standard error; a host that prints more is taken for broken."""
KEPT_BYTES = 2**16
"""How much of standard error is kept: its end."""
NOISE_BYTES = 2**16
"""Limit of what a shell may print before the mark of our script."""
_CHUNK = 2**16
_LINES_AT_ONCE = 1000
"""Lines that are read before other tasks run: a line that is there needs no wait."""


class TooMuch(Exception):
    """A host printed more than it may."""


async def answer(reader: asyncio.StreamReader, most_bytes: int) -> str:
    """Read to the end, at most *most_bytes*, in memory too; `TooMuch` beyond.

    And where it is large while the answers of all hosts have filled the memory for them.
    """
    # A stray byte keeps its value: two names that differ by one must not become the same.
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    parts: list[str] = []
    size = 0
    while data := await reader.read(_CHUNK):
        parts.append(decoder.decode(data))
        # Stray bytes and rare characters take up to 16 times their number in memory.
        size += max(len(data), sys.getsizeof(parts[-1]))
        if size > most_bytes:
            raise TooMuch(f"its answer is longer than {most_bytes // 2**20} MiB")
        if size > ANSWER_BYTES and not room.left():
            raise TooMuch(f"its answer {room.FULL}")
    return "".join((*parts, decoder.decode(b"", final=True)))


async def complaints(reader: asyncio.StreamReader) -> str:
    """Read standard error to its end and return the last of it."""
    kept = b""
    size = 0
    while data := await reader.read(_CHUNK):
        size += len(data)
        if size > ERRORS_BYTES:
            break
        kept = (kept + data)[-KEPT_BYTES:]
    return kept.decode(errors="replace")


async def line(reader: asyncio.StreamReader) -> str | None:
    """Return the next line without its newline, None at the end; `TooMuch` if it is too long."""
    text = await _row(reader)
    return text.rstrip("\n") if text.endswith("\n") else None


async def lines_before(reader: asyncio.StreamReader, end: str, most_bytes: int) -> list[str]:
    """Return the lines before the line *end*; `TooMuch` beyond *most_bytes*, `EOFError`.

    The bytes are those in memory: a line of two characters takes more than fifty.
    """
    lines: list[str] = []
    size = 0
    while (text := await line(reader)) != end:
        if text is None:
            raise EOFError
        size += sys.getsizeof(text)
        if size > most_bytes:
            raise TooMuch(f"it printed more than {most_bytes // 2**10} KiB where less was due")
        lines.append(text)
        if len(lines) % _LINES_AT_ONCE == 0:
            await asyncio.sleep(0)
    return lines


async def group_after(reader: asyncio.StreamReader, mark: str) -> tuple[int | None, str]:
    """Skip what a shell printed before the line `mark GROUP`.

    Return the group, None if the mark never came, and the first line that was skipped.
    """
    noise = ""
    size = 0
    while text := await _row(reader):
        word, _, group = text.strip().partition(" ")
        if word == mark and group.isascii() and group.isdigit() and len(group) < 11:
            return int(group), noise
        size += len(text)
        noise = noise or text.strip()
        if size > NOISE_BYTES:
            raise TooMuch(f'before the command ran, the shell printed "{noise[:60]}" and more')
    return None, noise


async def _row(reader: asyncio.StreamReader) -> str:
    try:
        data = await reader.readline()
    except ValueError as error:
        raise TooMuch(f"it printed a line longer than {LINE_BYTES // 2**20} MiB") from error
    return data.decode(errors="replace")
