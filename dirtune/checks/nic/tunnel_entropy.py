from collections.abc import Mapping

from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.host_roles import roles
from dirtune.checks.ipvs import forwarding
from dirtune.checks.irq import near
from dirtune.checks.nic import ports, queue_packets, received, serving, steer
from dirtune.checks.realserver import tunnelled, tunnels
from dirtune.checks.remedies import commands
from dirtune.collect.ip_vs import Forward
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

_SHARE = 0.80
_LEAST_PPS = 1_000
_MANY_DIRECTORS = 8
_GUE = 1  # type of a tunnel with its own ports


@check(
    "nic/tunnel-entropy",
    severity=Severity.HIGH,
    trust="A",
    needs=("interfaces",),
    roles=(Role.DIRECTOR, Role.REAL_SERVER),
    traffic=True,
)
def tunnel_entropy(snapshot: Snapshot) -> Verdicts:
    """All packets that a director sends through a tunnel go to one receive queue.

    ## What it does
    The check examines a host that receives packets through a tunnel (LVS-TUN) and does not use
    RPS. It reports a NIC with 1,000 packets/s or more if one receive queue took 80 % of the
    packets between the samples. The finding is `high` on a real server, and `medium` on a host
    that is also a director. With eight directors or more, the packets spread by themselves, and
    the check reports nothing. Nor does it report tunnels in UDP (the module `fou` is loaded).

    ## Why it matters
    In the outer header of every flow, the addresses are the same: director and real server. A NIC
    that hashes these addresses therefore sends all flows to one queue and one CPU.

    ## Remediation
    Use a tunnel in which each flow has its own outer source port: run `ipvsadm -e ... -i
    --tun-type gue --tun-port 6080` on the director, and `ip fou add port 6080 gue` on the real
    server. Both sides must support GUE and must change at the same time, and UDP and GUE take 12
    more bytes of the MTU. Or let RPS spread packets on the real server, because RPS hashes the
    inner header.

    ## Known problems
    An audit of the director does not show how the NICs of real servers spread packets: audit the
    real servers as well. Some NICs hash inner headers, which only the counters of their queues
    show. Only a plan says how many directors there are; without a plan, the check assumes one.

    ## References
    - net/netfilter/ipvs/ip_vs_xmit.c, types of tunnels
    - ipvsadm(8), `--tun-type`
    """
    if tunnelled(snapshot):
        yield from _receiver(snapshot)
    if Forward.TUNNEL in forwarding(snapshot):
        yield from _sender(snapshot)
    elif tunnelled(snapshot) is None and Role.REAL_SERVER in roles(snapshot):
        yield inconclusive(
            "the director's forwarding method is unknown, so packets may come through a tunnel"
        )


def _sender(snapshot: Snapshot) -> Verdicts:
    if snapshot.ipvs is None:
        yield inconclusive("the type of the tunnels is unknown: reading it needs netlink and root")
        return
    types = {d.tunnel_type for s in snapshot.ipvs.services for d in s.destinations
             if d.forward == Forward.TUNNEL}  # fmt: skip
    if types - {_GUE}:
        yield inconclusive(
            "all flows in a tunnel have the same outer header; audit the real servers, whose "
            "queues show the effect"
        )


def _receiver(snapshot: Snapshot) -> Verdicts:
    directors = snapshot.place.director_addresses if snapshot.place else frozenset()
    in_udp = snapshot.modules is not None and "fou" in snapshot.modules.loaded
    if len(directors) >= _MANY_DIRECTORS or in_udp:
        return
    for port in ports(snapshot):
        packets = received(snapshot, port)
        if packets is None or not snapshot.seconds:
            yield inconclusive(f"the packets of {port.name} were not counted in both samples")
        elif len(port.rx_queues) > 1 and packets >= _LEAST_PPS * snapshot.seconds:
            yield from _judged(snapshot, port, queue_packets(snapshot, port.name))


def _judged(snapshot: Snapshot, port: Interface, queues: Mapping[int, int]) -> Verdicts:
    total = sum(queues.values())
    if len(queues) < 2 or not total:
        yield inconclusive(f"the packets of {port.name} are not counted by queue")
        return
    top = max(queues, key=lambda queue: queues[queue])
    if queues[top] < _SHARE * total or any(queue.cpus for queue in port.rx_queues):
        return
    sends = Role.DIRECTOR in roles(snapshot)
    yield Finding(
        subject=port.name,
        severity=Severity.MEDIUM if sends else Severity.HIGH,
        message=f"Queue {top} of {port.name} received {100 * queues[top] / total:.0f} % of the "
        f"packets of {len(queues)} queues, because all packets in a tunnel have the same "
        "hash",
        evidence={
            "queue": top,
            "packets": {str(queue): n for queue, n in sorted(queues.items())},
            "tunnels": [tunnel.name for tunnel in tunnels(snapshot)],
        },
        fixes=(_gue(), *_rps(snapshot, port)),
    )


def _gue() -> Fix:
    title = (
        "Tunnel in UDP with a source port for each flow (GUE), on the director and real servers"
    )
    return Fix("tunnel-in-gue", title, Risk.DISRUPTIVE)


def _rps(snapshot: Snapshot, port: Interface) -> tuple[Fix, ...]:
    close, taken = near(snapshot, port.name), serving(snapshot, port.name)
    others = tuple(cpu for cpu in close if cpu not in taken) or close
    rows = tuple(steer(port, queue.name, others) for queue in port.rx_queues)
    title = "Let RPS spread packets by their inner header"
    return (commands(snapshot, "enable-rps", title, rows),) if others else ()
