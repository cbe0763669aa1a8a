"""Copy the files that an audit reads, from this host or with a script from another host.

The script of `fetch_script` needs only a POSIX shell and standard commands. The script takes both
samples, so one login and one command are enough. Names and texts never become shell code: the
shell passes names as arguments and as NUL-terminated lists, and `collect.frames` separates the
texts.
"""

import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dirtune.collect import answers, commands, proc_irq
from dirtune.collect.frames import OPEN, frames
from dirtune.errors import ParseError, SourceMissing, SourceRefused
from dirtune.host import Host, RecordedHost, recorded_path, recorded_text
from dirtune.snapshot import FIELDS, moving, patterns_of


def record(
    host: Host, patterns: Sequence[str], answers_: Mapping[str, str] | None = None
) -> RecordedHost:
    """Copy the files and links of *host* that match *patterns* into memory, plus *answers_*.

    *answers_* holds outputs of commands and netlink answers, by their paths in the record.
    """
    sample = _Sample(host.monotonic(), dict(answers_ or {}))
    for path in dict.fromkeys(path for pattern in patterns for path in host.glob(pattern)):
        name = recorded_path(path)
        try:
            sample.links[name] = recorded_path(host.link(path))
            continue
        except SourceMissing:
            pass
        try:
            sample.files[name] = recorded_text(host.read(path))
        except SourceMissing:  # a process that ended, a device that was unplugged
            continue
        except SourceRefused:
            sample.refused.add(name)
    modes = {p: host.mode(p) for pattern in _modes(patterns) for p in host.glob(pattern)}
    sample.modes |= {path: mode for path, mode in modes.items() if mode is not None}
    return sample.recorded


def fetch_script(fields: Sequence[str] = FIELDS, *, interval_s: float) -> str:
    """Return a POSIX shell script that prints two samples of *fields*, *interval_s* seconds apart.

    The first sample has only the fields that change over time. The script changes nothing and
    needs only a shell, cat, env, grep, stat and xargs; if the host has dirtune, the script adds
    the netlink answers. `parse_fetched` reads its standard output.
    """
    first, second = (_script(patterns_of(f)) for f in (moving(fields), fields))
    return f"{_BEGIN}{first}sleep {interval_s:g}\n{second}"


def sample_script(patterns: Sequence[str]) -> str:
    """Return a script that prints all files and links that match *patterns*."""
    return f"{_BEGIN}{_script(patterns)}"


def parse_fetched(text: str) -> tuple[RecordedHost, RecordedHost]:
    """Parse the output of `fetch_script`. Raises `ParseError` if the output is cut off."""
    rest = iter(frames(text))
    return _parsed(rest), _parsed(rest)


def parse_sample(text: str) -> RecordedHost:
    """Parse the output of `sample_script`. Raises `ParseError` if the output is cut off."""
    return _parsed(iter(frames(text)))


ANSWER_S = 180
"""Time limit in seconds for a host's answer, to which the interval between the samples is added. A
director without idle CPU time, or an emulated one, needs more than a minute."""
_BEGIN = f"LC_ALL=C; export LC_ALL\n{OPEN}"
# Between any two files, cat(1) prints its own environment, which holds only the mark. One process
# can therefore print hundreds of files, and the marks show where each file begins.
_BETWEEN = "/proc/self/environ"
# One process both lists the names and reads the files, so names and texts always match.
_SCRIPT = """\
read -r up rest </proc/uptime && frame time && printf %s "$up"
set -- PATTERNS
for path do
  if [ -f "$path" ] && [ ! -L "$path" ]; then printf '%s\\0' BETWEEN "$path"; fi
done | DIRTUNE=$mark xargs -0 -r sh -c '
  printf "DIRTUNE=%s\\0texts\\0" "$DIRTUNE"; printf "%s\\0" "$@"; printf "DIRTUNE=%s\\0" "$DIRTUNE"
  exec env -i "DIRTUNE=$DIRTUNE" cat "$@" 2>&1' sh
for path do
  case $path in MODES) ;; *) [ -L "$path" ] || continue;; esac
  printf '%s\\0' "$path"
done | DIRTUNE=$mark QUOTING_STYLE=literal xargs -0 -r sh -c '
  read -r row </proc/sys/kernel/random/uuid
  printf "DIRTUNE=%s\\0rows\\0%s" "$DIRTUNE" "$row"; printf "\\0%s" "$@"
  exec stat -c "$row %f %n$row%N" "$@" 2>/dev/null' sh
NETLINK
COMMANDS
frame end
"""
_NETLINK = """\
if command -v dirtune >/dev/null 2>&1; then frame netlink; dirtune netlink 2>/dev/null; fi"""
_MODE = re.compile(r"[0-9a-f]{1,8}")
_UUID_LENGTH = 36
_SECONDS = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")
_LONGEST_REASON = 200
_PLAIN = re.compile(r"[\w/.+@-]+", re.ASCII)
"""Names that every version of cat(1) prints unquoted in its messages."""
_GONE = frozenset({"No such file or directory", "No such process"})


