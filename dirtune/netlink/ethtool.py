"""Settings of NICs: ring sizes over generic netlink, everything else over ethtool(8)'s ioctl.

Formats: include/uapi/linux/ethtool_netlink.h and ethtool.h (Linux 6.1). For rings, netlink reports
more than the ioctl. For channels and coalescing, netlink would report less, because it leaves out
the values that a driver does not support.
"""

import os
import socket
import struct
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fcntl import ioctl
from typing import NamedTuple

from dirtune.errors import ParseError, require_files
from dirtune.formats import parsing
from dirtune.netlink import attributes, genl

_ETHTOOL_GENL_NAME, _ETHTOOL_GENL_VERSION = "ethtool", 1
_ETHTOOL_MSG_RINGS_GET = 15
_ETHTOOL_A_RINGS_HEADER = 1
_ETHTOOL_A_HEADER_DEV_NAME = 2

_SIOCETHTOOL = 0x8946
_ETHTOOL_GCOALESCE = 0x0E
_ETHTOOL_GRINGPARAM = 0x10
_ETHTOOL_GSTRINGS = 0x1B
_ETHTOOL_GSTATS = 0x1D
_ETHTOOL_GSSET_INFO = 0x37
_ETHTOOL_GRXFHINDIR = 0x38
_ETHTOOL_SRXFHINDIR = 0x39
_ETHTOOL_GFEATURES = 0x3A
_ETHTOOL_GCHANNELS = 0x3C
_ETH_SS_STATS, _ETH_SS_FEATURES = 1, 4
_ETH_GSTRING_LEN = 32

_IFREQ = struct.Struct("16sP16x")
_SSET_INFO = struct.Struct("=IIQI")
_GSTRINGS = struct.Struct("=III")
_GSTATS = struct.Struct("=II")
_GFEATURES = struct.Struct("=II")
_RXFH_INDIR = struct.Struct("=II")
# Available, requested, active, never changed: 32 features each.
_FEATURES_BLOCK = struct.Struct("=IIII")
_MORE = 4096
"""Spare strings or counters in a buffer. The kernel ignores the size of the buffer, and a change
of channels can add counters after they were counted."""

_RINGPARAM = (
    *("rx_max", "rx_mini_max", "rx_jumbo_max", "tx_max"),
    *("rx", "rx_mini", "rx_jumbo", "tx"),
)
_CHANNELS = (
    *("max_rx", "max_tx", "max_other", "max_combined"),
    *("rx_count", "tx_count", "other_count", "combined_count"),
)
_COALESCE = (
    "rx_coalesce_usecs",
    "rx_max_coalesced_frames",
    "rx_coalesce_usecs_irq",
    "rx_max_coalesced_frames_irq",
    "tx_coalesce_usecs",
    "tx_max_coalesced_frames",
    "tx_coalesce_usecs_irq",
    "tx_max_coalesced_frames_irq",
    "stats_block_coalesce_usecs",
    "use_adaptive_rx_coalesce",
    "use_adaptive_tx_coalesce",
    "pkt_rate_low",
    "rx_coalesce_usecs_low",
    "rx_max_coalesced_frames_low",
    "tx_coalesce_usecs_low",
    "tx_max_coalesced_frames_low",
    "pkt_rate_high",
    "rx_coalesce_usecs_high",
    "rx_max_coalesced_frames_high",
    "tx_coalesce_usecs_high",
    "tx_max_coalesced_frames_high",
    "rate_sample_interval",
)


class RingsAttributes(NamedTuple):
    """The attributes ETHTOOL_A_RINGS_*; the kernel sends only those that the driver supports."""

    header: bytes = b""
    rx_max: int | None = None
    rx_mini_max: int | None = None
    rx_jumbo_max: int | None = None
    tx_max: int | None = None
    rx: int | None = None
    rx_mini: int | None = None
    rx_jumbo: int | None = None
    tx: int | None = None
    rx_buf_len: int | None = None
    tcp_data_split: int | None = None
    cqe_size: int | None = None
    tx_push: int | None = None
    rx_push: int | None = None
    tx_push_buf_len: int | None = None
    tx_push_buf_len_max: int | None = None


