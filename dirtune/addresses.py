"""Write IP addresses as the kernel's tools do, in pure functions."""

from typing import Literal


def joined(address: str, port: int) -> str:
    """Return `address:port`, with an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def family(address: str) -> Literal[4, 6]:
    """Return the IP version of a valid IP address."""
    return 6 if ":" in address else 4
