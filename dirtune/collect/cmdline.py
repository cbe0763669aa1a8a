"""/proc/cmdline: the options this kernel was booted with."""

from dirtune.host import Host

SOURCE = "/proc/cmdline"
SOURCES = (SOURCE,)


def read_cmdline(host: Host) -> tuple[str, ...]:
    """Read the options in the order they were given."""
    return parse_cmdline(host.read(SOURCE))


def parse_cmdline(text: str) -> tuple[str, ...]:
    """Split the command line into options; a value in double quotes may hold blanks."""
    words: list[str] = []
    quoted = False
    for part in text.strip("\n\0 ").split(" "):
        if quoted:
            words[-1] += f" {part}"
        elif part:
            words.append(part)
        quoted ^= part.count('"') % 2 == 1
    return tuple(words)
