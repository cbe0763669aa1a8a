import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.nic.rx_ring_overflow import rx_ring_overflow
from tests.checks.nic.rings import NONE_LOST, taken
from tests.checks.samples import process


def outcome(*arguments, **fields):
    return run((rx_ring_overflow,), taken(*arguments, **fields))[0]


@pytest.mark.parametrize(
    ("lost", "severity"),
    # 1,000,000 packets arrive in the ring: 1,001 lost of 1,001,001 are the first 0.1 %.
    [(1, Severity.HIGH), (1000, Severity.HIGH), (1002, Severity.CRITICAL)],
)
def test_packets_are_lost(lost, severity):
    (found,) = outcome({"rx_missed_errors": lost}).findings

    assert (found.subject, found.severity) == ("eth0", severity)
    assert found.evidence["lost_packets"] == lost
    assert found.evidence["counters"] == {"rx_missed_errors": lost}
    assert found.evidence["received_packets"] == 1_000_000
    assert [fix.id for fix in found.fixes] == ["spread-queues"]


@pytest.mark.parametrize(
    ("driver", "counter"),
    [("mlx5_core", "rx_out_of_buffer"), ("ice", "rx_dropped.nic"), ("bnx2x", "rx_brb_discard")],
)
def test_a_driver_has_a_name_of_its_own_for_it(driver, counter):
    assert outcome(driver=driver, counters={counter: 5}).findings[0].evidence["lost_packets"] == 5
    assert outcome(driver="igb", counters={counter: 5}).status is Status.PASSED


def test_a_mirrored_counter_counts_once():
    (found,) = outcome(
        {"rx_missed_errors": 40, "rx_fifo_errors": 40},
        driver="bnx2",
        counters={"rx_fw_discards": 40},
    ).findings

    assert found.evidence["lost_packets"] == 40


def test_the_fifo_may_have_kept_them():
    (found,) = outcome(counters={"rx_no_buffer_count": 9000}).findings

    assert found.severity is Severity.HIGH
    assert found.evidence["counters"] == {"rx_no_buffer_count": 9000}
    assert found.evidence["lost_packets"] == 0


@pytest.mark.parametrize(
    "fields",
    [{}, {"rise": {"rx_dropped": 500}}, {"rise": {"rx_errors": 3}}, {"counters": {"rx_drop": 8}}],
)
def test_what_is_no_overflow(fields):
    assert outcome(**fields).status is Status.PASSED


def test_a_quota_of_the_cloud_is_no_overflow():
    (found,) = outcome(driver="ena", counters={"pps_allowance_exceeded": 77}).findings

    assert found.severity is Severity.INFO
    assert found.evidence["counters"] == {"pps_allowance_exceeded": 77}


def test_a_counter_that_was_set_back_tells_nothing():
    reset = dict.fromkeys(NONE_LOST, -4)

    assert outcome(reset).status is Status.INCONCLUSIVE


def test_overflow_takes_two_samples_and_traffic():
    assert outcome(pps=99).status is Status.INCONCLUSIVE
    alone = dataclasses.replace(taken({"rx_missed_errors": 5}), earlier=None)
    (found,) = run((rx_ring_overflow,), alone)[0].findings
    assert (found.severity, found.message.split(",")[0]) == (Severity.INFO, "Since boot")


@pytest.mark.parametrize(
    ("now", "most", "wanted"), [(256, 4096, 1024), (1024, 8160, 2048), (512, 768, 768)]
)
def test_the_ring_is_made_longer(now, most, wanted):
    (found,) = outcome(
        {"rx_missed_errors": 5},
        card={"rings": {"rx": now, "rx_max": most}},
        processes=(process(9, "NetworkManager"),),
    ).findings

    assert found.fixes[0].commands == (f"ethtool -G eth0 rx {wanted}",)
    assert (found.fixes[0].risk, found.fixes[0].competes) == ("disruptive", ("NetworkManager",))


def test_a_ring_that_is_all_it_can_be_is_left():
    (found,) = outcome(
        {"rx_missed_errors": 5}, card={"rings": {"rx": 512, "rx_max": 512}}
    ).findings

    assert [fix.id for fix in found.fixes] == ["spread-queues"]


def test_a_nic_that_loses_everything_is_not_idle():
    lost = {"rx_missed_errors": 1_054_467}
    (found,) = outcome(lost, pps=4).findings

    assert found.severity is Severity.CRITICAL
    assert found.evidence["received_packets"] == 40


def test_the_queue_that_loses_most_is_named_and_an_unknown_driver_too():
    counters = {"pkts rx OOB[0]": 5, "pkts rx OOB[1]": 40}
    (queue,) = outcome(driver="vmxnet3", counters=counters).findings
    (guess,) = outcome(driver="nixge", counters={"rx_no_buffer_errors": 5}).findings

    assert (queue.evidence["queue"], queue.evidence["lost_packets"]) == ("1", 45)
    assert "queue 1 lost most" in queue.message
    assert "driver nixge" in guess.message
