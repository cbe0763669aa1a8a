"""The kernel log, as dmesg(1) prints it; newer messages may have overwritten the oldest ones."""

import re

from dirtune.collect.commands import DMESG, output, spelled
from dirtune.collect.log_messages import LogLine
from dirtune.errors import SourceMissing
from dirtune.formats import parsing
from dirtune.host import Host

SOURCES = (DMESG,)
# `[  1.234567] text`; as `dmesg -T`, `-d`, `-e` and `--time-format=iso` print it; as syslog and
# journalctl print it
_ROW = re.compile(
    r"(?P<head>(?:[\w:.+-]+(?: +\d{1,2} [\d:.]{8,15})? \S{1,64} kernel: )?(?:<\d+>)?"
    r"(?:\[\s*(?:(?P<s>\d+\.\d+)(?: <[ \d.]{1,20}>)?|\+\d+\.\d+"
    r"|(?:\w{3} )?\w{3}\s{1,2}\d{1,2} \d\d:\d\d(?::\d\d \d{4})?)\](?:\s*\[[^\]]+\])?\s?"
    r"|\d{4}-\d\d-\d\dT[\d:]{8},\d{1,9}[+-]\d\d:\d\d )?)"
    r"(?P<text>.*)"
)


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
    """Parse the text of dmesg(1), or the kernel's lines of syslog.

    If any row has a time, a row without one belongs to the message before it, and is left out: a
    name in that message may have contained a line break.
    """
    rows = [line for row in text.splitlines() if (line := _ROW.fullmatch(row))]
    timed = any(row["head"] for row in rows)
    return tuple(
        LogLine(float(row["s"]) if row["s"] else None, row["text"])
        for row in rows
        if row["head"] or not timed
    )
