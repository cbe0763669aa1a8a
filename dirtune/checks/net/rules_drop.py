from collections.abc import Iterator
from itertools import chain

from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.conntrack import VS_CONNTRACK, exempted, rules, stop_tracking
from dirtune.checks.ipvs import destinations
from dirtune.checks.net.chains import (
    Chains,
    Drop,
    Following,
    Packet,
    TooManyRulesError,
    parse_iptables,
    parse_nft,
)
from dirtune.collect.ip_vs import Destination, Forward, Service
from dirtune.collect.routes import route_to
from dirtune.collect.rulesets import Rulesets
from dirtune.snapshot import Snapshot

_MOST = 200  # services or destinations whose packets are followed through the rules
_HALF = frozenset({Forward.ROUTE, Forward.TUNNEL})
_TRACKED_PROTOCOLS = frozenset({"TCP", "SCTP"})


@check(
    "net/rules-drop",
    severity=Severity.CRITICAL,
    trust="A",
    needs=("services",),
    roles=(Role.DIRECTOR,),
    mends=True,
)
def rules_drop(snapshot: Snapshot, rulesets: Rulesets) -> Verdicts:
    """Packet filter rules drop packets of virtual services.

    ## What it does
    The check follows packets through the rules of nft and iptables, and reports the rule or the
    policy that certainly drops them. First, replies of real servers behind NAT (Masq) in the hook
    FORWARD. Second, new connections to a virtual address in PREROUTING and INPUT. Third, packets
    with the connection state `invalid` to a service of direct routing or tunnels: the director
    sees only the client's half of each connection, and connection tracking calls its packets
    invalid. The findings are `critical`. The third is `high` if `net.ipv4.vs.conntrack` is 0,
    because only the packets that end connections (FIN, RST) are invalid then. Rules whose
    conditions the check cannot evaluate, such as sets and marks, count as rules that may accept.

    ## Why it matters
    Clients see timeouts, although the service, its real servers and all health checks are up.

    ## Remediation
    Accept the packets before the rule that drops them. Docker sets the policy of FORWARD to DROP:
    `iptables -P FORWARD ACCEPT`, or a rule that accepts packets of the real servers. For direct
    routing and tunnels, exempt the virtual addresses from connection tracking (`notrack`), but not
    where kube-proxy, kube-router or Docker Swarm runs, whose rules need the tracking.

    ## Known problems
    The check follows the packets of 200 services and destinations at most, and is inconclusive if
    their way through the rules is too long. ip6tables is not read.
    Counters of rules are not compared between samples.

    ## References
    - net/netfilter/nf_conntrack_proto_tcp.c, `tcp_conntracks`
    - net/netfilter/ipvs/ip_vs_core.c, `ip_vs_ops4`
    """
    tools = {
        "nft": parse_nft(rulesets.nft or ()),
        "iptables": parse_iptables(rulesets.iptables or ()),
    }
    for tool, chains in tools.items():
        try:
            yield from _findings(snapshot, tool, chains)
        except TooManyRulesError:
            yield inconclusive(f"{tool} has too many rules to follow every packet through them")
    if rules(snapshot) is None:
        unknown = " and ".join(name for name in tools if getattr(rulesets, name) is None)
        yield inconclusive(f"the rules of {unknown} are unknown, and may drop packets")


def _findings(snapshot: Snapshot, tool: str, chains: Chains) -> Iterator[Finding]:
    if not any(each.hook for each in chains.values()):
        return
    way = Following(chains)
    seen: set[tuple[str, str, str | None]] = set()
    for finding, drop in chain(_replies(snapshot, tool, way), _requests(snapshot, tool, way)):
        cause = drop.table, drop.chain, drop.rule
        if cause not in seen:
            seen.add(cause)
            yield finding


def _replies(snapshot: Snapshot, tool: str, way: Following) -> Iterator[tuple[Finding, Drop]]:
    """Yield the drops of replies from real servers behind NAT."""
    own = snapshot.addresses or frozenset()
    servers = {
        (s.protocol, d.address, d.port): (s, d)
        for s, d in destinations(snapshot)
        if d.forward == Forward.MASQ and d.weight > 0 and d.address not in own
    }
    for service, server in list(servers.values())[:_MOST]:
        drop = way.dropped("forward", _reply(snapshot, service, server))
        if drop:
            name = f"{server.address}:{server.port}"
            effect = f"drops the replies of real servers behind NAT, such as {name}"
            fix = Fix(
                "accept-replies",
                f"Accept packets from the real servers in {drop.chain} before they are dropped",
                Risk.DISRUPTIVE,
            )
            yield _finding(tool, drop, effect, {"server": name}, fix), drop