def _script(patterns: Sequence[str]) -> str:
    others = {*commands.OUTPUTS, *answers.ANSWERS}
    files = (pattern for pattern in patterns if pattern not in others)
    parts = {
        "PATTERNS": " ".join(shell for pattern in files for shell in _shell_patterns(pattern)),
        "BETWEEN": _BETWEEN,
        "MODES": "|".join(_modes(patterns)) or "''",
        "COMMANDS": commands.script(patterns),
        "NETLINK": _NETLINK if set(answers.ANSWERS) & set(patterns) else ":",
    }
    return re.sub("|".join(parts), lambda found: parts[found[0]], _SCRIPT)


def _shell_patterns(pattern: str) -> tuple[str, ...]:
    """Return shell patterns that together match the same names as *pattern* in Python.

    In a shell, `*` does not match names that begin with a dot.
    """
    begin, star, end = pattern.partition("/*")
    if not star or end[:1] not in {"", "/"}:
        return (pattern,)
    ends = _shell_patterns(end) if end else ("",)
    return tuple(f"{begin}/{name}{end}" for name in ("*", ".[!.]*", "..?*") for end in ends)


def _modes(patterns: Sequence[str]) -> tuple[str, ...]:
    return tuple(pattern for pattern in proc_irq.MODES if pattern in patterns)


@dataclass(slots=True)
class _Sample:
    """The part of a sample that has been parsed so far."""

    taken_s: float | None = None
    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    modes: dict[str, int] = field(default_factory=dict)

    @property
    def recorded(self) -> RecordedHost:
        return RecordedHost(
            self.files, self.links, frozenset(self.refused), self.taken_s, self.modes
        )


def _parsed(rest: Iterator[str]) -> RecordedHost:
    """Parse the frames of *rest* up to the end of one sample."""
    sample = _Sample()
    for frame in rest:
        kind, nul, text = frame.partition("\0")
        if not nul:
            break
        if kind == "end":
            return sample.recorded
        if kind == "time" and _SECONDS.fullmatch(text):
            sample.taken_s = float(text)
        elif kind == "texts":
            _add_texts(sample, text.split("\0")[:-1], rest)
        elif kind == "rows":
            _add_rows(sample, text)
        elif kind == "netlink":
            rows = (row.partition(" ") for row in text.split("\n"))
            sample.files |= {path: row for path, _, row in rows if path in answers.ANSWERS}
        elif kind.startswith(commands.ROOT):
            sample.files[recorded_text(kind)] = recorded_text(text)
        else:
            raise ParseError(
                "fetched sources", "the output contains a part that was not requested"
            )
    raise _cut_off()


def _add_texts(sample: _Sample, names: Sequence[str], rest: Iterator[str]) -> None:
    """Add the texts of the files *names*, which are the next frames of *rest*."""
    path, text = "", _next(rest)
    for name in names:
        if name != _BETWEEN:
            path = name
            continue
        _add_text(sample, path, text)
        path, text = "", _next(rest)
    _add_text(sample, path, text)


def _next(rest: Iterator[str]) -> str:
    for frame in rest:
        return frame
    raise _cut_off()


def _cut_off() -> ParseError:
    return ParseError("fetched sources", "the output is cut off")


def _add_text(sample: _Sample, path: str, text: str) -> None:
    complaint = _complaint(path, text)
    if not path:  # the frame before the first file
        return
    name = recorded_text(path)
    if complaint is None:
        sample.files[name] = recorded_text(text)
    elif complaint not in _GONE:
        sample.refused.add(name)


def _complaint(path: str, text: str) -> str | None:
    """Return the error that cat(1) printed after *text*; None if cat(1) could read *path*."""
    tail = text[-len(path) - _LONGEST_REASON :]
    begin = tail.rfind("cat: ")
    row = tail[begin:]
    if begin < 0 or not row.endswith("\n"):
        return None
    # cat(1) quotes unusual names in several ways, so any message counts if no text precedes it.
    named = (
        f"cat: {path}: ",
        f"cat: '{path}': ",
        f"cat: can't open '{path}': ",
        "cat: read error: ",
    )
    # The name of a process may imitate cat(1)'s message, but is too short to contain the path.
    mine = row.startswith(named) or (len(row) == len(text) and not _PLAIN.fullmatch(path))
    return row.rpartition(": ")[2].strip() if mine else None


def _add_rows(sample: _Sample, text: str) -> None:
    """Add links and permission bits of files from *text*, the output of stat(1)."""
    if not text:
        raise _cut_off()
    listed, *parts = text.split(text[:_UUID_LENGTH])[1:]
    names = set(listed.split("\0")[1:])
    for begin, shown in zip(parts[::2], parts[1::2], strict=False):
        mode, _, path = begin.removeprefix(" ").partition(" ")
        if not (_MODE.fullmatch(mode) and path in names and shown.endswith("\n")):
            continue
        target = _target(path, shown[:-1])
        if target is not None:
            sample.links[recorded_text(path)] = recorded_text(target)
        else:
            sample.modes[recorded_text(path)] = stat.S_IMODE(int(mode, 16))


def _target(path: str, shown: str) -> str | None:
    """Return the target of *path* in *shown*, a row of stat(1); None if *path* is no link."""
    if shown.startswith(f"{path} -> "):
        return shown.removeprefix(f"{path} -> ")
    # Some versions of stat(1) always quote.
    begin = f"'{path}' -> '"
    return shown.removeprefix(begin)[:-1] if shown.startswith(begin) else None
