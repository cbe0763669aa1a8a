import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.nic.gro_off import gro_off
from dirtune.collect.ethtool import Card, Feature
from dirtune.collect.kernel import Kernel
from tests.checks.machines import service
from tests.checks.samples import interface, two


def port(packets=0, size=0, **fields):
    return interface(packets=10**8, statistics={"rx_packets": packets, "rx_bytes": size}, **fields)


def outcome(size=700_000, *, on=False, release="6.1.0-56-amd64", forward="Route", **fields):
    """A director's card that received 1,000 packets of *size* bytes in all."""
    then = interface(packets=0, statistics={"rx_packets": 5, "rx_bytes": 5000})
    known = {
        "interfaces": (port(1005, 5000 + size),),
        "earlier": {"interfaces": (then,)},
        "ethtool": {"eth0": Card(features={"rx-gro": Feature(on)})},
        "kernel": Kernel("lb1", release, None),
        "services": (service(1, forward=forward),),
    }
    return run((gro_off,), two(**known | fields))[0]


@pytest.mark.parametrize(
    ("forward", "severity"), [("Route", Severity.LOW), ("Masq", Severity.MEDIUM)]
)
def test_gro_is_off(forward, severity):
    (found,) = outcome(forward=forward).findings

    assert (found.subject, found.severity) == ("eth0", severity)
    assert found.evidence["mean_received_bytes"] == 700
    assert found.fixes[0].commands == ("ethtool -K eth0 gro on",)


@pytest.mark.parametrize(
    "fields",
    [
        {"size": 699_000},
        {"on": True},
        {"release": "3.10.0-1160.el7.x86_64"},
        {"release": "2.6.32"},
        {"interfaces": (port(1005, 705_000, operstate="down"),)},
    ],
)
def test_what_is_well(fields):
    assert outcome(**fields).status is Status.PASSED


@pytest.mark.parametrize("release", ["4.0.0", "10.2"])
def test_modern_kernels(release):
    assert outcome(release=release).status is Status.FINDING


@pytest.mark.parametrize(
    "fields",
    [
        {"release": None},
        {"ethtool": {}},
        {"size": -5001},
    ],
)
def test_what_is_not_known(fields):
    assert outcome(**fields).status is Status.INCONCLUSIVE


def test_what_it_takes():
    assert outcome(services=()).status is Status.NOT_APPLICABLE
    assert outcome(ethtool=None).status is Status.SKIPPED
    assert outcome(kernel=None).status is Status.SKIPPED
