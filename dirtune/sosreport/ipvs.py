"""The table of IPVS from the listings of ipvsadm(8): `-Ln` with and without another view.

Format: print_title(), print_service_entry() and print_largenum() of ipvsadm.c (ipvsadm 1.31). All
views name services and real servers in the same way; the columns that follow differ. A listing
rounds counters from 100 million on down to thousands (K), millions (M) or more.
"""

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from dirtune.collect.answers import IPVS
from dirtune.collect.ip_vs import SOURCE
from dirtune.collect.ipvs_netlink import Ipvs, IpvsDestination, IpvsService
from dirtune.host import Host
from dirtune.lvs.model import IP_VS_SVC_F_ONEPACKET
from dirtune.lvs.values import flag_bits
from dirtune.sosreport.outputs import output

_TITLE = re.compile(r"IP Virtual Server version \S+ \(size=\d+\)")
_PROTOCOLS = {"TCP", "UDP", "SCTP", "FWM"}
_ENDPOINT = re.compile(r"\[([0-9a-f.:]{2,45})\]:(\d{1,5})|([\d.]{7,15}):(\d{1,5})")
_TITLES = 3
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_NUMBER = re.compile(r"(\d{1,20})([KMGT]?)")
_TIMEOUTS = re.compile(r"Timeout \(tcp tcpfin udp\): (\d{1,9}) (\d{1,9}) (\d{1,9})")
_COUNTERS = ("connections", "packets_in", "packets_out", "bytes_in", "bytes_out")


@dataclass(frozen=True, slots=True)
class Row:
    """A service of a listing with its real servers."""

    name: tuple[str, str]
    """Protocol, and the address with its port, or the firewall mark."""
    words: list[str]
    """The words after the name: a scheduler with its options, or counters."""
    behind: dict[str, list[str]] = field(default_factory=dict)
    """The words after each real server, by its address and port."""


def translated(host: Host) -> Iterator[tuple[str, str]]:
    """Yield the text of /proc/net/ip_vs, and the answer that netlink would have given."""
    text = output(host, "ipvsadm_-Ln")
    title = _TITLE.match(text or "")
    rows = None if text is None or title is None else _table(text)
    if title is None or rows is None:
        return
    yield SOURCE, "\n".join((title[0], *_kernel_rows(rows)))
    views = {
        view: {row.name: row for row in listed(output(host, f"ipvsadm_-Ln_--{view}") or "")}
        for view in ("stats", "thresholds", "persistent-conn")
    }
    # Without counters the answer would say no more than /proc/net/ip_vs.
    if views["stats"] or not rows:
        match = _TIMEOUTS.search(output(host, "ipvsadm_-Ln_--timeout") or "")
        names = ("tcp", "tcp_fin", "udp") if match else ()
        timeouts = {name: int(match[at]) for at, name in enumerate(names, 1) if match}
        answer = Ipvs(tuple(_service(row, views) for row in rows), timeouts)
        yield IPVS, json.dumps(msgspec.to_builtins(answer))


def _table(text: str) -> list[Row] | None:
    """Return the services of `ipvsadm -Ln`; None if a row cannot be read: a part is no table."""
    rows = listed(text)
    behind = [words for row in rows for words in row.behind.values()]
    most = sum(bool(line.strip()) for line in text.splitlines()) - _TITLES
    whole = len(rows) + len(behind) == most and all(
        len(words) > 3 and all(map(str.isdecimal, words[1:4])) for words in behind
    )
    return rows if whole else None


def listed(text: str) -> list[Row]:
    """Return the services of a listing; rows of another form are left out."""
    rows: list[Row] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 2 and words[0] in _PROTOCOLS and _named(words[:2]):
            rows.append(Row((words[0], words[1]), words[2:]))
        elif len(words) > 2 and words[0] == "->" and rows and _is_endpoint(words[1]):
            rows[-1].behind[words[1]] = words[2:]
    return rows


def _named(words: list[str]) -> bool:
    if words[0] == "FWM":
        return words[1].isdecimal() and int(words[1]) < 2**32
    return _is_endpoint(words[1])


def _is_endpoint(text: str) -> bool:
    match = _ENDPOINT.fullmatch(text)
    try:
        ipaddress.ip_address(match[1] or match[3] if match else "")
    except ValueError:
        return False
    return match is not None and int(match[2] or match[4]) < 2**16