def _reply(snapshot: Snapshot, service: Service, server: Destination) -> Packet:
    route = route_to(snapshot.routes or (), server.address) if ":" not in server.address else None
    return Packet(
        source=server.address,
        entry=route.interface if route else None,
        exits=_exits(snapshot),
        sport=server.port or None,
        protocol=service.protocol.lower(),
        state=_reply_state(snapshot, service),
    )


def _reply_state(snapshot: Snapshot, service: Service) -> str | None:
    """Return the state that connection tracking gives to replies.

    Without `net.ipv4.vs.conntrack`, IPVS hides the request from connection tracking, so a SYN-ACK
    is the first packet that it sees, and invalid.
    """
    tracked = snapshot.sysctl(VS_CONNTRACK)
    if tracked is None or service.protocol not in _TRACKED_PROTOCOLS or _untracked(snapshot):
        return None
    return "established" if tracked else "invalid"


def _exits(snapshot: Snapshot) -> frozenset[str] | None:
    """Return the interfaces through which clients may be reached; None if unknown."""
    if snapshot.routes is None:
        return None
    ways = {r.interface for r in snapshot.routes if r.network.prefixlen == 0}
    ways |= {i.name for i in snapshot.interfaces or () if i.physical}
    return frozenset(ways) or None


def _requests(snapshot: Snapshot, tool: str, way: Following) -> Iterator[tuple[Finding, Drop]]:
    """Yield the drops of packets from clients to virtual addresses."""
    for service in (snapshot.services or ())[:_MOST]:
        if service.address is None or service.address not in (snapshot.addresses or ()):
            continue
        new = _request(service, None if _untracked(snapshot) else "new")
        drop = _first(way, new)
        if drop:
            effect = f"drops new connections to {service.name}"
            yield _finding(tool, drop, effect, {"service": service.name}, _accept(drop)), drop
        elif service.protocol in _TRACKED_PROTOCOLS and _half_seen(service):
            yield from _invalid(snapshot, tool, way, service)


def _half_seen(service: Service) -> bool:
    return any(d.forward in _HALF and d.weight > 0 for d in service.destinations)


def _invalid(
    snapshot: Snapshot, tool: str, way: Following, service: Service
) -> Iterator[tuple[Finding, Drop]]:
    drop = _first(way, _request(service, "invalid"))
    if not drop or service.address in exempted(snapshot):
        return
    tracked = snapshot.sysctl(VS_CONNTRACK)
    what = "that end connections" if tracked == 0 else "that follow the first"
    effect = (
        f"drops packets {what} of clients of {service.name}, because connection tracking sees "
        "only the client's half of each connection and calls these packets invalid"
    )
    severity = Severity.HIGH if tracked == 0 else Severity.CRITICAL
    evidence: dict[str, object] = {"service": service.name, "conntrack": tracked}
    fixes = *stop_tracking(snapshot), _accept(drop)
    yield _finding(tool, drop, effect, evidence, *fixes, severity=severity), drop


def _accept(drop: Drop) -> Fix:
    return Fix(
        "accept-requests",
        f"Accept packets for the virtual services in {drop.chain} before they are dropped",
        Risk.DISRUPTIVE,
    )


def _untracked(snapshot: Snapshot) -> bool:
    """Whether rules exempt packets from connection tracking, which then have no known state."""
    tracking = rules(snapshot)
    return tracking is not None and bool(tracking.exempting)


def _request(service: Service, state: str | None) -> Packet:
    return Packet(
        target=service.address,
        dport=service.port or None,
        protocol=service.protocol.lower(),
        state=state,
    )


def _first(way: Following, packet: Packet) -> Drop | None:
    return way.dropped("prerouting", packet) or way.dropped("input", packet)


def _finding(
    tool: str,
    drop: Drop,
    effect: str,
    evidence: dict[str, object],
    *fixes: Fix,
    severity: Severity = Severity.CRITICAL,
) -> Finding:
    what = f"The rule `{drop.rule}`" if drop.rule else f"The policy of the chain {drop.chain}"
    where = f"the chain {drop.chain}, table {drop.table}" if drop.rule else f"table {drop.table}"
    counted = f" ({drop.packets:,} packets so far)" if drop.packets else ""
    return Finding(
        subject=f"{tool} {drop.chain}",
        severity=severity,
        message=f"{what} of {tool} ({where}) {effect}{counted}",
        evidence={
            **evidence,
            "tool": tool,
            "table": drop.table,
            "chain": drop.chain,
            "rule": drop.rule or "policy drop",
            "policy_packets": drop.packets,
        },
        fixes=fixes,
    )
