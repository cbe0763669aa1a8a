"""The main IPv4 routing table from `ip route`, as /proc/net/route.

A row of another table than `main` names that table. Blackhole and unreachable routes have no
interface, and multipath routes continue in rows of their own; both are left out.
"""

import ipaddress
import re
import sys
from collections.abc import Iterator

from dirtune.collect.routes import SOURCE
from dirtune.host import Host
from dirtune.sosreport.outputs import output

_ROW = re.compile(
    r"(?P<network>default|[\d.]{7,15}(?:/\d{1,2})?)(?: via (?P<gateway>[\d.]{7,15}))? "
    r"dev (?P<interface>[^\s/]{1,15})(?P<rest>.*)"
)
_METRIC = re.compile(r" metric (\d{1,10})\b")
_ADVMSS = re.compile(r" advmss (\d{1,5})\b")
_UP, _GATEWAY, _HEADERS_BYTES = 0x1, 0x2, 40
_TITLES = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT"


def translated(host: Host) -> Iterator[tuple[str, str]]:
    """Yield the text of /proc/net/route."""
    text = output(host, "ip_route_show_table_all", "ip_route", "ip_route_show")
    rows = [row for line in (text or "").splitlines() if (row := _row(line))]
    if rows:
        yield SOURCE, "\n".join((_TITLES, *rows, ""))


def _row(line: str) -> str | None:
    match = _ROW.fullmatch(line.rstrip())
    if not match or re.search(r" table (?!main\b)", match["rest"]):
        return None
    try:
        named = "0.0.0.0/0" if match["network"] == "default" else match["network"]
        network = ipaddress.IPv4Network(named, strict=False)
        gateway = ipaddress.IPv4Address(match["gateway"] or 0)
    except ValueError:
        return None
    metric, advmss = _METRIC.search(match["rest"]), _ADVMSS.search(match["rest"])
    flags = _UP | (_GATEWAY if match["gateway"] else 0)
    mtu = int(advmss[1]) + _HEADERS_BYTES if advmss else 0
    return (
        f"{match['interface']} {_word(network.network_address)} {_word(gateway)} {flags:04X} 0 0 "
        f"{metric[1] if metric else 0} {_word(network.netmask)} {mtu} 0 0"
    )


def _word(address: ipaddress.IPv4Address) -> str:
    # The parser of /proc/net/route assumes the byte order of the machine that reads the record.
    return f"{int.from_bytes(address.packed, sys.byteorder):08X}"