class Cards:
    """Settings that the drivers of this network namespace report.

    Each method raises `OSError` if the driver of the interface *name* does not support the
    request.
    """

    def __init__(self, control: socket.socket, netlink: genl.Socket | None) -> None:
        self._control = control
        self._netlink = netlink

    def rings(self, name: str) -> dict[str, int]:
        """Return the ring sizes in descriptors: `rx`, `tx`, `rx_max`, `tx_max` and more."""
        if self._netlink is not None:
            device = attributes.raw(_ETHTOOL_A_HEADER_DEV_NAME, os.fsencode(name) + b"\0")
            header = attributes.nest(_ETHTOOL_A_RINGS_HEADER, device)
            with suppress(genl.Refused):
                return parse_rings(self._netlink.get(_ETHTOOL_MSG_RINGS_GET, header))
        return self._numbers(name, _ETHTOOL_GRINGPARAM, _RINGPARAM)

    def channels(self, name: str) -> dict[str, int]:
        """Return the numbers of channels: `combined_count`, `max_combined` and more."""
        return self._numbers(name, _ETHTOOL_GCHANNELS, _CHANNELS)

    def coalesce(self, name: str) -> dict[str, int]:
        """Return `rx_coalesce_usecs` and the other fields of `struct ethtool_coalesce`."""
        numbers = self._numbers(name, _ETHTOOL_GCOALESCE, _COALESCE)
        # `cmd` has no meaning; it keeps records comparable with those of older versions.
        return {"cmd": _ETHTOOL_GCOALESCE} | numbers

    def features(self, name: str) -> dict[str, dict[str, bool]]:
        """Return whether each offload is on and whether it is fixed, by the kernel's names."""
        names = self._strings(name, _ETH_SS_FEATURES)
        blocks = (len(names) + 31) // 32
        room = bytes(blocks * _FEATURES_BLOCK.size)
        return parse_features(
            self._ask(name, _GFEATURES.pack(_ETHTOOL_GFEATURES, blocks) + room), names
        )

    def statistics(self, name: str) -> dict[str, int]:
        """Return the driver's own counters by the driver's names."""
        names = self._strings(name, _ETH_SS_STATS)
        head = _GSTATS.pack(_ETHTOOL_GSTATS, len(names))
        return parse_statistics(self._ask(name, head + bytes(8 * (len(names) + _MORE))), names)

    def rss_table(self, name: str) -> tuple[int, ...]:
        """Return the RSS indirection table: the queue of each hash value."""
        head = _RXFH_INDIR.pack(_ETHTOOL_GRXFHINDIR, 0)
        size = _RXFH_INDIR.unpack(self._ask(name, head))[1]
        head = _RXFH_INDIR.pack(_ETHTOOL_GRXFHINDIR, size)
        return parse_rss_table(self._ask(name, head + bytes(4 * size)))

    def set_rss_table(self, name: str, table: Sequence[int]) -> None:
        """Set the RSS indirection table; an empty *table* restores the driver's default."""
        head = _RXFH_INDIR.pack(_ETHTOOL_SRXFHINDIR, len(table))
        self._ask(name, head + struct.pack(f"={len(table)}I", *table))

    def _numbers(self, name: str, command: int, names: Sequence[str]) -> dict[str, int]:
        question = struct.pack("=I", command) + bytes(4 * len(names))
        return parse_numbers(self._ask(name, question), names)

    def _strings(self, name: str, which: int) -> list[str]:
        info = self._ask(name, _SSET_INFO.pack(_ETHTOOL_GSSET_INFO, 0, 1 << which, 0))
        count = _SSET_INFO.unpack(info)[3]
        head = _GSTRINGS.pack(_ETHTOOL_GSTRINGS, which, count)
        return parse_strings(self._ask(name, head + bytes(_ETH_GSTRING_LEN * (count + _MORE))))

    def _ask(self, name: str, question: bytes) -> bytes:
        """Return the kernel's answer to the ioctl *question*; *question* itself is not changed."""
        answer = array("B", question)
        address, _ = answer.buffer_info()
        ioctl(self._control, _SIOCETHTOOL, _IFREQ.pack(os.fsencode(name), address))
        return answer.tobytes()


