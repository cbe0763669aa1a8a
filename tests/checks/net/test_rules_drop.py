"""Packets of virtual services that filter rules drop, in the texts that nft and iptables print."""

import itertools
from ipaddress import IPv4Network

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.net import chains
from dirtune.checks.net.rules_drop import rules_drop
from dirtune.collect.ip_vs import Service
from dirtune.collect.modules import Modules
from dirtune.collect.routes import Route
from dirtune.collect.rulesets import Rulesets
from tests.checks.machines import VIP, director, service

PACKET = chains.Packet(target=VIP, dport=80)
ROUTES = (
    Route("eth0", IPv4Network("0.0.0.0/0"), "203.0.113.1", 0),
    Route("eth1", IPv4Network("198.18.0.0/24"), None, 0),
)


def outcome(*, nft="", iptables="", conntrack=1, forward="Masq", **fields):
    rows = [
        None if text is None else tuple(r.strip() for r in text.splitlines() if r.strip())
        for text in (nft, iptables)
    ]
    services = fields.pop("services", (service(1, 1, forward=forward),))
    taken = director(
        *services,
        sysctls={"conntrack": conntrack},
        rulesets=Rulesets(rows[0], rows[1], None, None),
        **{"routes": ROUTES, "modules": Modules(frozenset(), {})} | fields,
    )
    return run((rules_drop,), taken)[0]


def filters(*rules, policy="DROP", chain="FORWARD"):
    head = (f":{name} {policy if name == chain else 'ACCEPT'} [7:420]" for name in CHAINS)
    return "\n".join(("*filter", *head, ":MORE - [0:0]", *rules, "COMMIT"))


CHAINS = ("INPUT", "FORWARD", "OUTPUT")


def nft(*rules, hook="forward", policy="accept", chain="all"):
    return "\n".join(
        (
            "table inet mine {",
            f"chain {chain} {{",
            f"type filter hook {hook} priority filter; policy {policy};",
            *rules,
            "}",
            "chain more {",
            "tcp sport 80 accept",
            "}",
            "}",
        )
    )


ESTABLISHED = "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        # Docker's: policy DROP, and rules for its own bridge only.
        (filters("-A FORWARD -o docker0 -j MORE", "-A FORWARD -i docker0 -j ACCEPT"), "policy"),
        # RHEL's: policy ACCEPT, and a REJECT at the end.
        (
            filters("-A FORWARD -j REJECT --reject-with icmp-host-prohibited", policy="ACCEPT"),
            "-A FORWARD -j REJECT",
        ),
        (filters("-A FORWARD -s 198.18.0.0/24 -j DROP", policy="ACCEPT"), "198.18.0.0/24"),
        (filters("-A FORWARD -i eth1 -p tcp -m tcp --sport 80 -j DROP", policy="ACCEPT"), "eth1"),
        (
            filters("-A FORWARD -j MORE", "-A MORE -j DROP", policy="ACCEPT"),
            "-A MORE -j DROP",
        ),
    ],
)
def test_replies_of_servers_behind_nat_are_dropped(text, names):
    (finding,) = outcome(iptables=text).findings

    assert finding.severity is Severity.CRITICAL
    assert names in finding.message
    assert "198.18.0.11:80" in finding.message
    assert "FORWARD" in finding.message or "MORE" in finding.message


