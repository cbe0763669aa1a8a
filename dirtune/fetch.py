"""A host's sources copied into memory, here by reading, elsewhere by what a script prints.

The script of `fetch_script` runs on a machine that has only a POSIX shell. It takes both samples,
so that a host is logged into once and starts one command.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from dirtune.collect import commands, netlink, proc_irq
from dirtune.errors import ParseError, SourceMissing, SourceRefused
from dirtune.host import Host, RecordedHost
from dirtune.snapshot import FIELDS, moving, patterns_of


def record(
    host: Host, patterns: Sequence[str], asked: Mapping[str, str] | None = None
) -> RecordedHost:
    """Copy what *patterns* match on *host* into memory, with what it was *asked* besides."""
    files: dict[str, str] = dict(asked or {})
    links: dict[str, str] = {}
    refused: set[str] = set()
    taken_s = host.monotonic()
    for path in dict.fromkeys(path for pattern in patterns for path in host.glob(pattern)):
        try:
            links[path] = host.link(path)
            continue
        except SourceMissing:
            pass
        try:
            files[path] = host.read(path)
        except SourceMissing:  # a process that ended, a device that was unplugged
            continue
        except SourceRefused:
            refused.add(path)
    modes = {p: host.mode(p) for pattern in _modes(patterns) for p in host.glob(pattern)}
    known = {path: mode for path, mode in modes.items() if mode is not None}
    return RecordedHost(files, links, frozenset(refused), taken_s, known)


def fetch_script(fields: Sequence[str] = FIELDS, *, interval_s: float) -> str:
    """Return a POSIX shell script that prints two samples of *fields*, *interval_s* apart.

    The first has only what moves. It only reads, and needs nothing but a shell, ls, grep, sed and
    xargs; where dirtune is installed it adds what netlink tells. Its standard output is what
    `parse_fetched` reads.
    """
    first, second = (sample_script(patterns_of(f)) for f in (moving(fields), fields))
    return f"{first}sleep {interval_s:g}\n{second}"


def sample_script(patterns: Sequence[str]) -> str:
    """Return the script that prints every file and link that *patterns* match."""
    asked = {*commands.OUTPUTS, *netlink.ANSWERS}
    modes = _modes(patterns)
    parts = {
        "PATTERNS": " ".join(pattern for pattern in patterns if pattern not in asked),
        "MODES": f"ls -ld {' '.join(modes)} 2>/dev/null | sed 's/^/mode /'" if modes else ":",
        "COMMANDS": commands.script(patterns),
        "NETLINK": _NETLINK if set(netlink.ANSWERS) & set(patterns) else ":",
    }
    return re.sub("|".join(parts), lambda found: parts[found[0]], _SCRIPT)


def parse_fetched(text: str) -> tuple[RecordedHost, RecordedHost]:
    """Read what the script of `fetch_script` printed; `ParseError` if it was cut off."""
    # No line of a file is alone: its path stands before it.
    first, _, rest = text.partition(_END)
    second, end, _ = rest.partition(_END)
    if not end:
        raise ParseError("fetched sources", "cut off before the end")
    return parse_sample(first), parse_sample(second)


def parse_sample(text: str) -> RecordedHost:
    """Read one sample without the line at its end; `ParseError` if it is none."""
    lines = text.split("\n")
    try:
        links, asked, texts = (lines.index(mark) for mark in ("links", "commands", "text"))
    except ValueError as error:
        raise ParseError("fetched sources", "not what was asked for") from error
    named: dict[str, list[str]] = {
        kind: [] for kind in ("time", "file", "refused", "mode", "netlink")
    }
    for line in lines[:links]:
        kind, _, rest = line.partition(" ")
        named.get(kind, []).append(rest)
    files = _texts(named["file"], lines[texts + 1 :])
    files |= commands.parse_outputs("\n".join(lines[asked + 1 : texts]))
    files |= {path: answer for path, _, answer in (row.partition(" ") for row in named["netlink"])}
    return RecordedHost(
        files,
        dict(_listed(lines[links + 1 : asked])),
        frozenset(named["refused"]),
        float(named["time"][0]) if named["time"] else None,
        {row.rpartition(" ")[2]: _mode(row) for row in named["mode"]},
    )


_END = "\nend\n"
_NETLINK = """\
if command -v dirtune >/dev/null 2>&1; then
  dirtune netlink 2>/dev/null | sed 's/^/netlink /'
fi"""
# `grep '' /dev/null FILE...` prints whole files line by line behind their names, in one process.
_SCRIPT = """\
LC_ALL=C; export LC_ALL
links() { for path in PATTERNS; do if [ -L "$path" ]; then echo "$path"; fi; done; }
files() { for path in PATTERNS; do
  if [ ! -L "$path" ] && [ -f "$path" ] && [ -r "$path" ]; then echo "$1$path"; fi; done; }
read -r up rest </proc/uptime && echo "time $up"
files 'file '
for path in PATTERNS; do
  if [ ! -L "$path" ] && [ -f "$path" ] && [ ! -r "$path" ]; then echo "refused $path"; fi
done
MODES
NETLINK
echo links
links | xargs ls -ld
echo commands
COMMANDS
echo text
files | xargs grep -s '' /dev/null
echo end
"""


def _modes(patterns: Sequence[str]) -> tuple[str, ...]:
    return tuple(pattern for pattern in proc_irq.MODES if pattern in patterns)


def _mode(row: str) -> int:
    """Return the permission bits in a row of ls(1), `-rw-r--r-- 1 root ...`."""
    return sum(1 << (8 - bit) for bit, letter in enumerate(row[1:10]) if letter not in "-ST")


def _texts(paths: Sequence[str], lines: Sequence[str]) -> dict[str, str]:
    texts: dict[str, list[str]] = {path: [] for path in paths}
    current = ""
    for line in lines:
        if not (current and line.startswith(f"{current}:")):
            current = _path_before(line, texts)
        if current:  # else a process that began after the paths were listed
            texts[current].append(f"{line[len(current) + 1 :]}\n")
    return {path: "".join(text) for path, text in texts.items()}


def _path_before(line: str, known: Mapping[str, object]) -> str:
    """Return the known path that *line* begins with; paths have colons of their own."""
    ends = (found.start() for found in re.finditer(":", line))
    return next((line[:end] for end in ends if line[:end] in known), "")


def _listed(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, arrow, target = line.partition(" -> ")
        if arrow:
            yield name[name.index(" /") + 1 :], target
