import pytest

from dirtune.checks import Cause, Severity, Status, run
from dirtune.checks.nic.gro_forwarding import gro_forwarding
from dirtune.collect.ethtool import Card, Feature
from dirtune.collect.kernel import Kernel
from tests.checks.machines import director, service
from tests.checks.samples import interface

COUNTERS = ("Ip.FragCreates", "Icmp.OutDestUnreachs")


def merging(release, *, gro=True, forward="Tunnel", risen=1000, pmtu_disc=1, two=True):
    return run(
        (gro_forwarding,),
        director(
            service(1, forward=forward),
            kernel=Kernel("lb1", release, "#1 SMP") if release else Kernel("lb1", None, None),
            interfaces=(interface(),),
            ethtool={"eth0": Card(features={"rx-gro": Feature(gro)})},
            sysctls={"pmtu_disc": pmtu_disc},
            snmp=dict.fromkeys(COUNTERS, 5000 + risen),
            earlier={"snmp": dict.fromkeys(COUNTERS, 5000)} if two else None,
        ),
    )[0]


def test_red_hat_bug_854067():
    (finding,) = merging("2.6.18-308.el5", forward="Route").findings

    assert (finding.subject, finding.severity) == ("eth0", Severity.HIGH)
    assert finding.fixes[0].commands == ("ethtool -K eth0 gro off",)


def test_merged_packets_are_fragmented_behind_a_tunnel():
    (finding,) = merging("6.1.0-30-amd64").findings

    assert "(100 fragments/s)" in finding.message


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: merging("7.1.0"),
        lambda: merging("7.3.4-1~bpo13"),
        lambda: merging("6.1.0", forward="Route"),
        lambda: merging("6.1.0", risen=99),
        lambda: merging("2.6.32-642.6.2.el6.x86_64", risen=0),
        lambda: merging("6.1.0", pmtu_disc=0),
        lambda: merging("6.1.0", gro=False),
        lambda: merging("2.6.32-220.el6", gro=False),
        lambda: merging("3.0.101", forward="Route"),
    ],
)
def test_other_kernels_forward_what_gro_merged(quiet):
    assert quiet().status is Status.PASSED


def test_one_sample_does_not_count():
    assert merging("6.1.0", two=False).cause is Cause.ONE_SAMPLE


def test_an_unknown_kernel_decides_nothing():
    assert merging(None).cause is Cause.UNCLEAR
