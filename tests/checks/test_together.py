"""Findings with one cause become one finding, in audits and so in every format."""

import pytest

from dirtune.checks import Check, Finding, Fix, Outcome, Risk, Severity, Status
from dirtune.checks.accepted import baseline
from dirtune.checks.audits import Audit, of_snapshot
from dirtune.checks.documents import of_audit
from dirtune.checks.ipvs.no_destination import no_destination
from dirtune.checks.together import few, one_per_cause
from dirtune.collect.addresses import InterfaceAddress
from dirtune.collect.ip_vs import Service
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.render.audit import text
from dirtune.snapshot import Snapshot
from tests.checks.machines import detailed, director, program, service

CHECK = Check("ipvs/made-up", Severity.HIGH, "A", (), frozenset(), traffic=False, function=None)


def together(*findings):
    return one_per_cause(Outcome(CHECK, Status.FINDING, None, findings)).findings


def empty(count):
    vip = "198.18.0.100"
    services = tuple(Service("TCP", vip, port, None, "rr") for port in range(count))
    return Snapshot(services=services, addresses=frozenset({vip}))


def problem(subject, message="{} has 3 faults", severity=Severity.HIGH, fixes=()):
    return Finding(subject, severity, message.format(subject), fixes=fixes)


def test_services_with_one_cause_are_one_finding_that_counts_and_names_them():
    (finding,) = together(*(problem(f"TCP 198.18.0.{n}:80") for n in range(1, 200)))

    assert finding.subject == "TCP 198.18.0.1:80"
    assert finding.message == (
        "TCP 198.18.0.1:80 has 3 faults. The same applies to 198 others: TCP 198.18.0.2:80, "
        "TCP 198.18.0.3:80, TCP 198.18.0.4:80 and 195 more"
    )
    assert finding.evidence["count"] == 199
    assert len(finding.also) == 198


@pytest.mark.parametrize("number", [3, 4])
def test_four_nics_are_many_and_three_are_not(number):
    findings = together(*(problem(f"eth{n}") for n in range(number)))

    assert len(findings) == (1 if number == 4 else 3)


def test_another_cause_or_severity_stays_apart():
    one, two = "TCP 198.18.0.1:80", "TCP [fd00::9]:80"

    assert len(together(problem(one), problem(two, "{} is off"))) == 2
    assert len(together(problem(one), problem(two, severity=Severity.LOW))) == 2
    assert len(together(problem(one), problem(two, "{} has 77 faults"))) == 1


def test_long_fixes_show_their_first_commands_and_count_the_rest():
    def fix(number):
        return (Fix("reweigh", "Weigh", Risk.SAFE, (f"ipvsadm -E -t 198.18.0.{number}:80",)),)

    (finding,) = together(*(problem(f"TCP 198.18.0.{n}:80", fixes=fix(n)) for n in range(9)))

    assert finding.fixes[0].commands[-1] == "# and 3 more"
    assert len(finding.fixes[0].commands) == 7


@pytest.mark.parametrize(
    ("names", "wanted"),
    [("a", "a"), ("ab", "a and b"), ("abc", "a, b and c"), ("abcde", "a, b, c and 2 more")],
)
def test_few_names(names, wanted):
    assert few(names) == wanted


def test_five_thousand_empty_services_are_one_row_in_each_format():
    audit = of_snapshot("lb1", empty(5000), (no_destination,))

    assert len(audit.outcomes[0].findings) == 1
    assert "4,996 more" in " ".join(text(audit).split())
    assert of_audit(audit)["outcomes"][0]["findings"][0]["evidence"]["count"] == 5000


def test_a_baseline_knows_each_subject_of_a_joined_finding():
    written = of_audit(of_snapshot("lb1", empty(3), (no_destination,)))
    known = baseline("old.json", written)

    assert {subject for _, _, subject in known} == {f"TCP 198.18.0.100:{n}" for n in range(3)}


def outcome_of(*programs, packets=0, **fields):
    plain = service()
    taken = director(
        plain,
        processes=tuple(program(name) for name in programs),
        ipvs=Ipvs((detailed(plain, packets_in=packets),)),
        earlier={"ipvs": Ipvs((detailed(plain, packets_in=0),))},
        **fields,
    )
    return no_destination_of(taken)


def no_destination_of(taken) -> Finding:
    audit: Audit = of_snapshot("n1", taken, (no_destination,))
    return audit.outcomes[0].findings[0]


@pytest.mark.parametrize(
    ("programs", "packets", "severity", "words"),
    [
        (("kube-proxy",), 0, Severity.LOW, "The Kubernetes service at TCP 198.18.0.100:80"),
        (("kube-proxy",), 9, Severity.HIGH, "no ready endpoint that kube-proxy may use"),
        (("kube-router",), 0, Severity.LOW, "no ready endpoint that kube-router may use"),
        (("keepalived",), 0, Severity.CRITICAL, "The virtual_server TCP 198.18.0.100:80"),
        (("ldirectord",), 0, Severity.CRITICAL, "of ldirectord has no destinations"),
        (("sshd",), 0, Severity.CRITICAL, "TCP 198.18.0.100:80 has no destinations"),
    ],
)
def test_the_owner_of_the_table_speaks(programs, packets, severity, words):
    finding = outcome_of(*programs, packets=packets)

    assert (finding.severity, words in finding.message) == (severity, True), finding.message


def test_the_dummy_of_kube_proxy_shows_it_where_the_processes_are_unknown():
    held = (InterfaceAddress("kube-ipvs0", "198.18.0.100", 32, "global"),)
    finding = no_destination_of(director(service(), interface_addresses=held))

    assert "endpointslices" in finding.fixes[0].title


def test_kubernetes_replaces_one_failed_destination_by_itself():
    kube = director(service(0, 1, 0), processes=(program("kube-proxy"),))

    assert of_snapshot("n1", kube, (no_destination,)).outcomes[0].status is Status.PASSED


def test_a_table_of_marks_from_256_beside_dockerd_is_swarms():
    marks = tuple(Service("FWM", None, None, 256 + n, "rr") for n in range(2))
    plain = director(*marks, service(1), processes=(program("dockerd"),))
    swarm = director(*marks, processes=(program("dockerd"),))

    ours = of_snapshot("n1", plain, (no_destination,)).outcomes[0].findings[0].message
    assert "Swarm" not in ours
    # A namespace of Swarm holds the addresses of its services as marks only.
    assert of_snapshot("n1", swarm, (no_destination,)).outcomes[0].status is Status.INCONCLUSIVE
