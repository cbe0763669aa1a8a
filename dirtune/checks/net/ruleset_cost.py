import re
from collections.abc import Iterator, Mapping

from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.conntrack import may_touch
from dirtune.checks.ipvs import running, vips
from dirtune.checks.net.chains import Chains, parse_iptables, parse_nft
from dirtune.checks.remedies import sysctl
from dirtune.collect.rulesets import Rulesets
from dirtune.snapshot import Snapshot

_MANY = 500  # rules for each packet; an estimate, not calibrated
_BRIDGED = "net/bridge/bridge-nf-call-iptables"
_IFF_MASTER, _IFF_SLAVE = 0x400, 0x800  # ports of bonds; a bridge's ports have neither
_CONTAINERS = ("kubelet", "kube-proxy", "dockerd")
_DEPTH = 16  # jumps in jumps, as nftables limits them
# The hooks that a packet to a virtual service passes; a packet that is only routed takes FORWARD.
_HOOKS = frozenset({"prerouting", "input", "output", "postrouting", "forward"})
_JUMP = re.compile(r"(?:\b(?:jump|goto) |(?:^| )-[jg] )(?P<to>[\w.:-]+)")
# A rule that ends the chain for every packet to an address: it matches only the address.
_ENDS = re.compile(
    r"(?:-A \S+ -d \S+ -j|ip6? daddr \S+ (?:counter packets \d+ bytes \d+ )?)\s*(?:ACCEPT|accept)"
)


@check(
    "net/ruleset-cost",
    severity=Severity.INFO,
    trust="C",
    roles=(Role.DIRECTOR,),
)
def ruleset_cost(snapshot: Snapshot, rulesets: Rulesets) -> Verdicts:
    """Each packet to a virtual service passes through long lists of rules.

    ## What it does
    The check counts the iptables and nft rules that a packet to a virtual address may pass, in
    each hook and in the chains to which the hook's rules jump. It reports a hook with 500 rules or
    more. Counting ends at a rule that accepts all packets to the address. Chains that are reached
    only by rules for other addresses do not count. A set or map counts as one rule, whatever its
    size. The check also reports `bridge-nf-call-iptables=1` if a NIC is a port of a bridge. All
    findings are `info`.

    ## Why it matters
    The kernel evaluates the rules for each packet, in each hook, before and after IPVS.

    ## Remediation
    Put addresses into an ipset, or an nft set or verdict map. Accept packets to virtual addresses
    first. Set `bridge-nf-call-iptables=0` if no container network needs it.

    ## Known problems
    The count assumes that the packet follows each jump, and that no rule ends the chain for only
    some packets. ebtables is not read. A NIC in a team device counts as a port of a bridge.

    ## References
    - nft(8), ipset(8)
    - Documentation/networking/ip-sysctl.rst, `bridge-nf-call-iptables`
    """
    nft, iptables = rulesets.nft, rulesets.iptables
    if nft is not None and any("iptables-nft-save" in row for row in (iptables or ())[:1]):
        iptables = ()  # the same rules once more
    yield from _bridge(snapshot)
    for tool, chains in (
        ("nft", parse_nft(nft or ())),
        ("iptables", parse_iptables(iptables or ())),
    ):
        walks = _walks(chains, vips(snapshot))
        if walks and max(walks.values()) >= _MANY:
            yield _long(tool, walks)
    if nft is None or iptables is None:
        yield inconclusive(f"the rules of {'nft' if nft is None else 'iptables'} are unknown")


def _walks(chains: Chains, addresses: frozenset[str]) -> Mapping[str, int]:
    """Return the number of rules that a packet to one of *addresses* may pass, by hook."""
    found: dict[str, int] = {}
    known: dict[tuple[str, str], int] = {}
    for (table, name), chain in chains.items():
        if chain.hook in _HOOKS:
            walk = _walk(chains, (table, name), addresses, _DEPTH, known)
            found[chain.hook or ""] = found.get(chain.hook or "", 0) + walk
    return found


def _walk(
    chains: Chains,
    at: tuple[str, str],
    addresses: frozenset[str],
    depth: int,
    known: dict[tuple[str, str], int],
) -> int:
    """Return the number of rules that a packet may pass in the chain *at* and below.

    *known* holds the numbers of chains before, because a chain may be the target of many jumps.
    """
    if at in known:
        return known[at]
    known[at] = 0  # the kernel refuses a chain that jumps to itself
    count = 0
    for row in chains[at].rules:
        count += 1
        touches = not addresses or may_touch(row, addresses)
        if touches and _ENDS.fullmatch(row):
            break
        jump = _JUMP.search(row)
        below = (at[0], jump["to"]) if jump else at
        if touches and depth and below != at and below in chains:
            count += _walk(chains, below, addresses, depth - 1, known)
    known[at] = count
    return count


def _bridge(snapshot: Snapshot) -> Iterator[Finding]:
    if snapshot.sysctl(_BRIDGED) != 1:
        return
    flags = {i.name: i.flags for i in snapshot.interfaces or ()}
    for port in snapshot.interfaces or ():
        own, masters = port.flags, flags.get(port.master or "")
        if not port.physical or own is None or masters is None:
            continue
        if own & _IFF_SLAVE or masters & _IFF_MASTER or port.master == "ovs-system":
            continue
        yield _on_bridge(snapshot, port.name, port.master or "")


def _on_bridge(snapshot: Snapshot, port: str, bridge: str) -> Finding:
    needed = running(snapshot, _CONTAINERS)
    title = "Keep bridged packets out of iptables"
    return Finding(
        subject=bridge,
        severity=Severity.INFO,
        message=f"bridge-nf-call-iptables is 1, so frames of {port} on {bridge} also go through "
        "iptables",
        evidence={"bridge": bridge, "port": port, "bridge_nf_call_iptables": 1},
        # Container networks rely on it, and may run where programs are unknown.
        fixes=(sysctl(snapshot, "stop-bridge-nf", title, {_BRIDGED: 0}),) if needed == () else (),
    )


def _long(tool: str, walks: Mapping[str, int]) -> Finding:
    hook = max(walks, key=lambda name: walks[name])
    return Finding(
        subject=f"{tool} {hook}",
        severity=Severity.INFO,
        message=f"A packet to a virtual service may pass through {walks[hook]:,} rules of "
        f"{tool} in the hook {hook}",
        evidence={"tool": tool, "rules_by_hook": dict(walks)},
        fixes=(
            Fix(
                "shorten-rules",
                "Use sets or verdict maps, or accept packets to virtual addresses first",
                Risk.DISRUPTIVE,
            ),
        ),
    )
