from dirtune.checks import Severity, Status
from dirtune.checks.keepalived.router_id_twice import router_id_twice
from tests.checks.keepalived.directors import findings, instance, outcome


def test_a_host_without_keepalived_has_nothing_to_judge():
    assert outcome(router_id_twice, None).status is Status.NOT_APPLICABLE


TWICE = instance("virtual_router_id 5") + instance("virtual_router_id 5", "B")


def test_two_instances_with_one_id():
    (finding,) = findings(router_id_twice, TWICE)

    assert (finding.severity, finding.subject) == (Severity.HIGH, "eth0")
    assert finding.evidence == {"router_id": 5, "instances": ["A", "B"]}


def test_ids_are_separate_for_interfaces_ip_versions_and_unicast():
    other_link = TWICE.replace("interface eth0", "interface eth1", 1)
    six = instance("virtual_router_id 5\nvirtual_ipaddress { fd00::1 }", "B")
    unicast = instance("virtual_router_id 5\nunicast_peer { 10.0.0.2 }", "B")

    assert findings(router_id_twice, other_link) == ()
    assert findings(router_id_twice, instance("virtual_router_id 5") + six) == ()
    assert findings(router_id_twice, instance("virtual_router_id 5") + unicast) == ()
