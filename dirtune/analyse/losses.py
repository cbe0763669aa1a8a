"""Compute how many packets a NIC lost because no descriptor or buffer was free for them.

The kernel's own counters come first (include/uapi/linux/if_link.h, `struct rtnl_link_stats64`).
Many drivers count these losses only under names of their own, which are in `ethtool -S`. Each name
here was read in the driver's source, below drivers/net.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dirtune.analyse import rates

STANDARD = ("rx_missed_errors", "rx_fifo_errors", "rx_over_errors")
"""The kernel's counters of packets that the host missed; `rx_dropped` counts other packets too."""
# The drivers' names, with `#` for the number of a queue or of a traffic class.
_BY_DRIVER: Mapping[str, tuple[str, ...]] = {
    "atlantic": ("InDroppedDma",),
    "be2net": (
        *("rxq#: rx_drops_no_frags", "rx_drops_no_pbuf", "rx_drops_no_erx_descr"),
        *("rx_input_fifo_overflow_drop", "rxpp_fifo_overflow_drop", "pmem_fifo_overflow_drop"),
    ),
    "bnx2": ("rx_fw_discards", "rx_ftq_discards", "rx_discards"),
    "bnx2x": ("rx_brb_discard", "rx_discards", "[#]: rx_discards"),
    "bnxt_en": ("rx_total_discard_pkts", "[#]: rx_discards", "[#]: rx_discard_pkts"),
    "cxgb4": ("rx_bg#_frames_dropped", "RxBG#FramesDropped"),
    "e1000": (),
    "e1000e": (),
    "ena": ("rx_drops", "rx_overruns"),
    "enic": ("rx_no_bufs",),
    "gve": ("rx_no_buffers_posted[#]",),
    "hv_netvsc": ("rx_no_memory",),
    "i40e": ("port.rx_dropped", "rx_dropped"),
    "iavf": ("rx_discards",),
    "ice": ("rx_dropped.nic", "rx_dropped"),
    "igb": ("rx_queue_#_drops",),
    "igc": ("rx_queue_#_drops",),
    "ixgbe": ("rx_no_dma_resources",),
    "mana": ("hc_rx_discards_no_wqe",),
    "mlx4_core": (),
    "mlx5_core": ("rx_out_of_buffer", "rx_discards_phy"),
    "nfp": ("dev_rx_discards",),
    "qede": ("no_buff_discards", "brb_discards"),
    "r8169": ("rx_missed",),
    "sfc": ("port_rx_nodesc_drops", "rx_nodesc_drop_cnt", "port_rx_overflow", "rx_overflow"),
    "tg3": ("rx_discards",),
    "virtio_net": ("rx_queue_#_drops", "rx#_drops", "rx_queue_#_hw_drop_overruns"),
    "vmxnet3": ("pkts rx OOB", "pkts rx OOB[#]"),
}
_ALIASES = {"i40evf": "iavf", "mlx4_en": "mlx4_core", "netvsc": "hv_netvsc"}
# No descriptor was free, but the NIC's FIFO may have kept the packet.
_STALLS = (
    *("rx_no_buffer_count", "rxbds_empty", "queue_#_rx_empty_rx_ring", "rx_queue_#_empty_rx_ring"),
)
# A driver that is not in the table: what its names say in words.
_RECEIVED = re.compile(r"(?:^|[^a-z])rx|receive|^in(?=[A-Z_])|Rx")
_FULL = re.compile(
    r"no_?(?:rx_?)?(?:buf|desc|frag|pbuf|rbd|wqe|resource|dma_resource|space|mem)"
    r"|out_?of_?(?:buf|desc|mem)|buf(?:fer)?s?_?unavail|overrun|overflow|missed|ring_?full|discard",
    re.IGNORECASE,
)
_OTHERWISE = re.compile(
    r"filter|vlan|addr|crc|fcs|pause|prio|parse|c(?:heck)?sum|polic|acl|steer|loopback|unknown"
    r"|bad|hash|irq|interrupt|xdp|tstamp|timestamp|_ts\b|lro|cache|sec|tls|tx|byte|octet|tag",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Loss:
    """Packets that a NIC lost between two samples because its ring or its buffers were full."""

    packets: int
    """Number of packets lost."""
    stalls: int
    """Number of packets for which no descriptor was free; the NIC's FIFO may have kept them."""
    counters: Mapping[str, int]
    """The increase of each counter that rose; a queue's number in a name is `#`."""
    queue: str | None = None
    """The queue that lost more than half of the packets; None if there is none, or if unknown."""
    by_word: bool = False
    """Whether the driver is not known, so that only the words of its counters' names were used."""


def losses(
    driver: str | None,
    generic: Mapping[str, int],
    own: Mapping[str, int] | None,
) -> Loss | None:
    """Return the loss that the increases of a NIC's counters show; None if no counter was read.

    *generic* has the increases of the kernel's counters, and *own* those of the driver's counters
    by the driver's names. Drivers copy one counter into another, so the largest count is used
    instead of the sum. Counters of single queues are added up.
    """
    queues = _by_name(own or {})
    known = {name: rise for name in STANDARD if (rise := generic.get(name)) is not None}
    names, by_word = _names(driver, queues)
    known |= {name: sum(queues[name].values()) for name in names}
    if not known:
        return None
    stalls = {name: sum(queues[name].values()) for name in _STALLS if name in queues}
    shown = {name: rise for name, rise in (known | stalls).items() if rise}
    worst = max(known, key=lambda name: known[name])
    return Loss(
        known[worst],
        max(stalls.values(), default=0),
        shown,
        _worst_queue(queues, shown),
        by_word and worst not in STANDARD,
    )


def _by_name(counters: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return the increases by the name without its queue's number, then by that number."""
    found: dict[str, dict[str, int]] = {}
    for name, rise in counters.items():
        number = _NUMBER.search(name)
        rises = found.setdefault(_NUMBER.sub("#", name.strip()), {})
        key = number[0] if number else ""
        rises[key] = rises.get(key, 0) + rise
    return found


def _names(driver: str | None, counters: Mapping[str, object]) -> tuple[tuple[str, ...], bool]:
    """Return the names of the counters that show losses, and whether their words were used."""
    kernels = tuple(name for name in STANDARD if name in counters)
    wanted = _BY_DRIVER.get(_ALIASES.get(driver or "", driver or ""))
    if wanted is None:
        return (*kernels, *_by_words(counters)), True
    return (*kernels, *(name for name in wanted if name in counters)), False


def _by_words(counters: Mapping[str, object]) -> Iterator[str]:
    for name in counters:
        means = _RECEIVED.search(name) and _FULL.search(name) and not _OTHERWISE.search(name)
        if means and name not in STANDARD and name not in _STALLS:
            yield name


def _worst_queue(queues: Mapping[str, Mapping[str, int]], shown: Mapping[str, int]) -> str | None:
    """Return the queue with most of the losses in the largest counter that each queue has."""
    kept = [name for name in shown if len(queues.get(name, {})) > 1]
    if not kept:
        return None
    rises = queues[max(kept, key=lambda name: shown[name])]
    worst = max(rises, key=lambda queue: rises[queue])
    return worst if 2 * rises[worst] > sum(rises.values()) else None


def increases(
    then: Mapping[str, int] | None, now: Mapping[str, int] | None
) -> Mapping[str, int] | None:
    """Return how much each counter rose that both readings have; None if a reading is missing."""
    if then is None or now is None:
        return None
    return {
        name: rise
        for name, value in now.items()
        if (rise := rates.increase(then.get(name), value)) is not None
    }
