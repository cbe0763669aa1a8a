"""What a shared line wastes and what separating it should bring, worked out by hand."""

import pytest

from dirtune.analyse.forecast import forecast, wasted
from dirtune.analyse.handlers import HandlerCalls, HandlerWindow

NIC = frozenset({"enp0s16"})


def handler(irq, name, calls, none, total_ns, none_ns):
    return HandlerCalls(irq, name, calls, none, 0, total_ns, none_ns, 0)


# 20 s at about 150 interrupts/s, the costs lab.md's director showed: 11.9, 13.4 and 42.1 us.
LAB = HandlerWindow(
    seconds=20.0,
    handlers=(
        handler(10, "enp0s16", 2942, 0, 35_009_800, 0),
        handler(10, "i801_smbus", 2940, 2940, 123_774_000, 123_774_000),
        handler(10, "sym53c8xx", 2940, 2940, 39_396_000, 39_396_000),
        handler(24, "virtio1-input.0", 500, 30, 5_000_000, 90_000),
    ),
    line_counts={"10": 2940, "24": 500},
)


def test_innocent_handlers_of_the_nic_line_are_summed():
    (waste,) = wasted(LAB, NIC)

    assert (waste.irq, waste.handlers) == (10, ("i801_smbus", "sym53c8xx"))
    assert (waste.calls, waste.none, waste.none_ns) == (5880, 5880, 163_170_000)
    # 163.17 ms of 20 s
    assert waste.cpu_percent == pytest.approx(0.81585)
    # (42.1 + 13.4) / 2
    assert waste.ns_per_call == pytest.approx(27_750)
    assert waste.calls_per_interrupt == 2.0
    # 163.17 of 198.1798 ms: do_aic7xxx_isr() again
    assert waste.share_of_line == pytest.approx(0.823343, abs=1e-6)


def test_line_without_a_nic_is_no_business_of_ours():
    assert wasted(LAB, frozenset({"eth9"})) == ()


def test_exclusive_line_wastes_nothing_though_it_returned_irq_none():
    assert wasted(LAB, frozenset({"virtio1-input.0"})) == ()


def test_useful_calls_of_a_partner_are_not_waste():
    busy = HandlerWindow(
        seconds=1.0,
        handlers=(
            handler(10, "enp0s16", 100, 0, 1000, 0),
            handler(10, "sym53c8xx", 100, 60, 9000, 600),
        ),
        line_counts={"10": 100},
    )
    (waste,) = wasted(busy, NIC)

    assert (waste.calls, waste.none, waste.none_ns) == (100, 60, 600)
    assert waste.ns_per_call == 10


def test_missing_line_count_is_not_zero():
    uncounted = HandlerWindow(LAB.seconds, LAB.handlers, line_counts={})

    assert wasted(uncounted, NIC)[0].calls_per_interrupt is None


def test_dearest_line_comes_first():
    two = HandlerWindow(
        seconds=1.0,
        handlers=(
            handler(10, "eth0", 1, 0, 5, 0),
            handler(10, "usb1", 1, 1, 5, 5),
            handler(11, "eth1", 1, 0, 5, 0),
            handler(11, "usb2", 1, 1, 50, 50),
        ),
        line_counts={"10": 1, "11": 1},
    )

    assert [w.irq for w in wasted(two, frozenset({"eth0", "eth1"}))] == [11, 10]


def test_forecast_is_one_less_the_share_of_needless_time():
    # 163170 us / 6000 connections = 27.195 us of 1422 us each
    result = forecast(LAB, [10], NIC, connections=6000, cpu_us_per_connection=1422.0)

    assert result.wasted_us_per_connection == pytest.approx(27.195)
    assert result.ratio == pytest.approx(1 - 27.195 / 1422)
    # 1.96 / sqrt(5880) = 2.556 %
    low, high = result.interval
    assert low == pytest.approx(1 - 27.195 * 1.025560 / 1422, abs=1e-6)
    assert high == pytest.approx(1 - 27.195 * 0.974440 / 1422, abs=1e-6)
    assert result.handlers == ("i801_smbus", "sym53c8xx")
    assert "5,880 calls" in result.basis
    assert "27.2 us of the 1422 us of CPU time per connection" in result.basis


def test_weak_end_takes_off_what_the_probe_adds():
    # 2.775 us a program run is a tenth of the 27.75 us a call.
    probed = HandlerWindow(20.0, LAB.handlers, LAB.line_counts, probe_ns=27_750, events=10)
    result = forecast(probed, [10], NIC, connections=6000, cpu_us_per_connection=1422.0)

    assert result.interval[1] == pytest.approx(1 - 27.195 * 0.9 * 0.974440 / 1422, abs=1e-6)


@pytest.mark.parametrize(("own_ns", "left"), [(1387.5, 0.95), (2775.0, 1.0), (9000.0, 1.0)])
def test_what_was_measured_of_the_probe_is_taken_off_once(own_ns, left):
    probed = HandlerWindow(
        20.0, LAB.handlers, LAB.line_counts, probe_ns=27_750, events=10, own_ns=own_ns
    )
    result = forecast(probed, [10], NIC, connections=6000, cpu_us_per_connection=1422.0)

    assert result.interval[1] == pytest.approx(1 - 27.195 * left * 0.974440 / 1422, abs=1e-6)


@pytest.mark.parametrize(("connections", "cpu_us"), [(None, 1422.0), (6000, None), (0, 1422.0)])
def test_no_ratio_without_both_measurements(connections, cpu_us):
    result = forecast(LAB, [10], NIC, connections, cpu_us)

    assert (result.ratio, result.interval) == (None, None)
    assert result.wasted_cpu_percent == pytest.approx(0.81585)
    assert result.basis.endswith("so the relative gain is unknown")


def test_clean_line_forecasts_no_change():
    clean = HandlerWindow(20.0, LAB.handlers[:1], {"10": 2942})
    result = forecast(clean, [10], NIC, connections=6000, cpu_us_per_connection=1400.0)

    assert (result.ratio, result.interval, result.irqs) == (1.0, (1.0, 1.0), ())
    assert "nothing to gain" in result.basis


def test_only_the_lines_asked_for_count():
    assert forecast(LAB, [24], NIC, 6000, 1422.0).ratio == 1.0
