"""/proc/cmdline: the options that this kernel was booted with."""

import re

from dirtune.host import Host

SOURCE = "/proc/cmdline"
SOURCES = (SOURCE,)
_OPTION = re.compile(r'(?:"[^"]*+"?|[^ "])++')


def read_cmdline(host: Host) -> tuple[str, ...]:
    """Read the options in the order in which they were given."""
    return parse_cmdline(host.read(SOURCE))


def parse_cmdline(text: str) -> tuple[str, ...]:
    """Split the command line into options; a value in double quotes may hold blanks."""
    return tuple(_OPTION.findall(text.strip("\n\0 ")))
