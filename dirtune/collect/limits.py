"""/proc/self/limits: resource limits of programs that this session starts.

Format: fs/proc/base.c, proc_pid_limits(): name, soft, hard and unit in fixed columns.
"""

import re
from collections.abc import Mapping

from dirtune.collect.files import decimal
from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.host import Host

SOURCE = "/proc/self/limits"
SOURCES = (SOURCE,)
_ROW = re.compile(
    r"(?P<name>Max(?: \S+)+)\s{2,}(?P<soft>\d+|unlimited)\s+(?P<hard>\d+|unlimited)\b.*"
)


def read_limits(host: Host) -> Mapping[str, int | None]:
    """Read the soft limits by name (`Max open files`); None means unlimited."""
    return parse_limits(host.read(SOURCE))


@parsing(SOURCE)
def parse_limits(text: str) -> Mapping[str, int | None]:
    """Parse the text of /proc/self/limits."""
    found = [_ROW.fullmatch(row) for row in text.splitlines()]
    limits = {row["name"]: row["soft"] for row in found if row}
    if not limits:
        raise ParseError(SOURCE, "the text contains no limit")
    return {name: None if soft == "unlimited" else decimal(soft) for name, soft in limits.items()}