def _kernel_rows(rows: list[Row]) -> Iterator[str]:
    """Yield the rows of /proc/net/ip_vs after the first."""
    yield "Prot LocalAddress:Port Scheduler Flags"
    yield "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn"
    for row in rows:
        protocol, name = row.name
        where = f"{int(name):08X}" if protocol == "FWM" else _hexadecimal(name)
        scheduler, *options = _without_family(row.words)
        # The kernel prints jiffies here; no check reads more than whether there is a time.
        persistent = _option(options, "persistent")
        flags = ("ops " if "ops" in options else "") + (
            f"persistent {persistent} FFFFFFFF" if persistent else ""
        )
        yield f"{protocol}  {where} {scheduler} {flags}"
        for server, (forward, weight, *connections) in row.behind.items():
            active, inactive = (*connections, "0", "0")[:2]
            yield f"  -> {_hexadecimal(server)} {forward} {weight} {active} {inactive}"


def _service(row: Row, views: Mapping[str, Mapping[tuple[str, str], Row]]) -> IpvsService:
    protocol, name = row.name
    scheduler, *options = _without_family(row.words)
    flags = next((word.strip("()") for word in options if word.startswith("(")), "")
    persistent = _option(options, "persistent")
    marked = protocol == "FWM"
    address, port = (None, None) if marked else _endpoint(name)
    seen = {view: rows.get(row.name) for view, rows in views.items()}
    stats = seen["stats"]
    return IpvsService(
        protocol=protocol,
        address=address,
        port=port,
        fwmark=int(name) if marked else None,
        family=6 if row.words[0] == "IPv6" or "[" in name else 4,
        scheduler=scheduler,
        flags=_bits(scheduler, flags) | (IP_VS_SVC_F_ONEPACKET if "ops" in options else 0),
        persistent_s=int(persistent) if persistent else None,
        netmask=_option(options, "mask") or "255.255.255.255",
        destinations=tuple(_destination(server, row, seen) for server in row.behind),
        **_counters(stats.words if stats else []),
    )


def _destination(server: str, row: Row, seen: Mapping[str, Row | None]) -> IpvsDestination:
    address, port = _endpoint(server)
    forward, weight, *connections = row.behind[server]
    active, inactive = (_number(word) for word in (*connections, "0", "0")[:2])
    columns = {view: of.behind.get(server, []) if of else [] for view, of in seen.items()}
    upper, lower = (*map(_number, columns["thresholds"][:2]), 0, 0)[:2]
    persistent = columns["persistent-conn"][1:2]
    return IpvsDestination(
        address=address,
        port=port,
        forward=forward,
        weight=_number(weight),
        upper=upper,
        lower=lower,
        active=active,
        inactive=inactive,
        persistent=_number(persistent[0]) if persistent else 0,
        **_counters(columns["stats"]),
    )


def _counters(words: list[str]) -> dict[str, int]:
    return dict(zip(_COUNTERS, map(_number, words), strict=False)) if len(words) == 5 else {}


def _number(word: str) -> int:
    match = _NUMBER.fullmatch(word)
    return int(match[1]) * _UNITS[match[2]] if match else 0


def _without_family(words: list[str]) -> list[str]:
    return words[1:] if words[0] == "IPv6" and len(words) > 1 else words


def _option(options: list[str], name: str) -> str | None:
    at = options.index(name) + 1 if name in options else len(options)
    value = options[at] if at < len(options) else ""
    return value if value and (name == "mask" or value.isdecimal()) else None


def _bits(scheduler: str, names: str) -> int:
    try:
        return flag_bits(scheduler, filter(None, names.split(",")))
    except ValueError:
        return 0


def _endpoint(text: str) -> tuple[str, int]:
    match = _ENDPOINT.fullmatch(text)
    assert match is not None  # `listed` found the row by this pattern
    return match[1] or match[3], int(match[2] or match[4])


def _hexadecimal(text: str) -> str:
    """Return an address and a port as the kernel's file has them."""
    address, port = _endpoint(text)
    parsed = ipaddress.ip_address(address)
    where = f"{int(parsed):08X}" if parsed.version == 4 else f"[{parsed.exploded}]"
    return f"{where}:{port:04X}"