@pytest.mark.parametrize(
    "text",
    [
        filters(policy="ACCEPT"),
        filters(ESTABLISHED),
        filters("-A FORWARD -s 198.18.0.0/24 -j ACCEPT"),
        filters("-A FORWARD -i eth1 -j ACCEPT"),
        filters("-A FORWARD -o eth0 -j ACCEPT"),
        # What these match is not known, so they may accept.
        filters("-A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT"),
        filters("-A FORWARD -m set --match-set servers src -j ACCEPT"),
        filters("-A FORWARD -j MORE", "-A MORE -p tcp -j ACCEPT"),
        filters("-A FORWARD -j UNLISTED"),
        # What these drop is something else.
        filters("-A FORWARD -s 203.0.113.0/24 -j DROP", policy="ACCEPT"),
        filters("-A FORWARD ! -i eth1 -j DROP", policy="ACCEPT"),
        filters("-A FORWARD -p udp -j DROP", policy="ACCEPT"),
        filters("-A FORWARD -m limit --limit 5/sec -j DROP", policy="ACCEPT"),
        filters("-A FORWARD -j LOG --log-prefix drop", policy="ACCEPT"),
        filters("-A OUTPUT -j DROP", policy="ACCEPT"),
        filters("-A FORWARD -m conntrack --ctstate INVALID -j DROP", policy="ACCEPT"),
    ],
)
def test_what_accepts_or_may_accept_is_quiet(text):
    assert outcome(iptables=text).status is Status.PASSED


@pytest.mark.parametrize(
    ("text", "drops"),
    [
        (nft(policy="drop"), True),
        (nft("ip saddr 198.18.0.0/24 drop"), True),
        (nft('iifname "eth1" counter packets 5 bytes 300 drop'), True),
        (nft("tcp sport { 80, 443 } reject with icmp type port-unreachable"), True),
        (nft("ct state established,related accept", policy="drop"), False),
        (nft("jump more", policy="drop"), False),
        (nft("ip saddr @servers accept", policy="drop"), False),
        # Verdicts in a map, in another program, or at the end of a set of several lines.
        (nft("ct state vmap { established : accept, invalid : drop }", policy="drop"), False),
        (nft("queue num 0", policy="drop"), False),
        (nft("tcp sport { 22,", "80 } accept", policy="drop"), False),
        (nft("counter packets 5 bytes 300", "meta mark set 0x1", policy="drop"), True),
        (nft("ip saddr != 198.18.0.0/24 drop"), False),
        (nft('oifname "docker0" drop'), False),
        (nft(policy="drop", hook="output"), False),
    ],
)
def test_the_same_in_nft(text, drops):
    result = outcome(nft=text)

    assert result.status is (Status.FINDING if drops else Status.PASSED), result


def test_without_vs_conntrack_a_reply_is_invalid_and_never_established():
    invalid = filters("-A FORWARD -m state --state INVALID -j DROP", policy="ACCEPT")

    assert outcome(iptables=invalid, conntrack=0).status is Status.FINDING
    assert outcome(iptables=filters(ESTABLISHED), conntrack=0).status is Status.FINDING
    assert outcome(iptables=filters(ESTABLISHED), conntrack="").status is Status.PASSED


def test_forward_concerns_only_nat_to_other_hosts():
    assert outcome(iptables=filters(), forward="Route").status is Status.PASSED
    own = frozenset({VIP, "198.18.0.11", "198.18.0.12"})
    assert outcome(iptables=filters(), addresses=own).status is Status.PASSED


FIREWALLD = (
    "ct state { established, related } accept",
    "ct status dnat accept",
    'iifname "lo" accept',
    "ct state invalid drop",
    'iifname "eth0" goto zone',
    "reject with icmpx admin-prohibited",
)


@pytest.mark.parametrize("forward", ["Route", "Tunnel"])
@pytest.mark.parametrize(("conntrack", "severity"), [(0, Severity.HIGH), (1, Severity.CRITICAL)])
@pytest.mark.parametrize("hook", ["input", "prerouting"])
def test_half_of_a_connection_is_invalid(forward, conntrack, severity, hook):
    (finding,) = outcome(
        nft=nft(*FIREWALLD, hook=hook), conntrack=conntrack, forward=forward
    ).findings

    assert finding.severity is severity
    assert "`ct state invalid drop`" in finding.message
    assert finding.evidence["chain"] == "all"
    assert finding.fixes[0].id == "stop-tracking-services"