@contextmanager
def opened() -> Iterator[Cards]:
    """Yield access to the NICs' settings, by ioctl alone if the kernel lacks ethtool's netlink."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            netlink = genl.Socket(_ETHTOOL_GENL_NAME, _ETHTOOL_GENL_VERSION)
        except (genl.Refused, OSError) as error:
            require_files(error)
            yield Cards(control, None)
            return
        with netlink:
            yield Cards(control, netlink)


@parsing("ethtool")
def parse_rings(answer: bytes) -> dict[str, int]:
    """Parse the answer to ETHTOOL_MSG_RINGS_GET."""
    found = attributes.Reader(RingsAttributes)(answer)._asdict()
    del found["header"]
    return {name: value for name, value in found.items() if value is not None}


@parsing("ethtool")
def parse_numbers(answer: bytes, names: Sequence[str]) -> dict[str, int]:
    """Parse a struct of 32-bit numbers, the first of which is the command."""
    _, *values = struct.unpack(f"={1 + len(names)}I", answer)
    return dict(zip(names, values, strict=True))


@parsing("ethtool")
def parse_rss_table(answer: bytes) -> tuple[int, ...]:
    """Parse `struct ethtool_rxfh_indir`."""
    size = _RXFH_INDIR.unpack_from(answer)[1]
    return struct.unpack_from(f"={size}I", answer, _RXFH_INDIR.size)


@parsing("ethtool")
def parse_strings(answer: bytes) -> list[str]:
    """Parse `struct ethtool_gstrings`; some drivers leave gaps, which become empty names."""
    count = _GSTRINGS.unpack_from(answer)[2]
    end = _GSTRINGS.size + count * _ETH_GSTRING_LEN
    if end > len(answer):
        raise ParseError(
            "ethtool",
            f"the header declares {count} strings, but the data is only {len(answer)} bytes long",
        )
    places = range(_GSTRINGS.size, end, _ETH_GSTRING_LEN)
    texts = (answer[at : at + _ETH_GSTRING_LEN] for at in places)
    return [text.partition(b"\0")[0].decode("latin-1") for text in texts]


@parsing("ethtool")
def parse_features(answer: bytes, names: Sequence[str]) -> dict[str, dict[str, bool]]:
    """Parse `struct ethtool_gfeatures`."""
    found = {}
    for number, name in enumerate(names):
        block, bit = divmod(number, 32)
        at = _GFEATURES.size + block * _FEATURES_BLOCK.size
        available, _, active, _ = _FEATURES_BLOCK.unpack_from(answer, at)
        found[name] = {"on": bool(active >> bit & 1), "fixed": not available >> bit & 1}
    return found


@parsing("ethtool")
def parse_statistics(answer: bytes, names: Sequence[str]) -> dict[str, int]:
    """Parse `struct ethtool_stats`.

    Raises `ParseError` if the number of counters changed after *names* were read.
    """
    count = _GSTATS.unpack_from(answer)[1]
    if count != len(names):
        raise ParseError(
            "ethtool",
            f"the number of counters changed from {len(names)} to {count} during the reading",
        )
    values = struct.unpack_from(f"={count}Q", answer, _GSTATS.size)
    return numbered(zip(names, values, strict=True))


def numbered(counters: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return *counters* by name; a name that a driver repeats gets numbers from 0: `NAME[0]`.

    vmxnet3 has the same names for each queue, in the order of the queues.
    """
    pairs = [(name.strip(), value) for name, value in counters]
    times = Counter(name for name, _ in pairs)
    queues: Counter[str] = Counter()
    values = {}
    for name, value in pairs:
        values[f"{name}[{queues[name]}]" if times[name] > 1 else name] = value
        queues[name] += 1
    return values
