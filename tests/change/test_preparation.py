"""What real servers and a director with NAT must be set to, worked out from what they are."""

import shlex
from ipaddress import IPv4Network

import pytest

from dirtune.change.actions.add_address import AddAddress
from dirtune.change.actions.run import Run
from dirtune.change.actions.set_default_route import SetDefaultRoute
from dirtune.change.actions.set_value import SetValue
from dirtune.change.actions.switch_on import SwitchOn
from dirtune.change.plan import Plan
from dirtune.change.preparation import Need, Seen, director, need, real_server
from dirtune.collect.addresses import InterfaceAddress
from dirtune.lvs.model import Destination, Service, Table
from dirtune.snapshot import Snapshot
from tests.checks.nodes import (
    DIRECTOR,
    ETH0,
    LINK,
    NOARP,
    ON_LO,
    VIP,
    card,
    default,
    quiet,
    server,
    settings,
)
from tests.hostile import NAMES

ALL = "/proc/sys/net/ipv4/conf/all"
DIRECT = Need(direct=(VIP,))
TUNNEL = Need(tunnelled=(VIP,))
NAT = Need(nat=True, gateway=DIRECTOR)
OLD = "via 198.18.0.254 dev eth0 proto dhcp metric 100"


def actions(wanted, snapshot, routes=(OLD,), ssh=None):
    plan = real_server(wanted, Seen(snapshot, routes, ssh))
    assert plan.refusals == ()
    return [change.action for change in plan.changes]


def refused(wanted, snapshot, ssh=None):
    plan = real_server(wanted, Seen(snapshot, (OLD,), ssh))
    return [refusal.name for refusal in plan.refusals]


def test_a_bare_server_of_direct_routing_is_quiet_before_it_holds_the_address():
    bare = server(ETH0, sysctls=quiet(0, 0), addresses=frozenset({"198.18.0.11"}))

    assert actions(DIRECT, bare) == [
        SetValue(f"{ALL}/arp_ignore", "0", "1"),
        SetValue(f"{ALL}/arp_announce", "0", "2"),
        AddAddress("lo", f"{VIP}/32"),
    ]


@pytest.mark.parametrize(
    "snapshot",
    [
        server(ON_LO, sysctls=quiet(1, 2), addresses=frozenset({VIP})),
        # The greater of `all` and the interface's own holds.
        server(ON_LO, sysctls=quiet(0, 0, eth0=(8, 2)), addresses=frozenset({VIP})),
        server(
            sysctls=quiet(2, 2),
            addresses=frozenset(),
            local_networks=frozenset({IPv4Network("198.18.0.96/28")}),
        ),
    ],
)
def test_a_server_that_is_ready_is_left_alone(snapshot):
    assert actions(DIRECT, snapshot) == []


def test_a_server_that_nothing_is_sent_to_needs_nothing():
    assert real_server(Need(), Seen(server(sysctls=quiet(0, 0)))) == Plan()


