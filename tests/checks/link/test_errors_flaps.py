import pytest

from dirtune.checks import Severity, Status
from dirtune.checks.link.errors_flaps import errors_flaps
from dirtune.collect.ethtool import Card
from tests.checks.link.hosts import judged, log, port


def erring(packets=10**6, *, changes=2, **counters):
    return port(counters={"rx_packets": packets, **counters}, carrier_changes=changes)


QUIET = erring(0, rx_crc_errors=5, rx_length_errors=0)


@pytest.mark.parametrize("name", ["rx_crc_errors", "rx_length_errors"])
def test_errors_rise(name):
    then = erring(0, **{name: 5})
    (found,) = judged(errors_flaps, erring(**{name: 6}), before=(then,)).findings

    assert (found.subject, found.severity) == ("eth0", Severity.HIGH)
    assert found.evidence["errors"] == {name: 1}
    assert found.evidence["rx_packets"] == 1_000_000
    assert found.fixes[0].commands == ()


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("rx_symbol_err_phy", Status.FINDING),
        ("rx_crc_errors_phy", Status.FINDING),
        ("rx_discards_phy", Status.PASSED),
        ("tx_errors_phy", Status.PASSED),
        ("rx_corrected_bits_phy", Status.PASSED),
    ],
)
def test_the_drivers_own_counters(name, status):
    fields = {
        "ethtool": {"eth0": Card(statistics={name: 9})},
        "then": {"ethtool": {"eth0": Card(statistics={name: 5})}},
    }

    assert judged(errors_flaps, erring(), before=(erring(0),), **fields).status is status


def test_the_carrier_went_between_the_samples():
    (found,) = judged(errors_flaps, erring(changes=6), before=(erring(changes=2),)).findings

    assert found.evidence["flaps"] == 2


@pytest.mark.parametrize(("changes", "status"), [(42, Status.FINDING), (40, Status.PASSED)])
def test_flaps_since_boot(changes, status):
    now = erring(changes=changes)
    found = judged(errors_flaps, now, before=(now,), now=10 * 86_400.0)

    assert found.status is status


@pytest.mark.parametrize(("at", "status"), [(950_000, Status.FINDING), (9_000, Status.PASSED)])
def test_transmit_timeouts(at, status):
    rows = log("NETDEV WATCHDOG: eth0 (ixgbe): transmit queue 3 timed out", at=float(at))
    found = judged(errors_flaps, erring(), before=(erring(),), kernel_log=rows)

    assert found.status is status


@pytest.mark.parametrize(
    ("now", "fields"),
    [
        (erring(10**6 + 1, rx_crc_errors=6), {}),
        (erring(rx_crc_errors=4), {}),
        (erring(rx_crc_errors=99), {"kernel_log": log("eth0: NIC Link is Up", at=999_950.0)}),
        (erring(rx_crc_errors=99), {"now": 59.0}),
        (erring(changes=3), {}),
        (erring(changes=99), {"before": (erring(changes=99),), "now": 86_000.0}),
    ],
)
def test_a_link_that_is_well(now, fields):
    found = judged(errors_flaps, now, **({"before": (QUIET,)} | fields))

    assert found.status is Status.PASSED


def test_one_sample_of_a_link():
    assert judged(errors_flaps, erring(rx_crc_errors=9)).status is Status.INCONCLUSIVE
