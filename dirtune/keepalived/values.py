"""Values in keepalived.conf(5): numbers, times and addresses. Pure.

The limits are those of keepalived 2.2.7 (check_parser.c, check_data.c, vrrp_parser.c). A
`ValueError` says why a value is invalid, and does not contain the value if it may be a secret.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Literal

from dirtune.keepalived.model import Endpoint, Forwarding, Method

LONGEST_S = 4294
"""Largest time in seconds that keepalived stores (UINT_MAX microseconds)."""
_TIMER = re.compile(r"\d{1,10}(\.\d{0,9})?|\.\d{1,9}")
_UNSIGNED = re.compile(r"\d{1,20}")
_METHODS: dict[str, Method] = {"NAT": "NAT", "DR": "DR", "TUN": "TUN"}
_PORTS = 65535
_YES, _NO = {"true", "on", "yes"}, {"false", "off", "no"}
LAST_MARK = 2**32 - 1


def number(words: Sequence[str], at: int, least: int, most: int) -> int:
    """Return the whole number at *at*, which is at least *least* and at most *most*."""
    text = required(words, at).strip()
    if not _UNSIGNED.fullmatch(text) or not least <= int(text) <= most:
        raise ValueError(f"{text!r} is not a number from {least} to {most}")
    return int(text)


def seconds(words: Sequence[str], least: float, most: float = LONGEST_S) -> float:
    """Return the time in the first word in seconds."""
    text = required(words, 0).strip()
    if not _TIMER.fullmatch(text) or not least <= float(text) <= most:
        raise ValueError(f"{text!r} is not a time from {least:g} to {most} seconds")
    return float(text)


def required(words: Sequence[str], at: int) -> str:
    """Return the word at *at*. Raises `ValueError` if the line has fewer words."""
    if at >= len(words):
        raise ValueError("a parameter is missing")
    return words[at]


def switch(words: Sequence[str]) -> bool:
    """Return whether the keyword is on; a keyword alone is."""
    if not words or words[0] in _YES:
        return True
    if words[0] in _NO:
        return False
    raise ValueError(f"{words[0]!r} is neither yes nor no")


def address(text: str) -> tuple[str, Literal[4, 6]]:
    """Return an address as the kernel's tools write it, and its IP version.

    Raises `ValueError` for what inet_pton(3) refuses; keepalived resolves no names here.
    """
    version: Literal[4, 6] = 6 if ":" in text else 4
    try:
        parsed = ipaddress.IPv6Address(text) if version == 6 else ipaddress.IPv4Address(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an IPv{version} address") from error
    if "%" in text:
        raise ValueError(f"{text!r} is not an IPv{version} address")
    return str(parsed), version


def old_address(text: str) -> str:
    """Return an IPv4 address that may have fewer than four numbers, as inet_aton(3) reads it."""
    parts = text.split(".")
    if len(parts) > 4 or not all(re.fullmatch("[0-9]{1,10}", part) for part in parts):
        raise ValueError(f"{text!r} is not an IPv4 mask")
    *bytes_, rest = map(int, parts)
    if any(byte > 255 for byte in bytes_) or rest >= 256 ** (5 - len(parts)):
        raise ValueError(f"{text!r} is not an IPv4 mask")
    high = sum(byte << 24 - 8 * place for place, byte in enumerate(bytes_))
    return str(ipaddress.IPv4Address(high + rest))


def host_port(words: Sequence[str]) -> tuple[str, int]:
    """Return the address and the port of the words, 0 for none."""
    host, _ = address(re.split("[-/]", required(words, 0), maxsplit=1)[0])
    return host, port(words, 1)


def port(words: Sequence[str], at: int) -> int:
    """Return the port at *at*; 0 if it is missing or zero."""
    if at >= len(words) or not words[at].strip("0"):
        return 0
    return number(words, at, 1, _PORTS)


def server(words: Sequence[str]) -> Endpoint | None:
    """Return what the words after virtual_server name; None if they name a group."""
    kind = required(words, 0)
    if kind == "group":
        required(words, 1)
        return None
    if kind == "fwmark":
        return Endpoint(mark=number(words, 1, 0, LAST_MARK))
    host, service = host_port(words)
    return Endpoint(first=host, last=host, port=service, family=6 if ":" in host else 4)


def entry(words: Sequence[str]) -> Endpoint:
    """Return the row *words* of a virtual_server_group."""
    text = required(words, 0)
    if text == "fwmark":
        families = {"inet": 4, "inet6": 6}
        if len(words) > 2 and words[2] not in families:
            raise ValueError(f"{words[2]!r} is not inet or inet6")
        family = families[words[2]] if len(words) > 2 else None
        return Endpoint(mark=number(words, 1, 0, LAST_MARK), family=family)
    first, version = address(re.split("[-/]", text, maxsplit=1)[0])
    last = _last(text, first)
    if int(ipaddress.ip_address(last)) < int(ipaddress.ip_address(first)):
        raise ValueError(f"{text!r} ends before it begins")
    return Endpoint(first=first, last=last, port=port(words, 1), family=version)


def forwarding(words: Sequence[str]) -> Forwarding:
    """Return the forwarding method of lvs_method and lb_kind."""
    name = required(words, 0)
    if name not in _METHODS:
        raise ValueError(f"{name!r} is not NAT, DR or TUN")
    tunnel, tunnel_port, checksum = "ipip", 0, "nocsum"
    left = iter(words[1:])
    for word in left:
        if word == "type":
            tunnel = next(left, "")
        elif word == "port":
            tunnel_port = number([next(left, "")], 0, 1, _PORTS)
        elif word in {"nocsum", "csum", "remcsum"}:
            checksum = word
        else:
            raise ValueError(f"{word!r} is not an option of a tunnel")
    _require_tunnel(tunnel, tunnel_port, checksum)
    return Forwarding(_METHODS[name], tunnel, tunnel_port, checksum)  # type: ignore[arg-type]


def _require_tunnel(tunnel: str, tunnel_port: int, checksum: str) -> None:
    if tunnel not in {"ipip", "gue", "gre"}:
        raise ValueError(f"{tunnel!r} is not a type of tunnel")
    if (tunnel == "gue") != bool(tunnel_port):
        raise ValueError("a gue tunnel needs a port, and no other tunnel has one")
    if (tunnel, checksum) in {("ipip", "csum"), ("ipip", "remcsum"), ("gre", "remcsum")}:
        raise ValueError(f"an {tunnel} tunnel has no {checksum}")


def _last(text: str, first: str) -> str:
    """Return the last address of a range such as 10.0.0.1-9, of a network, or of one address."""
    begin, slash, _ = text.partition("/")
    if slash:
        try:
            return str(ipaddress.ip_network(text).broadcast_address)
        except ValueError as error:
            raise ValueError(f"{text!r} is not a network") from error
    begin, dash, end = text.partition("-")
    if not dash:
        return first
    if ("." if "." in begin else ":") in end:
        last, version = address(end)
        if (version == 6) != (":" in first):
            raise ValueError(f"{text!r} has two IP versions")
        return last
    base = 16 if ":" in begin else 10
    most = 0xFFFF if base == 16 else 0xFF
    if not re.fullmatch("[0-9a-fA-F]{1,4}", end) or (base == 10 and not end.isdecimal()):
        raise ValueError(f"{text!r} has no valid end")
    lowest = int(ipaddress.ip_address(first))
    if int(end, base) > most or int(end, base) <= lowest & most:
        raise ValueError(f"{text!r} ends before it begins, or beyond {most:x}")
    whole = (lowest & ~most) | int(end, base)
    return str(ipaddress.IPv6Address(whole) if base == 16 else ipaddress.IPv4Address(whole))
