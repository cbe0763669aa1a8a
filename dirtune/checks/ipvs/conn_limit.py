from dirtune.checks import Finding, Role, Severity, Verdicts, check, not_applicable
from dirtune.checks.ipvs import entries, templates
from dirtune.checks.remedies import sysctl
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

LIMIT = "net/ipv4/vs/conn_max"
_NEAR = 0.8  # of the limit; an estimate, not calibrated


@check(
    "ipvs/conn-limit",
    severity=Severity.CRITICAL,
    trust="A",
    needs=("services",),
    roles=(Role.DIRECTOR,),
    mends=True,
)
def conn_limit(snapshot: Snapshot, sysctls: Sysctls) -> Verdicts:
    """The connection table reaches its limit, and new connections are dropped.

    ## What it does
    The check compares the connections of all destinations and the persistence templates with
    `net.ipv4.vs.conn_max`, on kernels that have this setting. The finding is `critical` if the
    table is full, and `high` from 80 % on.

    ## Why it matters
    At the limit the kernel makes no entry for a new connection and drops its packets. It writes no
    message, and no counter shows it.

    ## Remediation
    Raise `net.ipv4.vs.conn_max`, if memory allows: an entry takes about 320 bytes. Or make fewer
    entries: shorten the timeouts (`ipvs/timeouts`), and use one-packet scheduling for UDP services
    with single requests and replies (`ipvs/udp-ops`).

    ## Known problems
    The check counts persistence templates only if netlink was read.

    ## References
    - net/netfilter/ipvs/ip_vs_conn.c, `ip_vs_conn_new()`
    """
    limit = sysctls.number(LIMIT)
    if limit is None:
        yield not_applicable("this kernel does not limit the connection table (conn_max)")
        return
    held = entries(snapshot) + (templates(snapshot) or 0)
    if held < _NEAR * max(1, limit):
        return
    full = held >= limit
    effect = "so the kernel drops new connections" if full else "beyond which it drops new ones"
    title = f"Raise the limit from {limit:,} to {2 * limit:,} connections, if memory allows"
    yield Finding(
        subject="net.ipv4.vs.conn_max",
        severity=Severity.CRITICAL if full else Severity.HIGH,
        message=f"The IPVS connection table holds {held:,} of at most {limit:,} entries "
        f"(net.ipv4.vs.conn_max), {effect}",
        evidence={"entries": held, "conn_max": limit, "templates": templates(snapshot)},
        fixes=(sysctl(snapshot, "raise-conn-max", title, {LIMIT: 2 * limit}, what="ipvs"),),
    )
