"""/proc/net/packet and ptype: who takes a copy of packets.

Formats: net/packet/af_packet.c, packet_seq_show(), one row per AF_PACKET socket; `Proto` is
hexadecimal, 0003 is ETH_P_ALL, every packet. `Iface` is an interface's index, 0 for all.
"""

from dataclasses import dataclass

from dirtune.errors import ParseError
from dirtune.host import Host

SOURCE = "/proc/net/packet"
SOURCES = (SOURCE,)


@dataclass(frozen=True, slots=True)
class PacketSocket:
    """One socket."""

    protocol: int
    """EtherType; 3 is every packet."""
    ifindex: int
    """Interface; 0 for all."""
    running: bool
    inode: int
    """Number that /proc/PID/fd shows its owner by."""


def read_packet(host: Host) -> tuple[PacketSocket, ...]:
    """Read the sockets of this network namespace."""
    return parse_packet(host.read(SOURCE))


def parse_packet(text: str) -> tuple[PacketSocket, ...]:
    """Parse the text of /proc/net/packet."""
    head, *rows = [row.split() for row in text.splitlines() if row.strip()] or [[]]
    try:
        at = [head.index(name) for name in ("Proto", "Iface", "R", "Inode")]
        cells = [[row[place] for place in at] for row in rows]
        return tuple(
            PacketSocket(int(proto, 16), int(iface), run == "1", int(inode))
            for proto, iface, run, inode in cells
        )
    except (ValueError, IndexError) as error:
        raise ParseError(SOURCE, "no header, or a row that does not fit it") from error
