from dirtune.checks import Finding, Role, Severity, Verdicts, check
from dirtune.checks.ipvs import LONG_CHAIN, entries, per_bucket
from dirtune.checks.remedies import commands
from dirtune.collect.ip_vs import Service
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.snapshot import Snapshot

_DEFAULT_FIN_S = 120
_SHORT_FIN_S = 30
_MANY = 500_000  # entries
_RATIO = 5  # closing entries for each established one


@check(
    "ipvs/timeouts",
    severity=Severity.LOW,
    trust="A",
    roles=(Role.DIRECTOR,),
)
def timeouts(snapshot: Snapshot, services: tuple[Service, ...], ipvs: Ipvs) -> Verdicts:
    """Closed connections stay in the table much longer than needed.

    ## What it does
    The check reports the default `tcpfin` timeout of 120 s if the table has 500,000 entries or
    more and at least five times as many closing as established connections. The finding is
    `medium` with 8 entries per bucket or more (`ipvs/conn-table-small`), else `low`. The check
    does not report a timeout that somebody set.

    ## Why it matters
    With direct routing, a director never sees the server's FIN. Closed connections stay in
    FIN_WAIT for the whole timeout, and fill memory and the chains of the table.

    ## Remediation
    Run `ipvsadm --set 0 30 0` (a 0 keeps the present value), or set `lvs_timeouts` in keepalived.
    The timeout applies to new entries. To undo the change, run `ipvsadm --set 0 120 0`.

    ## Known problems
    The check does not report a `tcp` timeout that is shorter than the pauses in long-lived
    connections, because it does not know the application. The check conntrack/timeouts-nat
    compares these timeouts with those of connection tracking.

    ## References
    - net/netfilter/ipvs/ip_vs_proto_tcp.c
    - keepalived.conf(5), `lvs_timeouts`
    """
    known = [d for s in services if s.protocol != "UDP" for d in s.destinations]
    active, inactive = sum(d.active for d in known), sum(d.inactive for d in known)
    fin_s = ipvs.timeouts_s.get("tcp_fin")
    if fin_s != _DEFAULT_FIN_S or entries(snapshot) < _MANY or inactive < _RATIO * active:
        return
    chain = per_bucket(snapshot)
    yield Finding(
        subject="tcpfin timeout",
        severity=Severity.MEDIUM if chain and chain >= LONG_CHAIN else Severity.LOW,
        message=f"The tcpfin timeout is {fin_s} s, so the table holds {inactive:,} closing "
        f"connections, but only {active:,} established connections",
        evidence={
            "timeouts_s": dict(ipvs.timeouts_s),
            "active": active,
            "inactive": inactive,
            "entries": entries(snapshot),
            "entries_per_bucket": chain and round(chain, 1),
        },
        fixes=(
            commands(
                snapshot,
                "shorten-tcpfin",
                (
                    "Forget closed connections after 30 s; `ipvsadm --set 0 120 0` restores the "
                    "default"
                ),
                (f"ipvsadm --set 0 {_SHORT_FIN_S} 0",),
                what="ipvs",
            ),
        ),
    )
