from dirtune.checks import Finding, Role, Severity, Verdicts, check, not_applicable
from dirtune.checks.ipvs import edited, entries
from dirtune.checks.table_fixes import Part, in_table
from dirtune.collect.ip_vs import Forward, Service
from dirtune.snapshot import Snapshot

# Protocols of one request and one reply: DNS, NTP, syslog, RADIUS.
_PORTS = frozenset({53, 123, 514, 1812})
_SHARE = 0.5  # of the table's entries
_MANY = 100_000  # entries
_FEW = 1_000  # entries; with fewer, a share means little; an estimate, not calibrated


@check(
    "ipvs/udp-ops",
    severity=Severity.MEDIUM,
    trust="B",
    roles=(Role.DIRECTOR,),
)
def udp_ops(snapshot: Snapshot, services: tuple[Service, ...]) -> Verdicts:
    """A UDP service with single requests and replies keeps a table entry for each request.

    ## What it does
    The check examines UDP services on port 53, 123, 514 or 1812 without one-packet scheduling. It
    reports a service with 100,000 entries or more, or with 1,000 entries or more that are at least
    half of the table. Other ports may carry QUIC, RTP, DTLS or a VPN, whose packets must stay with
    their server. Persistent services are not reported for the same reason.

    ## Why it matters
    Each request leaves an entry for 300 s, so 10,000 requests/s make 3 million entries.

    ## Remediation
    Use one-packet scheduling: `ipvsadm -E -u VIP:PORT -s rr -o`, or `ops` in keepalived. IPVS then
    schedules every packet independently. With NAT (Masq), first make sure that replies still have
    the virtual address as their source.

    ## References
    - ipvsadm(8), `--ops`
    """
    stateless = [s for s in services if s.protocol == "UDP" and s.port in _PORTS]
    if not stateless:
        yield not_applicable("this director has no UDP service on port 53, 123, 514 or 1812")
    total = entries(snapshot)
    for service in stateless:
        held = sum(d.active + d.inactive for d in service.destinations)
        grave = held >= _MANY or (held >= _FEW and held >= _SHARE * total)
        if grave and not service.ops and service.persistent_jiffies is None:
            yield _finding(snapshot, service, held, total)


def _finding(snapshot: Snapshot, service: Service, held: int, total: int) -> Finding:
    nat = any(d.forward == Forward.MASQ for d in service.destinations)
    return Finding(
        subject=service.name,
        severity=Severity.MEDIUM,
        message=f"{service.name} holds {held:,} of the {total:,} entries in the connection table, "
        "because it lacks one-packet scheduling",
        evidence={"service": service.name, "entries": held, "all_entries": total, "masq": nat},
        fixes=(
            in_table(
                snapshot,
                "schedule-each-packet",
                "Schedule each packet independently",
                Part.ONE_PACKET,
                () if nat else edited(snapshot, service, "-o"),
            ),
        ),
    )
