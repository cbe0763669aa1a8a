"""Read the output of a far host, with limits for the complete output and for a single line.

The output is decoded while it is read, because decoding a large text in one step would block the
event loop.
"""

import asyncio
import codecs
import sys

from dirtune.remote import room

LINE_BYTES = 2**20
ANSWER_BYTES = 2**20
"""Limit of an answer, unless the caller sets another limit."""
ERRORS_BYTES = 16 * 2**20
"""Limit of standard error; a host that prints more is considered broken."""
KEPT_BYTES = 2**16
"""Number of bytes that are kept from the end of standard error."""
NOISE_BYTES = 2**16
"""Limit of the text that a shell may print before dirtune's script starts."""
_CHUNK = 2**16
_LINES_AT_ONCE = 1000
"""Number of lines after which other tasks get a turn: reading a line that has already arrived does
not give them one."""


class TooMuch(Exception):
    """A host printed more than the limit."""


async def answer(reader: asyncio.StreamReader, most_bytes: int) -> str:
    """Read to the end of the output.

    Raises `TooMuch` if the output is longer than *most_bytes*, or if the decoded text takes more
    memory than *most_bytes*. Raises `TooMuch` for any large output if the answers of all hosts
    together exceed the memory limit.
    """
    # An invalid byte keeps its value: names that differ only in such a byte stay different.
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    parts: list[str] = []
    size = 0
    while data := await reader.read(_CHUNK):
        parts.append(decoder.decode(data))
        # Stray bytes and rare characters take up to 16 times their number in memory.
        size += max(len(data), sys.getsizeof(parts[-1]))
        if size > most_bytes:
            raise TooMuch(f"the answer is longer than {most_bytes // 2**20} MiB")
        if size > ANSWER_BYTES and not room.left():
            raise TooMuch(f"the answer was dropped: {room.FULL}")
    return "".join((*parts, decoder.decode(b"", final=True)))


async def complaints(reader: asyncio.StreamReader) -> str:
    """Read standard error to its end, and return the last `KEPT_BYTES` of it as text."""
    kept = b""
    size = 0
    while data := await reader.read(_CHUNK):
        size += len(data)
        if size > ERRORS_BYTES:
            break
        kept = (kept + data)[-KEPT_BYTES:]
    return kept.decode(errors="replace")


async def line(reader: asyncio.StreamReader, most_bytes: int = LINE_BYTES) -> str | None:
    """Return the next line without its newline; None at the end.

    Raises `TooMuch` if the line is longer than *most_bytes*, or, for any large line, if the
    answers of all hosts together exceed the memory limit.
    """
    text = await _row(reader, most_bytes)
    return text.rstrip("\n") if text.endswith("\n") else None


async def lines_before(reader: asyncio.StreamReader, end: str, most_bytes: int) -> list[str]:
    """Return the lines before the line *end*.

    Raises `TooMuch` if the lines take more than *most_bytes* of memory; even a short line takes
    more than fifty bytes. Raises `EOFError` if the line *end* never comes.
    """
    lines: list[str] = []
    size = 0
    while (text := await line(reader)) != end:
        if text is None:
            raise EOFError
        size += sys.getsizeof(text)
        if size > most_bytes:
            raise TooMuch(
                f"the command printed more than {most_bytes // 2**10} KiB, which is not expected"
            )
        lines.append(text)
        if len(lines) % _LINES_AT_ONCE == 0:
            await asyncio.sleep(0)
    return lines


async def group_after(reader: asyncio.StreamReader, mark: str) -> tuple[int | None, str]:
    """Skip the text that a shell printed before the line `MARK GROUP`.

    Return the number GROUP of the process group (None if the line never came), and the first line
    that was skipped.
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
            raise TooMuch(
                f"before the command ran, the shell printed more than {NOISE_BYTES // 2**10} KiB, "
                f'beginning with "{noise[:60]}"'
            )
    return None, noise


async def _row(reader: asyncio.StreamReader, most_bytes: int = LINE_BYTES) -> str:
    data = bytearray()
    while True:
        try:
            data += await reader.readuntil()
        except asyncio.IncompleteReadError as end:
            data += end.partial
        except asyncio.LimitOverrunError as longer:  # than `LINE_BYTES`, the limit of the reader
            data += await reader.readexactly(longer.consumed)
            if len(data) <= most_bytes and room.left():
                continue
        if len(data) > most_bytes:
            raise TooMuch(f"the command printed a line longer than {most_bytes // 2**20} MiB")
        if len(data) > LINE_BYTES and not room.left():
            raise TooMuch(f"the answer was dropped: {room.FULL}")
        return data.decode(errors="replace")
