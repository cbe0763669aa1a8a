"""Counters of packets that found no buffer, by the names that each driver's source has."""

import pytest

from dirtune.analyse.losses import losses

NONE = {"rx_missed_errors": 0, "rx_fifo_errors": 0, "rx_over_errors": 0}


# Names from the drivers' sources (drivers/net/ethernet, drivers/net; Linux 6.12.117 and 6.1.192).
@pytest.mark.parametrize(
    ("driver", "counter"),
    [
        ("atlantic", "InDroppedDma"),
        ("be2net", "rxq2: rx_drops_no_frags"),
        ("be2net", "rx_drops_no_pbuf"),
        ("bnx2", "rx_fw_discards"),
        ("bnx2x", "rx_brb_discard"),
        ("bnx2x", "rx_brb_truncate"),
        ("bnx2x", "[3]: rx_discards"),
        ("bnxt_en", "rx_total_discard_pkts"),  # 6.1
        ("bnxt_en", "rx_total_ring_discards"),  # 6.12
        ("bnxt_en", "[7]: rx_discards"),
        ("cxgb4", "rx_bg0_frames_dropped  "),
        ("cxgb4", "rx_bg3_frames_trunc    "),
        ("cxgb4", "RxBG0FramesDropped "),
        ("e1000", "rx_missed_errors"),
        ("e1000e", "rx_missed_errors"),
        ("ena", "rx_over_errors"),
        ("enic", "rx_no_bufs"),
        ("gve", "rx_no_buffers_posted[5]"),
        ("gvnic", "rx_no_buffers_posted[5]"),
        ("i40e", "port.rx_dropped"),
        ("i40e", "port.rx_discards"),
        ("iavf", "rx_discards"),
        ("ice", "rx_dropped.nic"),
        ("igb", "rx_queue_1_drops"),
        ("igc", "rx_queue_3_drops"),
        ("ixgbe", "rx_no_dma_resources"),
        ("mana", "hc_rx_discards_no_wqe"),
        ("mlx4_core", "rx_fifo_errors"),
        ("mlx5_core", "rx_out_of_buffer"),
        ("qede", "no_buff_discards"),
        ("qede", "brb_truncates"),
        ("r8169", "rx_missed"),
        ("sfc", "port_rx_nodesc_drops"),
        ("sfc", "port_rx_pm_discard_vfifo_full"),
        ("sfc_siena", "rx_nodesc_drop_cnt"),
        ("sfc_falcon", "rx_nodesc_drop_cnt"),
        ("tg3", "rx_discards"),
        ("vmxnet3", "pkts rx OOB"),
        ("vmxnet3", "pkts rx OOB[1]"),
        # Drivers that dirtune does not know: the words count.
        ("ibmveth", "rx_no_buffer"),
        ("nicvf", "rx_drop_overrun"),
        ("mvneta", "rx_discard"),
        ("amd-xgbe", "rx_buffer_unavailable"),
        ("ionic", "hw_rx_missed_errors"),
        ("macb", "rx_overruns"),
        ("txgbe", "rx_no_dma_resources"),
        (None, "rx_fifo_overflow"),
    ],
)
def test_each_driver_counts_its_losses(driver, counter):
    lost = losses(driver, NONE, {counter: 30, "rx_packets": 900})

    assert lost.packets == 30


