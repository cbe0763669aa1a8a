"""Write IP addresses and virtual services as the kernel's tools do, in pure functions."""

from typing import Literal


def joined(address: str, port: int) -> str:
    """Return `address:port`, with an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def service_name(protocol: str, address: str | None, port: int | None, fwmark: int | None) -> str:
    """Return a virtual service as ipvsadm(8) writes it, such as `TCP 198.18.0.100:80`."""
    if fwmark is not None:
        return f"FWM {fwmark}"
    return f"{protocol} {joined(address or '', port or 0)}"


def family(address: str) -> Literal[4, 6]:
    """Return the IP version of a valid IP address."""
    return 6 if ":" in address else 4
