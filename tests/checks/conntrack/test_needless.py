import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.conntrack.needless import needless
from dirtune.collect.ip_vs import Stats
from dirtune.collect.modules import Modules
from dirtune.collect.rulesets import Rulesets
from tests.checks.machines import director, program, service

COUNT, MOST = (f"net/netfilter/nf_conntrack_{name}" for name in ("count", "max"))
ELSEWHERE = "-A INPUT -d 203.0.113.9/32 -m conntrack --ctstate NEW -j ACCEPT"
EVERYWHERE = "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"


def outcome(tracked, *iptables, nft=(), count=500, forward="Route", **fields):
    sysctls = {"conntrack": tracked, COUNT: count, MOST: 100_000}
    known = {name: value for name, value in sysctls.items() if value is not None}
    defaults = {
        "modules": Modules(frozenset({"ip_vs"}), {}),
        "processes": (program("keepalived"),),
        "rulesets": Rulesets(nft, iptables, None, None),
    }
    one = service(1, 1, forward=forward)
    return run((needless,), director(one, sysctls=known, **defaults | fields))[0]


def test_a_second_entry_for_every_connection():
    (found,) = outcome(1, "*filter", ":INPUT ACCEPT [0:0]", ELSEWHERE).findings

    assert (found.subject, found.severity) == ("net.ipv4.vs.conntrack", Severity.MEDIUM)
    assert found.evidence["vs_conntrack"] == 1
    assert found.evidence["tracking_rules"] == [ELSEWHERE]
    chain = "prerouting '{ type filter hook prerouting priority -300; }'"
    assert found.fixes[0].commands == (
        "sysctl -w 'net.ipv4.vs.conntrack=0'",
        "echo 'net.ipv4.vs.conntrack=0' >> /etc/sysctl.d/90-dirtune.conf",
        "nft add table ip dirtune",
        f"nft add chain ip dirtune {chain}",
        "nft add rule ip dirtune prerouting ip daddr 198.18.0.100 notrack",
    )
    assert found.fixes[0].competes == ("keepalived",)


def test_replies_of_nat_servers_are_not_tracked_either():
    commands = outcome(1, ELSEWHERE, forward="Masq").findings[0].fixes[0].commands

    assert commands[-2:] == tuple(
        f"nft add rule ip dirtune prerouting 'ip saddr 198.18.0.{n} "
        "meta l4proto { tcp, udp } th sport 80 notrack'"
        for n in (11, 12)
    )


@pytest.mark.parametrize(
    "row",
    [
        EVERYWHERE,
        "-A INPUT -d 198.18.0.0/24 -m state --state NEW -j ACCEPT",
        "-A INPUT ! -d 203.0.113.9/32 -m conntrack --ctstate NEW -j ACCEPT",
        "-A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE",
        "-A POSTROUTING -m ipvs --vaddr 198.18.0.100/32 -j SNAT --to-source 198.18.0.1",
    ],
)
def test_a_rule_that_may_match_the_virtual_address_needs_tracking(row):
    assert outcome(1, row).status is Status.PASSED


@pytest.mark.parametrize(
    "row",
    [
        "ct state established,related accept",
        "ip daddr 198.18.0.100 tcp dport 80 ct state new accept",
        "ip daddr != 203.0.113.9 ct state new accept",
        "ip daddr @vips ct state new accept",
        'oifname "eth0" masquerade',
        'xt match "conntrack" counter packets 0 bytes 0 accept',
    ],
)
def test_a_rule_of_nft_that_may_match_it(row):
    assert outcome(1, nft=("table inet filter {", "chain input {", row, "}", "}")).status is (
        Status.PASSED
    )


@pytest.mark.parametrize(
    "row",
    [
        "ct helper ftp {",
        'tcp dport 22 accept comment "no ct state here"',
        "type nat hook prerouting priority dstnat; policy accept;",
        'iifname "lo" ct state new accept',
        "ip daddr 203.0.113.9 ct state new accept",
    ],
)
def test_a_row_that_does_not_match_it(row):
    assert outcome(1, nft=("chain input {", row)).status is Status.FINDING


@pytest.mark.parametrize(
    "quiet",
    [
        {"count": 0},
        {"processes": (program("kube-proxy"),)},
        {"processes": (program("kube-router"),)},
        {"modules": Modules(frozenset({"ip_vs", "ip_vs_ftp"}), {})},
    ],
)
def test_a_second_entry_that_is_needed_or_not_there(quiet):
    assert outcome(1, **quiet).status is Status.PASSED


def test_entries_that_another_rule_makes_ipvs_throw_away():
    (found,) = outcome(0, ELSEWHERE, "-A POSTROUTING -o docker0 -j MASQUERADE").findings

    assert found.evidence["vs_conntrack"] == 0
    assert len(found.evidence["tracking_rules"]) == 2
    assert found.fixes[0].commands[0] == "nft add table ip dirtune"


@pytest.mark.parametrize(
    "rows",
    [
        (),
        ("-A INPUT -p tcp --dport 80 -j ACCEPT",),
        (ELSEWHERE, "-A PREROUTING -d 198.18.0.100/32 -j CT --notrack"),
        (ELSEWHERE, "-A PREROUTING -p tcp -j NOTRACK"),
        (":INPUT DROP [0:0]", EVERYWHERE),
        (EVERYWHERE, "-A INPUT -j REJECT --reject-with icmp-port-unreachable"),
    ],
)
def test_no_hooks_exempted_and_stateful_firewalls_are_quiet(rows):
    assert outcome(0, *rows).status is Status.PASSED


def test_an_exemption_of_another_address_does_not_help():
    rows = (ELSEWHERE, "-A PREROUTING -d 203.0.113.9/32 -j CT --notrack")

    assert outcome(0, *rows).status is Status.FINDING


@pytest.mark.parametrize(
    ("connections", "packets", "severity"),
    [
        (200_000, 0, Severity.HIGH),
        (0, 2_000_000, Severity.HIGH),
        (199_999, 1_999_999, Severity.MEDIUM),
    ],
)
def test_it_is_grave_where_there_is_much_traffic(connections, packets, severity):
    rates = {
        "ip_vs_stats": Stats(connections, packets, 0, 0, 0),
        "earlier": {"ip_vs_stats": Stats(0, 0, 0, 0, 0)},
    }

    assert outcome(0, ELSEWHERE, **rates).findings[0].severity is severity


def test_a_full_table_explains_it():
    assert outcome(1, ELSEWHERE).findings[0].cause is None
    assert outcome(1, ELSEWHERE, count=80_000).findings[0].cause == "conntrack/table-full"


@pytest.mark.parametrize(
    "unknown",
    [
        {"rulesets": None, "modules": None},
        {"rulesets": Rulesets(None, (), None, None), "modules": None},
        {"rulesets": Rulesets(None, (), None, None), "modules": Modules({"nf_tables"}, {})},
        {"rulesets": Rulesets((), None, None, None), "modules": Modules({"iptable_nat"}, {})},
        {"processes": None},
        {"count": None},
    ],
)
def test_what_is_not_known_leaves_it_open(unknown):
    assert outcome(1, **unknown).status is Status.INCONCLUSIVE


def test_tools_that_were_not_asked_have_no_rules_where_their_modules_are_not_loaded():
    assert outcome(0, rulesets=None).status is Status.PASSED


def test_an_ipvs_without_conntrack():
    assert outcome(None, ELSEWHERE).status is Status.NOT_APPLICABLE
