from dirtune.analyse import rates
from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive, not_applicable
from dirtune.checks.realserver import UNPLANNED, UNTUNNELLED, is_up, tunnelled, tunnels
from dirtune.checks.remedies import sysctl
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

_STRICT = 1
_LOOSE = 2


@check(
    "realserver/tun-rp-filter",
    severity=Severity.CRITICAL,
    trust="A",
    needs=("interfaces",),
    roles=(Role.REAL_SERVER,),
    mends=True,
)
def tun_rp_filter(snapshot: Snapshot, sysctls: Sysctls) -> Verdicts:
    """The reverse path filter drops packets that the director sends through the tunnel.

    ## What it does
    The check examines real servers that the director reaches through a tunnel. It reports each
    tunnel interface that is up, if the greater of `all` and the interface's `rp_filter` is 1
    (strict). 0 and 2 are fine. Without a plan, the check assumes that a tunnel interface with an
    address but without routes is the director's tunnel.

    ## Why it matters
    The inner packet has the client's address as its source, and the route to the client uses
    another interface. So the strict filter silently drops every packet from the tunnel.

    ## Remediation
    Set `all` to 2 (loose) and the tunnel's value to 0. The greater value applies, so while `all`
    is 1, a lower value of the tunnel has no effect.

    ## References
    - Documentation/networking/ip-sysctl.rst, `rp_filter`
    - LVS-HOWTO, LVS-Tun
    """
    used = tunnelled(snapshot)
    if not used:
        yield UNPLANNED if used is None else UNTUNNELLED
        return
    up = [tunnel for tunnel in tunnels(snapshot) if is_up(tunnel) is not False]
    if not up:
        yield not_applicable("no tunnel interface is up; see realserver/tun-endpoint")
    for tunnel in up:
        value = sysctls.effective(tunnel.name, "rp_filter")
        if value is None:
            yield inconclusive(f"net.ipv4.conf.{tunnel.name}.rp_filter could not be read")
        elif value == _STRICT:
            yield _finding(snapshot, sysctls, tunnel.name)


def _finding(snapshot: Snapshot, sysctls: Sysctls, tunnel: str) -> Finding:
    dropped = _dropped(snapshot)
    counted = f": {dropped} packets in {snapshot.seconds:.0f} s" if dropped else ""
    conf = {name: sysctls.conf(name, "rp_filter") for name in ("all", tunnel)}
    values = {"net/ipv4/conf/all/rp_filter": _LOOSE, f"net/ipv4/conf/{tunnel}/rp_filter": 0}
    return Finding(
        tunnel,
        Severity.CRITICAL,
        f"rp_filter of {tunnel} is {_STRICT}, so packets that come out of the tunnel are "
        f"dropped{counted}",
        {
            "interface": tunnel,
            "rp_filter_all": conf["all"],
            "rp_filter_interface": conf[tunnel],
            "dropped_packets": dropped,
        },
        (
            sysctl(
                snapshot,
                "loosen-rp-filter",
                "Check source addresses loosely (rp_filter = 2)",
                values,
            ),
        ),
    )


def _dropped(snapshot: Snapshot) -> int | None:
    name = "TcpExt.IPReversePathFilter"
    if snapshot.earlier is None or snapshot.earlier.snmp is None or snapshot.snmp is None:
        return None
    return rates.increase(snapshot.earlier.snmp.get(name), snapshot.snmp.get(name))
