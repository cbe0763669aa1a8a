from dirtune.checks import Severity, Status
from dirtune.checks.keepalived.vip_without_service import vip_without_service
from tests.checks.keepalived.directors import findings, instance, outcome, real, server


def test_a_host_without_keepalived_has_nothing_to_judge():
    assert outcome(vip_without_service, None).status is Status.NOT_APPLICABLE


VIP = instance("virtual_ipaddress { 10.0.0.9/24 }")


def test_a_service_without_an_address():
    first = findings(vip_without_service, VIP + server(real("10.0.1.1"), "10.0.0.7 80"))

    assert [(f.severity, f.subject) for f in first] == [
        (Severity.MEDIUM, "TCP 10.0.0.7:80"),
        (Severity.INFO, "10.0.0.9"),
    ]


def test_an_address_that_this_host_has_anyway():
    (finding,) = findings(vip_without_service, VIP + server(real("10.0.1.1")))

    assert finding.subject == "10.0.0.9"


def test_an_address_that_may_be_the_gateway_of_real_servers():
    nat = server(real("10.0.1.1")).replace("lvs_method DR", "lvs_method NAT")

    assert findings(vip_without_service, VIP + nat) == ()


def test_without_vrrp_the_addresses_come_from_elsewhere():
    text = server(real("10.0.1.1"), "10.0.0.7 80")

    assert findings(vip_without_service, text) == ()
