"""Public bug reports, rebuilt as recorded hosts: the audit says what an expert says of them.

The expected values are those of the collection's README and of the reports that it names.
"""

import json
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from dirtune import archive, checks
from dirtune.checks import Severity, Status, discovery
from dirtune.checks.audits import of_snapshot
from dirtune.host import LiveHost
from dirtune.snapshot import take_all

CASES = Path(__file__).parents[2] / "../shared/cases"
HIGH, MEDIUM, LOW, INFO = Severity.HIGH, Severity.MEDIUM, Severity.LOW, Severity.INFO
CRITICAL = Severity.CRITICAL


@dataclass(frozen=True)
class Must:
    """A finding that the audit must have."""

    check: str
    severity: tuple[Severity, ...] = tuple(Severity)
    says: tuple[str, ...] = ()
    """Texts that one finding has in its message, its evidence, its fixes or its settings."""
    lacks: tuple[str, ...] = ()
    """Texts that no finding of the check contains."""
    findings: int | None = None
    """The number of findings; None if any number will do."""


@dataclass(frozen=True)
class Case:
    """One recorded host, and what the audit must and must not say of it."""

    record: str
    must: tuple[Must, ...] = ()
    quiet: tuple[str, ...] = ()
    """Ids of checks that must have no finding."""
    decides: tuple[str, ...] = ()
    """Ids of checks that must decide: find something or pass."""
    not_passed: tuple[str, ...] = ()
    """Ids of checks that must not pass."""


TABLE = (
    # kubernetes#70747: connects take 1 s with conn_reuse_mode=1 and conntrack=1 on 3.10.
    Case(
        "04/two",
        (Must("ipvs/conn-reuse-delay", (HIGH, MEDIUM), ("conn_reuse_mode", "conntrack=0")),),
    ),
    # Backlog drops on kernel 4.18, whose softnet_stat has 11 columns: 191 drops/s.
    Case(
        "33b/two",
        (
            Must("softirq/backlog-drops", (CRITICAL,), ("191.0 packets/s",)),
            Must("softirq/time-squeeze", (HIGH, MEDIUM)),
        ),
    ),
    # One CPU does all the work on a kernel that does not number the rows of softnet_stat.
    Case("33d/two", (Must("irq/single-cpu", (HIGH,)), Must("softirq/rx-imbalance", (HIGH,)))),
    # A NIC that loses all packets: 1,054,467 in 10 s, nearly none delivered.
    Case("20b/two", (Must("nic/rx-ring-overflow", (CRITICAL,), ("1,054,467",)),)),
    # ethq#7: be2net counts 1 % of the packets as rx_drops_no_frags, in four queues.
    Case("21/two", (Must("nic/rx-ring-overflow", (CRITICAL,), ("rx_drops_no_frags", "40,000")),)),
    # A NIC with at most 8 queues, two of them on one core: no fix asks for more than 8.
    Case("15b/two", (Must("irq/queue-stacking", (MEDIUM,), lacks=("combined 16", "16 queues")),)),
    # lvs-devel, December 2020: thousands of healthy services.
    Case("01d/two", quiet=("ipvs/no-destination", "ipvs/nat-forward-off", "ipvs/tun-mtu")),
    # 5,000 services without a destination are one fault.
    Case("01b/root", (Must("ipvs/no-destination", (CRITICAL,), ("4,996 more",), findings=1),)),
    # NodePort services with externalTrafficPolicy=Local on a node without a pod: by design.
    Case(
        "08/root",
        (
            Must(
                "ipvs/no-destination", (LOW,), ("Kubernetes", "externalTrafficPolicy"), findings=1
            ),
        ),
    ),
    # kubernetes#81775, #99162: mode 0 ignores weight 0 on 5.4, whatever expire_nodest_conn is.
    Case("02/two", (Must("ipvs/stale-conn-policy", (HIGH,), ("conn_reuse_mode=1", "5.16")),)),
    Case("02b/two", (Must("ipvs/stale-conn-policy", (HIGH,), ("conn_reuse_mode=1", "5.16")),)),
    # openwrt#13493: the hottest queues of two NICs are on CPU 6.
    Case("17/two", (Must("irq/queue-stacking", (MEDIUM,), ("eth2", "eth3", "CPU 6")),)),
    # keepalived#1827: the director of direct routing is its servers' gateway.
    *(
        Case(
            record,
            (Must("net/martian-replies", (CRITICAL,), ("accept_local=1", "rp_filter=0")),),
        )
        for record in ("05/root", "05/two")
    ),
    # firewalld#1498: the director of direct routing drops packets as invalid.
    Case("10/root", (Must("net/rules-drop", (CRITICAL, HIGH), ("ct state invalid drop",)),)),
    # keepalived#2243: NAT, and the servers' default gateway is not the director.
    Case("30/two", (Must("ipvs/nat-forward-off", (CRITICAL,), ("no reply",)),)),
    Case("30/root", (Must("ipvs/nat-forward-off", (CRITICAL,), ("no reply",)),)),
    # kubernetes#59656: Docker's FORWARD policy DROP.
    Case("34/two", (Must("net/rules-drop", (CRITICAL,), ("FORWARD", "policy", "11,400")),)),
    # metallb#153, kubernetes#59976: every node answers ARP for a LoadBalancer's address.
    Case("28/root", (Must("realserver/arp-leak", (CRITICAL,), ("192.168.40.240", "strictARP")),)),
)


def unpacked(name: str, folder: Path) -> Path:
    with tarfile.open(CASES / f"{name}.tar.gz") as file:
        file.extractall(folder)
    return folder / "root"


def outcomes_of(record: str, folder: Path) -> dict[str, checks.Outcome]:
    if record.endswith("/two"):
        samples = archive.load(CASES / f"{record}.tar.gz")
    else:
        samples = (LiveHost(unpacked(record, folder)),)
    snapshot = take_all(samples)
    audit = of_snapshot(None, snapshot, discovery.all_checks())
    return {o.check.id: o for o in audit.outcomes}


def text_of(finding: checks.Finding) -> str:
    return json.dumps(asdict(finding), default=str)


@pytest.mark.skipif(not CASES.exists(), reason="the collection of public cases is not here")
@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.record)
def test_the_audit_says_what_an_expert_says(case, tmp_path):
    outcomes = outcomes_of(case.record, tmp_path)

    assert Status.ERROR not in {o.status for o in outcomes.values()}
    for must in case.must:
        require(must, outcomes[must.check])
    noise = {check: [f.message for f in outcomes[check].findings] for check in case.quiet}
    assert not any(noise.values()), noise
    for check in case.decides:
        decided = outcomes[check].status in {Status.FINDING, Status.PASSED}
        assert decided, f"{check}: {outcomes[check].reason}"
    for check in case.not_passed:
        assert outcomes[check].status is not Status.PASSED, check


def require(must: Must, outcome: checks.Outcome) -> None:
    findings = outcome.findings
    texts = [text_of(f) for f in findings if f.severity in must.severity]
    assert texts, f"{must.check}: {outcome.status}, {outcome.reason}, {findings}"
    assert any(all(word in text for word in must.says) for text in texts), texts
    assert not [word for word in must.lacks if any(word in text_of(f) for f in findings)], texts
    assert must.findings in {None, len(findings)}, len(findings)
