from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.realserver import UNPLANNED, UNTUNNELLED, is_up, tunnelled, tunnels, vips
from dirtune.checks.remedies import commands
from dirtune.checks.together import listed
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

_TUN_TAP = 65534  # ARPHRD_NONE: the end of a tunnel that a program made


@check(
    "realserver/tun-endpoint",
    severity=Severity.CRITICAL,
    trust="A",
    roles=(Role.REAL_SERVER,),
)
def tun_endpoint(snapshot: Snapshot, interfaces: tuple[Interface, ...]) -> Verdicts:
    """A real server has no interface that decapsulates packets from the director's tunnel.

    ## What it does
    The check examines real servers that the director reaches through a tunnel, and reports a host
    on which no tunnel interface (IP-in-IP, GRE, GUE) is up. If a program has its own tunnel
    device, the check is inconclusive.

    ## Why it matters
    The kernel answers each packet with ICMP protocol unreachable, and the client's connect(2)
    fails with ENOPROTOOPT, `Protocol not available`.

    ## Remediation
    Run `modprobe ipip` and `ip link set tunl0 up`, and put the virtual address on tunl0; for GUE
    run `ip fou add port 6080 gue` as well. Let protocol 4 (or the UDP port) through firewalls.

    ## Known problems
    The check does not see a tunnel that ends in another network namespace or in hardware. It does
    not know the tunnel type that the director uses.

    ## References
    - LVS-HOWTO, LVS-Tun
    """
    used = tunnelled(snapshot)
    if not used:
        yield UNPLANNED if used is None else UNTUNNELLED
        return
    states = {tunnel.name: is_up(tunnel) for tunnel in tunnels(snapshot)}
    if True in states.values():
        return
    if None in states.values():
        yield inconclusive("the state of the tunnel interface is unknown")
    elif any(interface.type == _TUN_TAP for interface in interfaces):
        yield inconclusive("a program has its own tunnel device, which may receive the packets")
    else:
        yield _finding(snapshot, tuple(states))


def _finding(snapshot: Snapshot, down: tuple[str, ...]) -> Finding:
    name = down[0] if down else "tunl0"
    held = vips(snapshot) if snapshot.addresses is not None else ()
    absent = [v for v in held if v not in (snapshot.addresses or ()) and ":" not in v]
    loaded = snapshot.modules.loaded if snapshot.modules else None
    return Finding(
        name,
        Severity.CRITICAL,
        f"The tunnel interface {listed(down)} is down, so packets from the director are refused"
        if down
        else "This real server has no tunnel interface, so packets from the director are refused",
        {"down": list(down), "ipip_loaded": None if loaded is None else "ipip" in loaded},
        (
            commands(
                snapshot,
                "open-tunnel",
                f"Set up {name} to decapsulate the director's packets",
                (
                    *(() if down else ("modprobe ipip",)),
                    ("ip", "link", "set", "dev", name, "up"),
                    *(("ip", "addr", "add", f"{vip}/32", "dev", name) for vip in absent),
                ),
            ),
        ),
    )
