import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.realserver.arp_leak import arp_leak
from dirtune.collect.addresses import InterfaceAddress
from dirtune.collect.rulesets import Rulesets
from dirtune.snapshot import Place
from tests.checks.machines import program, service
from tests.checks.nodes import ETH0, NOARP, ON_LO, RULES, VIP, card, quiet, server

HIDE = (
    "sysctl -w 'net.ipv4.conf.all.arp_ignore=1'",
    "sysctl -w 'net.ipv4.conf.all.arp_announce=2'",
    "echo 'net.ipv4.conf.all.arp_ignore=1' >> /etc/sysctl.d/90-dirtune.conf",
    "echo 'net.ipv4.conf.all.arp_announce=2' >> /etc/sysctl.d/90-dirtune.conf",
)


def outcome(*held, sysctls=None, **fields):
    return run((arp_leak,), server(*held, sysctls=sysctls or quiet(), **fields))[0]


def test_a_server_that_answers():
    (found,) = outcome().findings

    assert (found.severity, found.subject) == (Severity.CRITICAL, "eth0")
    assert found.message.startswith(f"eth0 answers ARP for {VIP}")
    assert found.evidence["arp_announce"] == 0
    assert [fix.id for fix in found.fixes] == ["hide-vip-from-arp", "flush-router-arp"]
    assert found.fixes[0].commands == HIDE
    assert found.fixes[1].commands == ()


def test_without_a_plan_the_address_in_the_links_network_says_it():
    assert outcome(place=False).findings[0].severity is Severity.CRITICAL


def test_what_is_set_on_loopback_does_nothing():
    (found,) = outcome(sysctls=quiet(lo=1)).findings

    assert found.evidence["arp_ignore_lo"] == 1


def test_it_announces():
    (found,) = outcome(sysctls=quiet(1, 1)).findings

    assert (found.evidence["vips"], found.evidence["arp_announce"]) == ([VIP], 1)
    assert f"eth0 announces {VIP}" in found.message


@pytest.mark.parametrize("ignore", [4, 7])
def test_reserved_values_answer(ignore):
    (found,) = outcome(sysctls=quiet(ignore, 2)).findings

    assert (found.evidence["vips"], found.evidence["arp_ignore"]) == ([VIP], ignore)


def test_scope_host_is_silent_at_three_and_global_is_not():
    scoped = dataclasses.replace(ON_LO, scope="host")

    assert outcome(scoped, sysctls=quiet(3, 2)).status is Status.PASSED
    assert outcome(sysctls=quiet(3, 2)).status is Status.FINDING


def test_an_address_on_the_card_itself_is_answered_for_in_spite_of_the_settings():
    (found,) = outcome(InterfaceAddress("eth0", VIP, 24, "global"), sysctls=quiet(1, 2)).findings

    assert found.fixes[0].id == "move-vip-to-loopback"
    assert found.fixes[0].commands[-2:] == (
        f"ip addr del {VIP}/24 dev eth0",
        f"ip addr add {VIP}/32 dev lo",
    )


@pytest.mark.parametrize(
    "sysctls",
    [quiet(1, 2), quiet(2, 2), quiet(8, 0), quiet(0, 0, eth0=(1, 2)), quiet(1, 0, eth0=(0, 2))],
)
def test_silent_settings_and_the_greater_of_two(sysctls):
    assert outcome(sysctls=sysctls).status is Status.PASSED


def test_eight_silences_the_cards_own_address():
    held = InterfaceAddress("eth0", VIP, 24, "global")

    assert outcome(held, sysctls=quiet(8, 2)).status is Status.PASSED


def test_nat_is_not_asked():
    assert outcome(forward="Masq").status is Status.NOT_APPLICABLE


def test_noarp_is_silent():
    interfaces = (card("lo", type=772), card("eth0", flags=NOARP))

    assert outcome(interfaces=interfaces).status is Status.PASSED


