"""Checks of clients (load generators and proxies), and the helper functions that they share."""

from dirtune.snapshot import Snapshot

TIME_WAIT_S = 60
"""Seconds that a socket stays in TIME_WAIT: TCP_TIMEWAIT_LEN in include/net/tcp.h, a constant."""
_RANGE = "net/ipv4/ip_local_port_range"


def ports(snapshot: Snapshot) -> int | None:
    """Return the number of source ports that one address can use; None if unknown."""
    if snapshot.sysctls is None:
        return None
    span = snapshot.sysctls.numbers(_RANGE)
    if len(span) != 2 or span[1] < span[0]:
        return None
    low, high = span
    reserved = snapshot.sysctls.text("net/ipv4/ip_local_reserved_ports") or ""
    return high - low + 1 - sum(_overlap(part, low, high) for part in reserved.split(","))


def addresses(snapshot: Snapshot) -> int | None:
    """Return the number of IPv4 addresses that a client can connect from; None if unknown."""
    if snapshot.addresses is None:
        return None
    return sum(":" not in a and not a.startswith("127.") for a in snapshot.addresses) or None


def time_wait(snapshot: Snapshot) -> int | None:
    """Return the number of sockets in TIME_WAIT; None if unknown."""
    return (snapshot.snmp or {}).get("sockstat.TCP.tw")


def _overlap(part: str, low: int, high: int) -> int:
    first, _, last = part.strip().partition("-")
    if not first.isdecimal() or not (last or first).isdecimal():
        return 0
    return max(0, min(int(last or first), high) - max(int(first), low) + 1)
