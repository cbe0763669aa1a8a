import time

import pytest

from dirtune.checks import Status, run
from dirtune.checks.keepalived.drift import drift
from dirtune.collect.ip_vs import Destination, Forward, Service
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.lvs import drift as compare
from dirtune.lvs import model
from tests.checks.keepalived.directors import director, findings, outcome, real, server
from tests.keepalived.given import conf


def test_a_host_without_keepalived_has_nothing_to_judge():
    assert outcome(drift, None).status is Status.NOT_APPLICABLE


CONF = server(
    "sorry_server 10.0.1.9 80\n"
    + real("10.0.1.1", "weight 3\nTCP_CHECK {\n}\n")
    + real("10.0.1.2", "inhibit_on_failure\nTCP_CHECK {\n}\n")
    + real("10.0.1.3", "")
)
WHOLE = {"10.0.1.1": 3, "10.0.1.2": 1, "10.0.1.3": 1}


def table(weights, scheduler="rr", port=80):
    reals = tuple(
        Destination(address, 80, Forward.ROUTE, weight, 0, 0)
        for address, weight in weights.items()
    )
    return (Service("TCP", "10.0.0.1", port, None, scheduler, destinations=reals),)


def causes(weights, **options):
    found = findings(drift, CONF, services=table(weights, **options))
    return [(finding.evidence["cause"], finding.subject, *finding.also) for finding in found]


def test_the_table_that_the_configuration_describes():
    assert causes(WHOLE) == []


@pytest.mark.parametrize(
    ("weights", "cause", "subject"),
    [
        ({"10.0.1.1": None}, "checker-down", "TCP 10.0.0.1:80 -> 10.0.1.1:80"),
        ({"10.0.1.2": 0}, "inhibited", "TCP 10.0.0.1:80 -> 10.0.1.2:80"),
        ({"10.0.1.1": 0}, "by-hand", "TCP 10.0.0.1:80 -> 10.0.1.1:80"),
        ({"10.0.1.1": 4}, "by-hand", "TCP 10.0.0.1:80 -> 10.0.1.1:80"),
        ({"10.0.1.3": None}, "by-hand", "TCP 10.0.0.1:80 -> 10.0.1.3:80"),
        ({"10.0.1.7": 1}, "by-hand", "TCP 10.0.0.1:80 -> 10.0.1.7:80"),
    ],
)
def test_each_difference_has_its_cause(weights, cause, subject):
    changed = {name: weight for name, weight in (WHOLE | weights).items() if weight is not None}

    assert causes(changed) == [(cause, subject)]


def test_a_lost_quorum():
    found = causes({"10.0.1.9": 1})

    assert ("quorum-lost", "TCP 10.0.0.1:80") in found


def test_another_scheduler_or_service_means_no_reload():
    assert causes(WHOLE, scheduler="wlc") == [("not-reloaded", "TCP 10.0.0.1:80")]
    assert causes(WHOLE, port=81) == [("not-reloaded", "TCP 10.0.0.1:80", "TCP 10.0.0.1:81")]


def test_a_weight_that_a_check_sets_is_no_difference():
    text = server(real("10.0.1.1", "MISC_CHECK {\nmisc_dynamic\n}\n"))

    assert findings(drift, text, services=table({"10.0.1.1": 7})) == ()


def test_without_keepalived_nothing_keeps_the_table():
    found = run((drift,), director(CONF, services=table({}), processes=()))[0]

    assert found.status is Status.NOT_APPLICABLE


def test_a_large_table_is_compared_in_linear_time():
    reals = "".join(real(f"10.1.{n >> 8}.{n & 255}", "") for n in range(4000))
    begun = time.process_time()

    (finding,) = findings(drift, server(reals), services=table({}))

    assert len(finding.also) == 3999
    assert time.process_time() - begun < 15


@pytest.mark.parametrize(
    ("now", "messages"),
    [
        ({"tcp": 900, "tcp_fin": 30, "udp": 300}, []),
        (
            {"tcp": 900, "tcp_fin": 120, "udp": 300},
            ["The tcp_fin timeout of IPVS is 120 s, but keepalived.conf has 30 s"],
        ),
        ({}, []),
    ],
)
def test_timeouts_are_those_of_lvs_timeouts(now, messages):
    text = "global_defs {\nlvs_timeouts tcp 900 tcpfin 30\n}\n"

    found = findings(drift, text, ipvs=Ipvs((), now))

    assert [f.message for f in found if f.subject.endswith(" timeout")] == messages


def test_the_services_of_one_mark_in_both_ip_versions_are_told_apart():
    reals = {4: "10.0.1.1", 6: "fd00::1"}
    text = "".join(
        f"virtual_server fwmark 7{' inet6' if version == 6 else ''} {{\nlvs_sched {scheduler}\n"
        f"lvs_method TUN\nreal_server {reals[version]} {{\n}}\n}}\n"
        for version, scheduler in ((4, "mh"), (6, "rr"))
    )
    services = tuple(
        model.Service(
            *("fwmark", "", 7, scheduler, version),
            destinations=(model.Destination(reals[version], 0, "tun"),),
        )
        for version, scheduler in ((4, "mh"), (6, "rr"))
    )

    assert compare.misses(conf(text), model.Table(services)) == ()
    assert compare.misses(conf(text), model.Table(services[:1])) == ("FWM 7 IPv6",)