def test_invalid_packets_in_the_text_of_iptables():
    text = filters(
        "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A INPUT -m conntrack --ctstate INVALID -j DROP",
        policy="ACCEPT",
    )
    (finding,) = outcome(iptables=text, forward="Route").findings

    assert "-A INPUT -m conntrack --ctstate INVALID -j DROP" in finding.message


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: outcome(nft=nft(*FIREWALLD, hook="input")),  # NAT sees both halves
        lambda: outcome(nft=nft("tcp dport 80 accept", *FIREWALLD, hook="input"), forward="Route"),
        lambda: outcome(
            nft=nft(f"ip daddr {VIP} notrack", *FIREWALLD, hook="prerouting"), forward="Route"
        ),
        lambda: outcome(
            nft=nft(*FIREWALLD, hook="input"), forward="Route", addresses=frozenset({"192.0.2.1"})
        ),
    ],
)
def test_invalid_packets_that_do_not_matter(quiet):
    assert quiet().status is Status.PASSED


def test_new_connections_are_refused():
    text = filters("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", chain="INPUT")
    (finding,) = outcome(iptables=text, forward="Route").findings

    assert finding.severity is Severity.CRITICAL
    assert f"drops new connections to TCP {VIP}:80 (7 packets so far)" in finding.message


def test_rules_that_were_not_read_may_drop():
    loaded = Modules(frozenset({"nf_tables"}), {})
    result = outcome(nft=None, modules=loaded)

    assert result.status is Status.INCONCLUSIVE
    assert "the rules of nft are unknown" in result.reason


def test_a_service_with_a_mark_has_no_address_to_follow():
    mark = (Service("FWM", None, None, 7, "rr"),)
    text = filters(chain="INPUT")

    assert outcome(iptables=text, services=mark).status is Status.PASSED


@pytest.mark.parametrize("rule", ["ct state untracked accept", "meta l4proto 6 accept"])
def test_states_and_protocols_that_are_not_known_may_be_accepted(rule):
    exempt = nft(f"ip daddr {VIP} notrack", hook="prerouting", chain="raw")
    text = f"{exempt}\n{nft(rule, hook='input', policy='drop', chain='in')}"

    assert outcome(nft=text, forward="Route").status is Status.PASSED
    assert outcome(nft=nft(hook="input", policy="drop"), forward="Route").findings


def test_chains_that_all_jump_to_the_next_are_walked_once_each():
    """Thirty jumps in each of 12 chains would be 30^12 ways."""
    rows = ["*filter", ":FORWARD ACCEPT [0:0]"]
    names = ["FORWARD", *(f"c{n}" for n in range(12))]
    rows += [f"-A {a} -j {b}" for a, b in itertools.pairwise(names) for _ in range(30)]

    rules = chains.parse_iptables((*rows, "-A c11 -j DROP", ""))

    assert chains.dropped(rules, "forward", PACKET).chain == "c11"


def test_a_chain_that_jumps_to_itself_is_not_certain():
    rules = chains.parse_iptables((":FORWARD ACCEPT [0:0]", "-A FORWARD -j a", "-A a -j a"))

    assert chains.dropped(rules, "forward", PACKET) is None


@pytest.mark.parametrize("count", ["9" * 5000, "x"])
def test_numbers_of_any_length_are_read(count):
    rows = (f":FORWARD DROP [{count}:0]", f"-A FORWARD -p tcp --dport {count} -j ACCEPT")

    chains.dropped(chains.parse_iptables(rows), "forward", PACKET)


def test_what_was_found_before_the_rules_became_too_many_is_reported(monkeypatch):
    monkeypatch.setattr(chains.Following.__init__, "__defaults__", (2000,))
    rows = [f"-A INPUT -p tcp -m tcp --dport {port} -j ACCEPT" for port in range(100, 200)]

    found = outcome(iptables=filters(*rows))

    (finding,) = found.findings
    assert "drops the replies of real servers behind NAT" in finding.message
    few = outcome(iptables=filters(*rows, policy="ACCEPT"))
    assert few.status is Status.INCONCLUSIVE
    assert "iptables has too many rules" in few.reason
