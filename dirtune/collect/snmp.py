"""/proc/net/snmp, netstat and sockstat: what the network stack counted.

Format: net/ipv4/proc.c. snmp and netstat are pairs of rows, `Prefix: names` and `Prefix: values`;
names are added over time, so they are zipped. sockstat is `TCP: inuse 0 orphan 0 tw 0 ...`, where
inuse and tw are of this network namespace, alloc and mem of the machine.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from dirtune.errors import ParseError, SourceMissing, SourceRefused
from dirtune.formats import parsing
from dirtune.host import Host

SOURCE = "/proc/net/snmp"
_NETSTAT, _SOCKSTAT = "/proc/net/netstat", "/proc/net/sockstat"
SOURCES = (SOURCE, _NETSTAT, _SOCKSTAT)


def read_snmp(host: Host) -> Mapping[str, int]:
    """Read every counter, `TcpExt.ListenOverflows`, `sockstat.TCP.tw`; snmp must be there."""
    found = dict(_pairs(SOURCE, host.read(SOURCE)))
    try:
        found |= _pairs(_NETSTAT, host.read(_NETSTAT))
        found |= parse_sockstat(host.read(_SOCKSTAT))
    except (SourceMissing, SourceRefused):
        pass
    return found


@parsing(SOURCE)
def parse_snmp(text: str) -> Mapping[str, int]:
    """Parse the text of /proc/net/snmp or /proc/net/netstat."""
    return dict(_pairs(SOURCE, text))


@parsing(_SOCKSTAT)
def parse_sockstat(text: str) -> Mapping[str, int]:
    """Parse the text of /proc/net/sockstat."""
    counters: dict[str, int] = {}
    for row in text.splitlines():
        prefix, _, rest = row.partition(":")
        words = rest.split()
        if len(words) % 2 or not "".join(words[1::2]).isdecimal():
            raise ParseError(_SOCKSTAT, f"{row[:60]!r} is not names and numbers")
        names = zip(words[::2], words[1::2], strict=True)
        counters |= {f"sockstat.{prefix}.{name}": int(value) for name, value in names}
    return counters


def _pairs(source: str, text: str) -> Iterator[tuple[str, int]]:
    rows = [row.partition(":") for row in text.splitlines() if row.strip()]
    if len(rows) % 2:
        raise ParseError(source, "not pairs of names and values")
    for (prefix, _, names), (again, _, values) in list(pairwise(rows))[::2]:
        if prefix != again or len(names.split()) != len(values.split()):
            raise ParseError(source, f"{prefix}: not one value for each name")
        for name, value in zip(names.split(), values.split(), strict=True):
            try:
                yield f"{prefix}.{name}", int(value)
            except ValueError as error:
                raise ParseError(source, f"{prefix} {name}: {value!r} is no number") from error