def test_a_routed_server_shares_no_link():
    far = Place(
        "real-server",
        ("203.0.113.1",),
        "Tunnel",
        director_addresses=frozenset({"192.0.2.1", "203.0.113.1"}),
    )
    held = InterfaceAddress("lo", "203.0.113.1", 32, "global")

    assert outcome(held, place=far).status is Status.PASSED


def test_a_routed_address_beside_its_director_is_asked_for():
    near = Place(
        "real-server", ("203.0.113.1",), "Route", director_addresses=frozenset({"198.18.0.1"})
    )
    held = InterfaceAddress("lo", "203.0.113.1", 32, "global")

    assert outcome(held, place=near).status is Status.FINDING


def test_an_address_of_nowhere_without_a_plan_is_left_open():
    held = InterfaceAddress("lo", "203.0.113.1", 32, "global")
    found = outcome(held, place=False)

    assert (found.status, "203.0.113.1 on eth0" in found.reason) == (Status.INCONCLUSIVE, True)
    assert outcome(held, place=False, sysctls=quiet(1, 2)).status is Status.PASSED


@pytest.mark.parametrize(
    "fields",
    [
        {"rulesets": None},
        {"rulesets": Rulesets(None, (), RULES, None, ())},
        {"rulesets": Rulesets((), (), RULES, None)},
        {"rulesets": Rulesets(("table arp filter {",), (), RULES, None, ())},
        {"rulesets": Rulesets((), (), RULES, None, ("-A IN -j DROP",))},
        {"rulesets": Rulesets((), (), (f"9: from {VIP} lookup 7", *RULES), None, ())},
        {"sysctls": quiet(1, 2, lo=0).__class__({})},
    ],
)
def test_a_filter_may_keep_the_answers_back(fields):
    assert outcome(**fields).status is Status.INCONCLUSIVE


def test_rules_that_could_be_read_and_do_not_filter_arp():
    rules = Rulesets(("table ip filter {",), (), RULES, None, ("*filter",))

    assert outcome(rulesets=rules).status is Status.FINDING


def test_a_host_with_its_own_addresses_only_is_no_real_server():
    plain = server(sysctls=quiet(), place=False, interface_addresses=(ETH0,))

    assert run((arp_leak,), plain)[0].status is Status.NOT_APPLICABLE
    assert run((arp_leak,), server(sysctls=None))[0].status is Status.SKIPPED


NODE = InterfaceAddress("kube-ipvs0", VIP, 32, "global")
SELF = service(1, forward="Route")  # its destination is ETH0's address


def of_director(*programs, held=(ON_LO,), sysctls=None):
    return outcome(
        *held,
        place=False,
        services=(SELF,),
        addresses=frozenset({VIP, "198.18.0.11"}),
        processes=None if programs == (None,) else tuple(map(program, programs)),
        sysctls=sysctls or quiet(),
    )


def test_a_node_of_kubernetes_is_director_and_real_server_at_once():
    (found,) = of_director("kube-proxy", held=(NODE,)).findings

    assert found.severity is Severity.CRITICAL
    assert [fix.id for fix in found.fixes] == [
        "strict-arp",
        "hide-vip-from-arp",
        "flush-router-arp",
    ]
    assert of_director("kube-proxy", held=(NODE,), sysctls=quiet(1, 2)).status is Status.PASSED


def test_directors_that_serve_each_others_services():
    assert of_director("keepalived").findings[0].severity is Severity.CRITICAL
    # Without a program that moves the address, this director is the one that has to answer.
    assert of_director("sshd").status is Status.PASSED
    unknown = of_director(None)
    assert unknown.status is Status.INCONCLUSIVE
    assert "processes are unknown" in unknown.reason


def test_the_active_director_answers_for_the_address_on_its_link():
    active = (ON_LO, InterfaceAddress("eth0", VIP, 32, "global"))

    assert of_director("keepalived", held=active).status is Status.PASSED
