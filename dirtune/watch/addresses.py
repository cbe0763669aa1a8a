"""Count the addresses that this network namespace gains and loses, as in a fail-over.

The kernel announces changes over netlink (include/uapi/linux/rtnetlink.h), so the addresses are
listed only after an announcement. An address that comes and goes within a second is not counted.
"""

import socket

import psutil

_RTMGRP_IPV4_IFADDR, _RTMGRP_IPV6_IFADDR = 0x10, 0x100
_BUFFER_BYTES = 1 << 16


class Addresses:
    """The addresses of this network namespace, and how many were gained or lost."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        try:
            self._socket.bind((0, _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR))
            self._socket.settimeout(0)
            self._now = _listed()
        except BaseException:
            self._socket.close()
            raise
        self._changes = 0

    def changes(self) -> int:
        """Return how many addresses were gained or lost since the start."""
        if self._announced():
            now = _listed()
            self._changes += len(now ^ self._now)
            self._now = now
        return self._changes

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _announced(self) -> bool:
        """Return whether the kernel has announced a change since the last call."""
        announced = False
        while True:
            try:
                self._socket.recv(_BUFFER_BYTES)
            except BlockingIOError:
                return announced
            except OSError:  # ENOBUFS: there were more announcements than the buffer holds
                return True
            announced = True


def _listed() -> frozenset[tuple[str, str]]:
    families = {socket.AF_INET, socket.AF_INET6}
    return frozenset(
        (name, each.address)
        for name, addresses in psutil.net_if_addrs().items()
        for each in addresses
        if each.family in families
    )
