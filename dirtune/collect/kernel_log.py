"""The kernel log, as dmesg(1) prints it; newer messages may have overwritten the oldest ones."""

import re
from collections.abc import Iterator

from dirtune.collect.commands import DMESG, output, spelled
from dirtune.collect.log_messages import LogLine
from dirtune.errors import SourceMissing
from dirtune.formats import parsing
from dirtune.host import Host

SOURCES = (DMESG,)
_ROW = re.compile(r"(?:<\d+>)?\[\s*(?P<s>\d+\.\d+)\](?:\s*\[[^\]]+\])?\s?(?P<text>.*)")


def in_order(text: str, first: re.Pattern[str], then: re.Pattern[str]) -> bool:
    """Whether the pattern *then* matches in *text* after a match of the pattern *first*.

    The single pattern `first.*then` would be slow on long rows.
    """
    found = first.search(text)
    return found is not None and then.search(text, found.end()) is not None


def read_kernel_log(host: Host) -> tuple[LogLine, ...]:
    """Read the log. Raises `SourceMissing` if this user may not read it."""
    try:
        return parse_kernel_log(output(host, DMESG))
    except SourceMissing as error:
        raise SourceMissing("the kernel log could not be read, because that needs root") from error


@parsing(spelled(DMESG))
def parse_kernel_log(text: str) -> tuple[LogLine, ...]:
    """Parse the text of dmesg(1)."""
    return tuple(_lines(text))


def _lines(text: str) -> Iterator[LogLine]:
    for row in text.splitlines():
        found = _ROW.fullmatch(row)
        yield LogLine(float(found["s"]), found["text"]) if found else LogLine(None, row)