def test_an_address_on_the_card_itself_answers_arp_whatever_is_set():
    on_card = InterfaceAddress("eth0", VIP, 32, "global")
    snapshot = server(on_card, sysctls=quiet(1, 2), addresses=frozenset({VIP}))

    assert refused(DIRECT, snapshot) == ["vip-on-link"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_the_command_that_takes_an_address_off_a_card_has_its_name_as_one_word(name):
    on_card = InterfaceAddress(name, VIP, 32, "global")
    snapshot = server(
        on_card, sysctls=quiet(1, 2), addresses=frozenset({VIP}), interfaces=(card(name),)
    )
    (refusal,) = real_server(DIRECT, Seen(snapshot)).refusals

    command = refusal.why.partition("run `")[2].removesuffix("` first")
    assert shlex.split(command) == ["ip", "addr", "del", f"{VIP}/32", "dev", name]


def test_an_address_of_version_6_is_held_on_loopback_and_asks_for_no_arp():
    bare = server(ETH0, sysctls=quiet(0, 0), addresses=frozenset())

    assert actions(Need(direct=("fd00::100",)), bare) == [AddAddress("lo", "fd00::100/128")]


def test_behind_nat_the_default_route_leads_to_the_director():
    snapshot = server(sysctls=quiet(0, 0))

    assert actions(NAT, snapshot) == [SetDefaultRoute((OLD,), f"via {DIRECTOR}")]
    there = server(routes=(LINK, default(DIRECTOR)))
    assert actions(NAT, there) == []


def test_what_nat_would_break_or_cannot_know_is_refused():
    snapshot = server(sysctls=quiet(0, 0))

    assert refused(Need(nat=True), snapshot) == ["gateway"]
    assert refused(NAT, snapshot, ssh="203.0.113.9") == ["ssh"]
    assert refused(NAT, snapshot, ssh="198.18.0.7") == [], "on the link: it has its own route"


def test_a_server_of_a_tunnel_and_of_nat_has_its_route_changed_once():
    both = Need(tunnelled=(VIP,), nat=True, gateway=DIRECTOR)
    snapshot = server(ETH0, sysctls=quiet(1, 2), addresses=frozenset())
    one = f"via {DIRECTOR} advmss 1440"

    found = [each for each in actions(both, snapshot) if isinstance(each, SetDefaultRoute)]
    assert found == [SetDefaultRoute((OLD,), one)]

    led = f"via {DIRECTOR} dev eth0"
    there = server(ETH0, sysctls=quiet(1, 2), routes=(LINK, default(DIRECTOR)))
    found = actions(both, there, routes=(led, OLD))
    assert SetDefaultRoute((led, OLD), f"{led} advmss 1440") in found
    found = actions(both, there, routes=(f"{led} advmss 1440", OLD))
    assert not any(isinstance(each, SetDefaultRoute) for each in found)


# As iproute2 6.1 prints them, without `default` at the beginning.
@pytest.mark.parametrize(
    "routes",
    [
        ("proto static", "nexthop via 10.0.0.1 dev d0 weight 1", "nexthop via 10.0.1.1 dev d1"),
        ("nhid 7 via 10.0.0.1 dev d0 proto zebra metric 20",),
        ("unreachable default metric 100",),
        (OLD, "blackhole default dev lo metric 200"),
        ("tos 0x10 via 10.0.0.3 dev d0", "via 10.0.0.1 dev d0"),
        # Of interfaces that are called so; the last was no text.
        *(
            (f"via 10.0.0.1 dev {name} proto static",)
            for name in ("metric", "via", "dev", "advmss")
        ),
        ("via 10.0.0.1 dev a\x1cdev",),
        ("via 10.0.0.1 dev a\\xff",),
    ],
)
@pytest.mark.parametrize("forced", [NAT, Need(tunnelled=(VIP,), nat=True, gateway=DIRECTOR)])
def test_a_route_that_cannot_be_put_back_is_not_changed(routes, forced):
    snapshot = server(ETH0, sysctls=quiet(1, 2), addresses=frozenset())

    plan = real_server(forced, Seen(snapshot, routes))

    assert not any(isinstance(each.action, SetDefaultRoute) for each in plan.changes)
    (refusal,) = plan.refusals
    assert "could not restore" in refusal.why
    assert not refusal.name


def test_a_route_that_cannot_be_put_back_is_nothing_to_a_server_of_direct_routing():
    several = ("proto static", "nexthop via 10.0.0.1 dev d0 weight 1")

    assert actions(DIRECT, server(ON_LO, sysctls=quiet(1, 2), addresses={VIP}), several) == []


def test_a_tunnel_gets_its_end_its_loose_check_and_its_address():
    conf = {"all_rp_filter": 1, "default_rp_filter": 1, "eth0_rp_filter": 1}
    ready = {"all_arp_ignore": 1, "all_arp_announce": 2, "eth0_arp_ignore": 0}
    sysctls = settings(**conf, **ready, eth0_arp_announce=0)
    bare = server(ETH0, sysctls=sysctls, addresses=frozenset())

    load, *rest = actions(TUNNEL, bare)
    assert isinstance(load, Run)
    assert load.argv == ("modprobe", "ipip")
    assert load.undo_argv[-3:] == ("ipip", "tunnel4", "ip_tunnel")
    assert rest == [
        SetValue("/proc/sys/net/ipv4/conf/tunl0/rp_filter", "1", "2"),
        SwitchOn("tunl0"),
        SetDefaultRoute((OLD,), f"{OLD} advmss 1440"),
        AddAddress("tunl0", f"{VIP}/32"),
    ]

    made = server(
        InterfaceAddress("tunl0", VIP, 32, "global"),
        sysctls=settings(**conf, **ready, eth0_arp_announce=0, tunl0_rp_filter=2),
        addresses=frozenset({VIP}),
        interfaces=(card("lo", type=772), card("eth0"), card("tunl0", type=768, flags=NOARP)),
    )
    assert actions(TUNNEL, made, routes=(f"{OLD} advmss 1440",)) == []
    jumbo = (card("eth0", mtu=9000), card("tunl0", type=768, flags=NOARP))
    assert actions(TUNNEL, server(**{**vars(made), "interfaces": jumbo})) == []


def test_the_end_of_another_tunnel_is_for_a_person():
    ready = server(ON_LO, sysctls=quiet(1, 2), addresses=frozenset({VIP}))

    assert refused(Need(tunnelled=(VIP,), wrapped=("gue",)), ready) == ["gue"]


def service(vip, *destinations, protocol="tcp"):
    return Service(protocol, vip, 80, "rr", destinations=destinations)


def test_what_a_server_needs_is_what_the_table_sends_it():
    table = Table(
        (
            service(
                VIP, Destination("198.18.0.11", 80, "dr"), Destination("198.18.0.12", 80, "nat")
            ),
            service("198.18.0.101", Destination("198.18.0.11", 80, "tun")),
            service("", Destination("198.18.0.11", 0, "dr"), protocol="fwmark"),
            service("198.18.0.102", Destination("198.18.0.12", 80, "tun", tunnel="gue")),
        ),
        None,
        None,
    )

    one, two, none = (need(table, frozenset({f"198.18.0.{n}"}), DIRECTOR) for n in (11, 12, 13))
    assert one == Need((VIP,), ("198.18.0.101",), gateway=DIRECTOR)
    assert two == Need((), ("198.18.0.102",), ("gue",), nat=True, gateway=DIRECTOR)
    assert (none.vips, none.nat) == ((), False)


NAT_TABLE = Table((service(VIP, Destination("198.18.0.11", 80, "nat")),), None, None)


def a_director(vip_on="eth0", *, forwards=0, redirects=1):
    return Snapshot(
        addresses=frozenset({DIRECTOR, VIP}),
        interface_addresses=(InterfaceAddress(vip_on, VIP, 32, "global"),),
        routes=(LINK,),
        sysctls=settings(
            eth0_forwarding=forwards, all_send_redirects=redirects, eth0_send_redirects=redirects
        ),
    )


def test_a_director_with_nat_forwards_and_on_one_card_sends_no_redirects():
    conf = "/proc/sys/net/ipv4/conf"

    assert [c.action for c in director(NAT_TABLE, a_director()).changes] == [
        SetValue(f"{conf}/all/send_redirects", "1", "0"),
        SetValue(f"{conf}/eth0/send_redirects", "1", "0"),
        SetValue(f"{conf}/eth0/forwarding", "0", "1"),
    ]
    two_cards = director(NAT_TABLE, a_director("eth1"))
    assert [c.action for c in two_cards.changes] == [SetValue(f"{conf}/eth0/forwarding", "0", "1")]
    assert director(NAT_TABLE, a_director(forwards=1, redirects=0)) == Plan()


def test_a_director_that_is_its_own_real_server_forwards_nothing():
    own = Table((service(VIP, Destination(DIRECTOR, 80, "nat")),), None, None)

    assert director(own, a_director()) == Plan()
