from dirtune.analyse.words import counted
from dirtune.checks import Finding, Risk, Role, Severity, Verdicts, check, uncounted
from dirtune.checks.ipvs import destinations
from dirtune.checks.remedies import sysctl
from dirtune.checks.table_fixes import Part, in_table
from dirtune.collect.ip_vs import Destination, Service
from dirtune.snapshot import Snapshot

_LEAST_S, _LONG_S = 3600, 86400


@check(
    "ipvs/quiesced",
    severity=Severity.LOW,
    trust="B",
    needs=("services",),
    roles=(Role.DIRECTOR,),
)
def quiesced(snapshot: Snapshot) -> Verdicts:
    """A server with weight 0 keeps its connections.

    ## What it does
    The check reports a destination with weight 0 that still has entries of UDP, as `low`. Of other
    services, it reports a destination with weight 0 if its established connections did not
    decrease between two samples. The samples must be at least an hour apart. The finding is
    `medium` if the samples are a day or more apart, else `low`.

    ## Why it matters
    Somebody set the weight to 0 to take the server out of service, but it still gets the traffic
    of persistent clients and of clients that reuse ports. UDP has no end of a flow: while packets
    come from the same port, such as those of a DNS forwarder or a log shipper, the entry does not
    expire, and IPVS sends them to the server that may be gone.

    ## Remediation
    Set `expire_quiescent_template=1`, which ends persistence to the server. Or set
    `expire_nodest_conn=1` and delete the destination, which is the only way for UDP.

    ## Known problems
    The check does not know whether somebody is waiting for long connections to end.

    ## References
    - Documentation/networking/ipvs-sysctl.rst
    """
    for service, server in destinations(snapshot):
        if service.protocol == "UDP" and server.weight <= 0 and server.inactive:
            yield _flows(snapshot, service, server)
    draining = [(s, d) for s, d in destinations(snapshot) if d.weight <= 0 and d.active > 0]
    seconds = snapshot.seconds
    if draining and (seconds is None or seconds < _LEAST_S):
        yield uncounted(snapshot, "this check needs two samples that are at least an hour apart")
        return
    earlier = destinations(snapshot.earlier) if snapshot.earlier else ()
    before = {(s.name, d.address, d.port): d for s, d in earlier}
    for service, server in draining:
        then = before.get((service.name, server.address, server.port))
        if then is not None and then.weight <= 0 and 0 < then.active <= server.active:
            yield _finding(snapshot, service, server, then)


def _flows(snapshot: Snapshot, service: Service, server: Destination) -> Finding:
    timeouts = snapshot.ipvs.timeouts_s if snapshot.ipvs else {}
    quiet = f"{timeouts['udp']} s" if "udp" in timeouts else "the UDP timeout"
    name = f"{server.address}:{server.port} of {service.name}"
    return Finding(
        subject=name,
        severity=Severity.LOW,
        message=f"{name} has weight 0, but IPVS goes on sending it the packets of "
        f"{counted(server.inactive, 'UDP connection')}, and each expires only after {quiet} "
        "without a packet",
        evidence={"entries": server.inactive, "weight": server.weight},
        fixes=(
            in_table(
                snapshot,
                "delete-destination",
                "Delete the destination, with net.ipv4.vs.expire_nodest_conn=1",
                Part.DESTINATIONS,
                risk=Risk.DISRUPTIVE,
            ),
        ),
    )


def _finding(
    snapshot: Snapshot, service: Service, server: Destination, then: Destination
) -> Finding:
    seconds = snapshot.seconds or 0
    drain = sysctl(
        snapshot,
        "expire-quiescent-template",
        "End persistence to destinations of weight 0",
        {"net/ipv4/vs/expire_quiescent_template": 1},
        what="ipvs",
    )
    name = f"{server.address}:{server.port} of {service.name}"
    return Finding(
        subject=name,
        severity=Severity.MEDIUM if seconds >= _LONG_S else Severity.LOW,
        message=f"{name} has weight 0 but does not drain: its connections went from {then.active} "
        f"to {server.active} in {seconds / 3600:.0f} h",
        evidence={"active_before": then.active, "active": server.active, "seconds": seconds},
        fixes=(drain,) if service.persistent_jiffies is not None else (),
    )