@pytest.mark.parametrize(
    ("driver", "counter"),
    [
        ("mlxbf_gige", "rx_filter_discard_pkts"),
        ("nicvf", "rx_drop_overrun_bytes"),
        ("stmmac", "mmc_rx_crc_error"),
        ("niu", "tx_fifo_errors"),
        ("iavf", "rx_dropped"),
        (None, "rx_no_memory"),
        (None, "rx_skb_alloc_discard"),
        ("sfc", "port_rx_pm_discard_mapping"),
        ("ixgbe", "fdir_overflow"),
        ("ixgbe", "alloc_rx_page_failed"),
        ("mlx5_core", "rx_if_down_packets"),
        ("mlx5_core", "rx_steer_missed_packets"),
        ("bnx2x", "rx_filtered_packets"),
        # The driver rejected these packets, or an XDP program dropped them.
        ("virtio_net", "rx_queue_0_drops"),
        ("virtio_net", "rx0_drops"),
        ("virtio_net", "rx_queue_0_xdp_drops"),
        # No memory for the packet, although the ring gave it to the host.
        ("hv_netvsc", "rx_no_memory"),
        ("be2net", "rxq0: rx_drops_no_skbs"),
        ("bnxt_en", "rx_total_oom_discards"),
        # Filtered and rejected packets too.
        ("nfp", "dev_rx_discards"),
        ("igb", "rx_hwtstamp_cleared"),
        ("vmxnet3", "pkts rx err"),
        ("gve", "rx_drops_invalid_checksum[0]"),
    ],
)
def test_other_counters_are_no_loss_of_the_ring(driver, counter):
    assert losses(driver, NONE, {counter: 30}).packets == 0


@pytest.mark.parametrize(
    ("driver", "counter", "shown"),
    [
        ("e1000e", "rx_no_buffer_count", "rx_no_buffer_count"),
        ("tg3", "rxbds_empty", "rxbds_empty"),
        ("ena", "queue_3_rx_empty_rx_ring", "queue_#_rx_empty_rx_ring"),
    ],
)
def test_a_stall_may_have_lost_nothing(driver, counter, shown):
    lost = losses(driver, NONE, {counter: 9})

    assert (lost.packets, lost.stalls, lost.counters) == (0, 9, {shown: 9})


def test_rx_dropped_of_i40e_is_a_loss_only_in_drivers_without_rx_missed_errors():
    older = {"port.rx_dropped": 0, "rx_dropped": 30}
    newer = {"port.rx_discards": 0, "rx_dropped": 30, "rx_missed_errors": 0}

    assert losses("i40e", NONE, older).packets == 30
    assert losses("i40e", NONE, newer).packets == 0


def test_a_buffer_group_is_no_queue():
    own = {"rx_bg0_frames_dropped  ": 40, "rx_bg1_frames_dropped  ": 0}

    lost = losses("cxgb4", NONE, own)

    assert (lost.packets, lost.queue) == (40, None)


def test_counters_of_queues_are_added_up_and_the_worst_queue_is_named():
    lost = losses("vmxnet3", NONE, {"pkts rx OOB[0]": 5, "pkts rx OOB[1]": 40})

    assert (lost.packets, lost.queue) == (45, "1")
    assert lost.counters == {"pkts rx OOB[#]": 45}


def test_the_sum_of_the_queues_and_the_drivers_own_sum_count_once():
    own = {"rx_total_discard_pkts": 30, "[0]: rx_discards": 10, "[1]: rx_discards": 20}

    lost = losses("bnxt_en", NONE, own)

    assert (lost.packets, lost.queue) == (30, "1")


def test_the_kernels_own_counters_come_first():
    lost = losses("nixge", NONE | {"rx_missed_errors": 30}, {"rx_overrun": 30})

    assert (lost.packets, lost.by_word) == (30, False)
    assert losses("nixge", NONE, {"rx_overrun": 30}).by_word
    assert not losses("mlx5_core", NONE, {"rx_out_of_buffer": 30}).by_word
    assert not losses("mlx5_core.sf", NONE, {"rx_out_of_buffer": 30}).by_word


def test_without_any_counter_the_loss_is_unknown():
    assert losses("nixge", {}, {"rx_packets": 5}) is None
    assert losses("nixge", {}, None) is None


def test_no_queue_is_named_if_all_lose_alike():
    own = {f"rxq{n}: rx_drops_no_frags": 10_000 for n in range(4)}

    assert losses("be2net", NONE, own).queue is None
