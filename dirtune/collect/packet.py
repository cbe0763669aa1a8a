"""/proc/net/packet: sockets that receive copies of packets.

Format: net/packet/af_packet.c, packet_seq_show(): one row per AF_PACKET socket. `Proto` is
hexadecimal; 0003 (ETH_P_ALL) means every packet. `Iface` is an interface's index; 0 means all.
"""

from dataclasses import dataclass

from dirtune.collect.files import decimal, hexadecimal
from dirtune.errors import ParseError
from dirtune.host import Host

SOURCE = "/proc/net/packet"
SOURCES = (SOURCE,)


@dataclass(frozen=True, slots=True)
class PacketSocket:
    """One AF_PACKET socket."""

    protocol: int
    """EtherType; 3 means every packet."""
    ifindex: int
    """Index of the interface; 0 means all interfaces."""
    running: bool
    inode: int
    """Inode of the socket, by which /proc/PID/fd shows its owner."""


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
            PacketSocket(hexadecimal(proto), decimal(iface), run == "1", decimal(inode))
            for proto, iface, run, inode in cells
        )
    except (ValueError, IndexError) as error:
        raise ParseError(
            SOURCE, "the header row is missing, or another row does not match the header"
        ) from error
