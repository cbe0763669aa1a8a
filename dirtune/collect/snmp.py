"""/proc/net/snmp, netstat and sockstat: counters of the network stack.

Format: net/ipv4/proc.c. snmp and netstat are pairs of rows, `Prefix: names` and `Prefix: values`;
newer kernels have more names, so values are matched by name. sockstat is
`TCP: inuse 0 orphan 0 tw 0 ...`; inuse and tw count this network namespace, alloc and mem the
machine.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from dirtune.collect.files import decimal
from dirtune.errors import ParseError, SourceMissing, SourceRefused
from dirtune.formats import parsing
from dirtune.host import Host

SOURCE = "/proc/net/snmp"
_NETSTAT, _SOCKSTAT = "/proc/net/netstat", "/proc/net/sockstat"
SOURCES = (SOURCE, _NETSTAT, _SOCKSTAT)


def read_snmp(host: Host) -> Mapping[str, int]:
    """Read all counters by names such as `TcpExt.ListenOverflows` and `sockstat.TCP.tw`.

    /proc/net/snmp is required, the other two files are optional.
    """
    counters = dict(_pairs(SOURCE, host.read(SOURCE)))
    try:
        counters |= _pairs(_NETSTAT, host.read(_NETSTAT))
        counters |= parse_sockstat(host.read(_SOCKSTAT))
    except (SourceMissing, SourceRefused):
        pass
    return counters


@parsing(SOURCE)
def parse_snmp(text: str) -> Mapping[str, int]:
    """Return the counters in the text of /proc/net/snmp or netstat, such as `Tcp.ActiveOpens`.

    Raises `ParseError` if a row of names and its row of values do not fit together.
    """
    return dict(_pairs(SOURCE, text))


@parsing(_SOCKSTAT)
def parse_sockstat(text: str) -> Mapping[str, int]:
    """Return the numbers in the text of /proc/net/sockstat, such as `sockstat.TCP.inuse`.

    Raises `ParseError` if a row does not consist of names and numbers.
    """
    counters: dict[str, int] = {}
    for row in text.splitlines():
        prefix, _, rest = row.partition(":")
        words = rest.split()
        if len(words) % 2 or not "".join(words[1::2]).isdecimal():
            raise ParseError(_SOCKSTAT, f"{row[:60]!r} does not consist of names and numbers")
        names = zip(words[::2], words[1::2], strict=True)
        counters |= {f"sockstat.{prefix}.{name}": decimal(value) for name, value in names}
    return counters


def _pairs(source: str, text: str) -> Iterator[tuple[str, int]]:
    rows = [row.partition(":") for row in text.splitlines() if row.strip()]
    if len(rows) % 2:
        raise ParseError(source, "a row of names is not followed by a row of values")
    for (prefix, _, names), (again, _, values) in list(pairwise(rows))[::2]:
        if prefix != again or len(names.split()) != len(values.split()):
            raise ParseError(
                source, f"{prefix}: the row of values is not as long as the row of names"
            )
        for name, value in zip(names.split(), values.split(), strict=True):
            try:
                yield f"{prefix}.{name}", decimal(value)
            except ValueError as error:
                raise ParseError(source, f"{prefix} {name}: {value!r} is not a number") from error
