from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Role,
    Severity,
    Verdicts,
    check,
    inconclusive,
    not_applicable,
    uncounted,
)
from dirtune.checks.ipvs import forwarding, per_second
from dirtune.checks.ipvs.port_reuse import delays, vendor
from dirtune.checks.owners import TRACKING, Owner, owner
from dirtune.checks.remedies import sysctl
from dirtune.collect.kernel import Kernel
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

_FAST = 300  # new connections per second
_VS = "net/ipv4/vs/"


@check(
    "ipvs/conn-reuse-delay",
    severity=Severity.HIGH,
    trust="A",
    roles=(Role.DIRECTOR,),
    mends=True,
)
def conn_reuse_delay(snapshot: Snapshot, sysctls: Sysctls, kernel: Kernel) -> Verdicts:
    """A client that reuses a source port waits one second for its connection.

    ## What it does
    The check reports a kernel before 5.9 with `net.ipv4.vs.conn_reuse_mode` of 1 or more and
    `net.ipv4.vs.conntrack=1`, if the director takes 300 new connections/s or more. Stable kernels
    have the correction since 4.14.194, 4.19.140 and 5.4.59. The finding is `high`. On a
    distribution's kernel, which may have the correction, it is `medium`. The check
    uses the kernel version, unless a newer setting (`est_cpulist`, `conn_max`,
    `conn_reuse_old_conntrack`) shows that the kernel has the correction.

    ## Why it matters
    The old connection of a reused port may be in TIME_WAIT and still have a conntrack entry. The
    kernel then drops the SYN of the new connection, and the client tries again after 1 s. Kernel
    5.9 corrects this.

    ## Remediation
    Use a newer kernel, or set `net.ipv4.vs.conntrack=0` if no stateful rule needs conntrack: the
    rules of kube-proxy, kube-router and Docker Swarm need it. Elsewhere, do not set
    `conn_reuse_mode=0`: before Linux 5.16, clients that reuse ports then stay with a destination
    of weight 0 (`ipvs/stale-conn-policy`).

    ## Known problems
    The check knows only the rate of all clients together: one busy client waits often, and many
    slow clients wait rarely. Only the clients count repeated SYNs (`TcpExt: TCPSynRetrans`).

    ## References
    - net/netfilter/ipvs/ip_vs_core.c, `ip_vs_in_hook()`
    - Documentation/networking/ipvs-sysctl.rst
    """
    reuse = sysctls.number(f"{_VS}conn_reuse_mode")
    tracked = sysctls.number(f"{_VS}conntrack")
    if tracked == 0 or reuse == 0:
        return
    if reuse is None or tracked is None:
        yield not_applicable(
            "this kernel lacks net.ipv4.vs.conn_reuse_mode or net.ipv4.vs.conntrack"
        )
    elif delays(snapshot) is None:
        yield inconclusive(
            f"the kernel version {kernel.osrelease!r} does not show whether the kernel is "
            "older than 5.9"
        )
    elif delays(snapshot):
        yield from _judged(snapshot, sysctls, kernel, vendor=vendor(snapshot))


def _judged(snapshot: Snapshot, sysctls: Sysctls, kernel: Kernel, *, vendor: bool) -> Verdicts:
    rate = per_second(snapshot, "connections")
    if rate is None:
        yield uncounted(snapshot, "the rate of new connections needs two samples")
    elif rate >= _FAST:
        yield _finding(snapshot, sysctls, kernel, rate, vendor=vendor)


def _finding(
    snapshot: Snapshot, sysctls: Sysctls, kernel: Kernel, rate: float, *, vendor: bool
) -> Finding:
    return Finding(
        subject="net.ipv4.vs.conn_reuse_mode",
        severity=Severity.MEDIUM if vendor else Severity.HIGH,
        message="A client that reuses a port waits 1 s, because net.ipv4.vs.conn_reuse_mode and "
        f"net.ipv4.vs.conntrack are on in kernel {kernel.osrelease}; this director takes "
        f"{rate:.0f} new connections/s",
        evidence={
            "osrelease": kernel.osrelease,
            "vendor_kernel": vendor,
            "conn_reuse_mode": sysctls.number(f"{_VS}conn_reuse_mode"),
            "conntrack": sysctls.number(f"{_VS}conntrack"),
            "new_connections_per_second": round(rate, 1),
            "forwarding": sorted(forwarding(snapshot)),
        },
        fixes=_fixes(snapshot),
    )


def _fixes(snapshot: Snapshot) -> tuple[Fix, ...]:
    newer = Fix("newer-kernel", "Use kernel 5.9 or later, or a current stable kernel", Risk.REBOOT)
    runs = owner(snapshot)
    if runs in TRACKING:
        return newer, _keep_server(runs)
    title = "Stop tracking IPVS connections, if no stateful or NAT rule needs the tracking"
    values = {f"{_VS}conntrack": 0}
    return sysctl(snapshot, "stop-ipvs-conntrack", title, values, what="ipvs"), newer


def _keep_server(runs: Owner | None) -> Fix:
    title = (
        "Set net.ipv4.vs.conn_reuse_mode=0 and net.ipv4.vs.expire_nodest_conn=1, as newer "
        f"versions of {runs} do. Before Linux 5.16, clients that reuse ports then stay with a "
        "destination of weight 0 until it is deleted"
    )
    return Fix("reuse-servers", title, Risk.DISRUPTIVE)
