"""How network cards are set: rings, channels, coalescing, offloads, drivers' own counters.

Asked over netlink or, for counters, by ioctl (`collect.netlink`). Most drivers answer only some of
it: what a driver does not know is None or absent.
"""

from collections.abc import Mapping

import msgspec

from dirtune.collect.netlink import ETHTOOL
from dirtune.errors import ParseError
from dirtune.host import Host

SOURCES: tuple[str, ...] = ()


class Feature(msgspec.Struct, frozen=True):
    """One offload."""

    on: bool
    fixed: bool = False
    """Whether the driver does not let it be changed."""


class Card(msgspec.Struct, frozen=True):
    """One card's settings; None where its driver does not answer."""

    rings: Mapping[str, int] | None = None
    """`rx`, `tx`, `rx_max`, `tx_max`, in descriptors."""
    channels: Mapping[str, int] | None = None
    """`combined_count`, `max_combined`, `rx_count`, `max_rx`, ..."""
    coalesce: Mapping[str, int] | None = None
    """`rx_coalesce_usecs`, `use_adaptive_rx_coalesce`, ..."""
    features: Mapping[str, Feature] | None = None
    """By the kernel's name, `rx-lro`, `rx-gro`."""
    statistics: Mapping[str, int] | None = None
    """The driver's own counters by its own names."""


def read_ethtool(host: Host) -> Mapping[str, Card]:
    """Read the settings by interface; `SourceMissing` where netlink was not asked."""
    return parse_ethtool(host.read(ETHTOOL))


def parse_ethtool(text: str) -> Mapping[str, Card]:
    """Parse the answers that `collect.netlink` keeps."""
    try:
        return msgspec.json.decode(text, type=dict[str, Card])
    except msgspec.MsgspecError as error:
        raise ParseError(ETHTOOL, str(error)) from error
