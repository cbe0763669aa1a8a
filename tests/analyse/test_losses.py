"""Counters of packets that found no buffer, by the names that each driver's source has."""

import pytest

from dirtune.analyse.losses import losses

NONE = {"rx_missed_errors": 0, "rx_fifo_errors": 0, "rx_over_errors": 0}


# Names from the drivers' sources (drivers/net/ethernet, drivers/net; Linux 6.12).
@pytest.mark.parametrize(
    ("driver", "counter"),
    [
        ("atlantic", "InDroppedDma"),
        ("be2net", "rxq2: rx_drops_no_frags"),
        ("be2net", "rx_drops_no_pbuf"),
        ("bnx2", "rx_fw_discards"),
        ("bnx2x", "rx_brb_discard"),
        ("bnx2x", "[3]: rx_discards"),
        ("bnxt_en", "rx_total_discard_pkts"),
        ("bnxt_en", "[7]: rx_discards"),
        ("cxgb4", "rx_bg0_frames_dropped "),
        ("e1000", "rx_missed_errors"),
        ("e1000e", "rx_missed_errors"),
        ("ena", "rx_drops"),
        ("enic", "rx_no_bufs"),
        ("gve", "rx_no_buffers_posted[5]"),
        ("hv_netvsc", "rx_no_memory"),
        ("i40e", "port.rx_dropped"),
        ("iavf", "rx_discards"),
        ("ice", "rx_dropped.nic"),
        ("igb", "rx_queue_1_drops"),
        ("igc", "rx_queue_3_drops"),
        ("ixgbe", "rx_no_dma_resources"),
        ("mana", "hc_rx_discards_no_wqe"),
        ("mlx4_core", "rx_over_errors"),
        ("mlx5_core", "rx_out_of_buffer"),
        ("nfp", "dev_rx_discards"),
        ("qede", "no_buff_discards"),
        ("r8169", "rx_missed"),
        ("sfc", "port_rx_nodesc_drops"),
        ("sfc", "rx_nodesc_drop_cnt"),
        ("tg3", "rx_discards"),
        ("virtio_net", "rx_queue_0_drops"),
        ("virtio_net", "rx0_drops"),
        ("vmxnet3", "pkts rx OOB"),
        ("vmxnet3", "pkts rx OOB[1]"),
        # Drivers that dirtune does not know: the words count.
        ("nixge", "rx_no_buffer_errors"),
        ("thunder-nic", "rx_drop_overrun"),
        ("mvneta", "rx_discard"),
        ("axgbe", "rx_buffer_unavailable"),
        ("ionic", "hw_rx_missed_errors"),
        (None, "rx_fifo_overflow"),
    ],
)
def test_each_driver_counts_its_losses(driver, counter):
    lost = losses(driver, NONE, {counter: 30, "rx_packets": 900})

    assert lost.packets == 30


@pytest.mark.parametrize(
    ("driver", "counter"),
    [
        ("nixge", "rx_vlan_filter_discards"),
        ("nixge", "rx_crc_errors"),
        ("nixge", "tx_fifo_overflow"),
        ("nixge", "rx_dropped"),
        ("nixge", "rx_pause_overflow"),
        ("ixgbe", "fdir_overflow"),
        ("ixgbe", "alloc_rx_page_failed"),
        ("mlx5_core", "rx_prio0_discards"),
        ("mlx5_core", "rx_steer_missed_packets"),
        ("bnx2x", "rx_filtered_packets"),
        ("virtio_net", "rx_queue_0_xdp_drops"),
        ("igb", "rx_hwtstamp_cleared"),
        ("vmxnet3", "pkts rx err"),
        ("gve", "rx_drops_invalid_checksum[0]"),
    ],
)
def test_other_counters_are_no_loss_of_the_ring(driver, counter):
    assert losses(driver, NONE, {counter: 30}).packets == 0


@pytest.mark.parametrize("counter", ["rx_no_buffer_count", "rxbds_empty"])
def test_a_stall_may_have_lost_nothing(counter):
    lost = losses("e1000e", NONE, {counter: 9})

    assert (lost.packets, lost.stalls, lost.counters) == (0, 9, {counter: 9})


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


def test_without_any_counter_the_loss_is_unknown():
    assert losses("nixge", {}, {"rx_packets": 5}) is None
    assert losses("nixge", {}, None) is None


def test_no_queue_is_named_if_all_lose_alike():
    own = {f"rxq{n}: rx_drops_no_frags": 10_000 for n in range(4)}

    assert losses("be2net", NONE, own).queue is None
