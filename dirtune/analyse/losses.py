"""Compute how many packets a NIC lost because no descriptor or buffer was free for them.

The kernel's own counters come first (include/uapi/linux/if_link.h, `struct rtnl_link_stats64`).
Many drivers count these losses only under names of their own, which are in `ethtool -S`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dirtune.analyse import rates

OVERRUNS = "rx-hw-drop-overruns"
"""The kernel's counter of packets for which a queue had no buffer, as netdev netlink calls it."""
STANDARD = ("rx_missed_errors", "rx_fifo_errors", "rx_over_errors", OVERRUNS)
"""The kernel's counters of packets that the host missed; `rx_dropped` counts other packets too."""
# The drivers' names, with `#` for a number. They were read in the sources of Linux 6.12.117 and
# 6.1.192, below drivers/net/ethernet unless the path begins otherwise; where the versions differ,
# both names are here. Counters of failed allocations of memory are not losses of a ring.
_BY_DRIVER: Mapping[str, tuple[str, ...]] = {
    # aquantia/atlantic/aq_ethtool.c, aq_ethtool_stat_names; the NIC's RX DMA drop counter
    "atlantic": ("InDroppedDma",),
    # emulex/benet/be_ethtool.c, et_rx_stats and et_stats, with a comment on each
    "be2net": (
        *("rxq#: rx_drops_no_frags", "rx_drops_no_pbuf", "rx_drops_no_erx_descr"),
        *("rx_input_fifo_overflow_drop", "rxpp_fifo_overflow_drop", "pmem_fifo_overflow_drop"),
    ),
    # broadcom/bnx2.c, bnx2_stats_str_arr; bnx2_get_stats64() adds them up in rx_missed_errors
    "bnx2": ("rx_fw_discards", "rx_ftq_discards", "rx_discards"),
    # broadcom/bnx2x/bnx2x_ethtool.c, bnx2x_stats_arr and bnx2x_q_stats_arr. For
    # bnx2x_net_stats_update(), packets that the NIC's buffer (BRB) truncates are lost too.
    "bnx2x": ("rx_brb_discard", "rx_brb_truncate", "rx_discards", "[#]: rx_discards"),
    # broadcom/bnxt/bnxt_ethtool.c, bnxt_ring_rx_stats_str and bnxt_ring_drv_stats_arr (6.1:
    # bnxt_sw_func_stats). No source explains rx_stat_discard and rx_discard_packets_cos#.
    "bnxt_en": ("rx_total_ring_discards", "rx_total_discard_pkts", "[#]: rx_discards"),
    # chelsio/cxgb4/cxgb4_ethtool.c, stats_strings; of buffer groups (cxgb4.h, struct port_stats).
    # Old kernels have the names without underscores.
    "cxgb4": (
        *("rx_bg#_frames_dropped", "rx_bg#_frames_trunc"),
        *("RxBG#FramesDropped", "RxBG#FramesTrunc"),
    ),
    # intel/e1000/e1000_ethtool.c and intel/e1000e/ethtool.c: only the kernel's names
    "e1000": (),
    "e1000e": (),
    # amazon/ena/ena_netdev.c, ena_get_stats64(): only rx_dropped. Amazon's own driver counts
    # overruns in rx_over_errors.
    "ena": (),
    # cisco/enic/enic_ethtool.c, enic_rx_stats
    "enic": ("rx_no_bufs",),
    # google/gve/gve_ethtool.c, gve_gstrings_rx_stats. No source explains rx_queue_drop_cnt[#].
    "gve": ("rx_no_buffers_posted[#]",),
    # drivers/net/hyperv/netvsc_drv.c, netvsc_stats: rx_no_memory is a failed allocation
    "hv_netvsc": (),
    # intel/i40e/i40e_ethtool.c, i40e_gstrings_stats; older: port.rx_dropped
    "i40e": ("port.rx_discards", "port.rx_dropped", "rx_dropped"),
    # intel/iavf/iavf_ethtool.c, iavf_gstrings_stats
    "iavf": ("rx_discards",),
    # intel/ice/ice_ethtool.c, ice_gstrings_pf_stats and ice_gstrings_vsi_stats
    "ice": ("rx_dropped.nic", "rx_dropped"),
    # intel/igb/igb_ethtool.c, igb_get_strings(), and intel/igc/igc_ethtool.c
    "igb": ("rx_queue_#_drops",),
    "igc": ("rx_queue_#_drops",),
    # intel/ixgbe/ixgbe_ethtool.c, ixgbe_gstrings_stats; the sum of the queues' QPRDC
    "ixgbe": ("rx_no_dma_resources",),
    # microsoft/mana/mana_ethtool.c, mana_eth_stats
    "mana": ("hc_rx_discards_no_wqe",),
    # mellanox/mlx4/en_port.c, mlx4_en_DUMP_ETH_STATS(): only the kernel's rx_fifo_errors
    "mlx4_core": (),
    # mellanox/mlx5/core/en_stats.c; mellanox/mlx5/counters.rst below
    # Documentation/networking/device_drivers/ethernet. rx_prio#_discards is by priority.
    "mlx5_core": ("rx_out_of_buffer", "rx_discards_phy"),
    # netronome/nfp.rst below the same folder: dev_rx_discards also counts packets that a filter,
    # the MTU or a BPF program rejected
    "nfp": (),
    # qlogic/qede/qede_ethtool.c, qede_stats_arr; the NIC's buffer (BRB) as in bnx2x
    "qede": ("no_buff_discards", "brb_discards", "brb_truncates"),
    # realtek/r8169_main.c, rtl8169_gstrings
    "r8169": ("rx_missed",),
    # sfc/ef10.c, efx_ef10_stat_desc; sfc/ef100_nic.c; sfc/siena/siena.c; sfc/falcon/falcon.c. Old
    # kernels have rx_nodesc_drops. No source explains the port_rx_pm_ names further.
    "sfc": (
        *("port_rx_nodesc_drops", "rx_nodesc_drops", "rx_nodesc_drop_cnt"),
        *("port_rx_overflow", "rx_overflow"),
        *("port_rx_pm_discard_bb_overflow", "port_rx_pm_discard_vfifo_full"),
    ),
    # broadcom/tg3.c, ethtool_stats_keys; some chips (5717, 5762) count only that it happened
    "tg3": ("rx_discards",),
    # drivers/net/virtio_net.c, virtnet_rq_stats_desc: `drops` are packets that the driver rejected
    # or an XDP program dropped; what the host drops has no name in `ethtool -S`
    "virtio_net": (),
    # drivers/net/vmxnet3/vmxnet3_ethtool.c, vmxnet3_rq_dev_stats
    "vmxnet3": ("pkts rx OOB", "pkts rx OOB[#]"),
}
# A name that means a loss only if the driver has the other name too. Since commit 5337d2949733
# (Linux 6.7 and stable kernels), rx_dropped of i40e counts only packets that are too large (commit
# 1adb1563e7b7), and rx_missed_errors counts the losses.
_ONLY_WITH = {("i40e", "rx_dropped"): "port.rx_dropped"}
_ALIASES = {
    "gvnic": "gve",  # the PCI driver's name in Linux 6.1
    "i40evf": "iavf",
    "mlx4_en": "mlx4_core",
    "mlx5_core.sf": "mlx5_core",  # a subfunction (mellanox/mlx5/core/sf/dev/driver.c)
    "netvsc": "hv_netvsc",
    "sfc_falcon": "sfc",
    "sfc_siena": "sfc",
}
# No descriptor was free, but the NIC's FIFO may have kept the packets: e1000, e1000e, igb, igc and
# ixgbe; tg3; ena (the ring stayed empty, amazon/ena/ena_netdev.c, check_for_empty_rx_ring()).
_STALLS = ("rx_no_buffer_count", "rxbds_empty", "queue_#_rx_empty_rx_ring")
# The number in these names is not a queue's.
_GROUP = re.compile(r"bg#", re.IGNORECASE)
# A driver that is not in the table: what its names say in words.
_RECEIVED = re.compile(r"(?:^|[^a-z])rx|receive|^in(?=[A-Z_])|Rx")
_FULL = re.compile(
    r"no_?(?:rx_?)?(?:buf|desc|frag|pbuf|rbd|wqe|resource|dma_resource|space)"
    r"|out_?of_?(?:buf|desc)|buf(?:fer)?s?_?unavail|overrun|overflow|missed|ring_?full|discard",
    re.IGNORECASE,
)
_OTHERWISE = re.compile(
    r"filter|vlan|addr|crc|fcs|pause|prio|parse|c(?:heck)?sum|polic|acl|steer|loopback|unknown"
    r"|bad|hash|irq|interrupt|xdp|tstamp|timestamp|_ts\b|lro|cache|sec|tls|tx|byte|octet|tag|alloc|oom|no_?skb",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Loss:
    """Packets that a NIC lost between two samples because its ring or its buffers were full."""

    packets: int
    """Number of packets lost."""
    stalls: int
    """Number of times that no descriptor was free; the NIC's FIFO may have kept the packets."""
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
    known = _ALIASES.get(driver or "", driver or "")
    if known not in _BY_DRIVER:
        return (*kernels, *_by_words(counters)), True
    names = (name for name in _BY_DRIVER[known] if name in counters)
    own = (name for name in names if _ONLY_WITH.get((known, name), name) in counters)
    return (*kernels, *own), False


def _by_words(counters: Mapping[str, object]) -> Iterator[str]:
    for name in counters:
        means = _RECEIVED.search(name) and _FULL.search(name) and not _OTHERWISE.search(name)
        if means and name not in STANDARD and name not in _STALLS:
            yield name


def _worst_queue(queues: Mapping[str, Mapping[str, int]], shown: Mapping[str, int]) -> str | None:
    """Return the queue with most of the losses in the largest counter that each queue has."""
    kept = [name for name in shown if len(queues.get(name, {})) > 1 and not _GROUP.search(name)]
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
