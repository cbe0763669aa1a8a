"""Values of an IPVS table as people write them, in a plan or for ipvsadm(8). Pure.

A `ValueError` says only why a value is invalid; the caller adds the key or line of the value.
"""

import ipaddress
import socket
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Literal

from dirtune.addresses import family
from dirtune.lvs.model import SCHED_FLAGS, scheduler_flags

LONGEST_PERSISTENCE_S = 86400 * 31
"""Limit of a persistence timeout in seconds (MAX_TIMEOUT of ipvsadm.c, ipvsadm 1.31)."""
# First bytes at which the multicast addresses and the reserved addresses begin.
_MULTICAST, _RESERVED = 224, 240
_UNSPECIFIED = "0.0.0.0"  # noqa: S104  (refused)
_LONGEST_PREFIX = 128
_ONE_CLIENT = "255.255.255.255"


@lru_cache(maxsize=2**16)
def host_address(text: str) -> tuple[str, Literal[4, 6]]:
    """Return the address of one host as the kernel's tools write it, and its IP version.

    Raises `ValueError` for other texts, multicast addresses and the unspecified address.
    """
    # Many services have the same real servers, and ipaddress is slow.
    with suppress(OSError):
        first = socket.inet_pton(socket.AF_INET, text)[0]
        if _MULTICAST <= first < _RESERVED or text == _UNSPECIFIED:
            raise ValueError(f"{text} is not the address of a single host")
        return text, 4
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an IPv4 or IPv6 address") from error
    if address.is_multicast or address.is_unspecified or "%" in text:
        raise ValueError(f"{text} is not the address of a single host")
    return str(address), family(str(address))


@lru_cache(maxsize=2**10)
def service_port(name: str, protocol: str) -> int:
    """Return the port of the service called *name*, as this machine's /etc/services has it.

    Raises `ValueError` for an unknown name.
    """
    try:
        return socket.getservbyname(name, protocol)
    except OSError as error:
        raise ValueError(
            f"{name} is neither a port nor a {protocol} service of /etc/services. Save numbers "
            "instead: ipvsadm -Sn"
        ) from error


def flag_bits(scheduler: str, names: Iterable[str]) -> int:
    """Return the kernel's bits for the flags of *scheduler* that are called *names*."""
    bits = {name: bit for bit, name in scheduler_flags(scheduler).items()}
    numbered = {name: bit for bit, name in SCHED_FLAGS.items()}  # valid for every scheduler
    flags = 0
    for name in names:
        if name in numbered:
            flags |= numbered[name]
            continue
        if name not in bits:
            raise ValueError(
                f"the scheduler {scheduler} has no flag {name!r}. Its flags are {', '.join(bits)}"
            )
        flags |= bits[name]
    return flags


def persistence_mask(text: str, version: int) -> str:
    """Return the persistence mask *text* as the model stores it.

    *text* is a mask such as 255.255.255.0 for IPv4, and a prefix length for IPv6. The result is
    empty if the mask covers only one client address.
    """
    if version == 6:
        if text.isdecimal() and 1 <= int(text) <= _LONGEST_PREFIX:
            return "" if int(text) == _LONGEST_PREFIX else str(int(text))
        raise ValueError(f"{text!r} is not an IPv6 prefix length from 1 to {_LONGEST_PREFIX}")
    try:
        mask = str(ipaddress.IPv4Network(f"0.0.0.0/{text}").netmask)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a netmask such as 255.255.255.0") from error
    return "" if mask == _ONE_CLIENT else mask
