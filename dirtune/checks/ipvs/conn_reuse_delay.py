import re

from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Severity,
    Verdicts,
    check,
    inconclusive,
    not_applicable,
)
from dirtune.checks.ipvs import forwarding, per_second
from dirtune.checks.remedies import sysctl
from dirtune.snapshot import Snapshot

_FAST = 300  # new connections per second
_CURED = (5, 9)  # no file tells whether a kernel has the cure
_RELEASE = re.compile(r"(?P<major>\d+)\.(?P<minor>\d+)(?P<patch>\.\d+)?(?P<vendor>[-+~_.].*)?")
_VS = "net/ipv4/vs/"


@check(
    "ipvs/conn-reuse-delay",
    severity=Severity.HIGH,
    trust="A",
    needs=("sysctls", "kernel"),
    roles=("director",),
    mends=True,
)
def conn_reuse_delay(snapshot: Snapshot) -> Verdicts:
    """A client that uses a port again waits one second for its connection.

    ## What it does
    Reports `conn_reuse_mode` of 1 or more together with `net.ipv4.vs.conntrack=1` in a kernel
    before 5.9 that takes 300 new connections/s or more: `high`, and `medium` on a distribution's
    kernel, which may have the cure. With `conntrack=0`, and with fewer connections, nothing is
    reported. This is one of the few conditions that only the kernel's release tells.

    ## Why it matters
    A SYN for an entry in TIME_WAIT whose conntrack entry is still there is dropped, and the
    client tries again after 1 s. Since 5.9 only a confirmed conntrack entry counts as old.

    ## Remediation
    A newer kernel; or `net.ipv4.vs.conntrack=0` where no stateful rule needs it; or
    `conn_reuse_mode=0` together with `expire_nodest_conn=1`.

    ## Known problems
    The rate is that of all clients together, and a client that opens many of them waits most
    often: whether it is one client or many is not counted. SYNs that clients send again show
    only on the clients (`TcpExt: TCPSynRetrans`).

    ## References
    - net/netfilter/ipvs/ip_vs_core.c, `ip_vs_in_hook()`
    - Documentation/networking/ipvs-sysctl.rst
    """
    assert snapshot.sysctls is not None
    assert snapshot.kernel is not None
    reuse = snapshot.sysctls.number(f"{_VS}conn_reuse_mode")
    tracked = snapshot.sysctls.number(f"{_VS}conntrack")
    release = _RELEASE.fullmatch(snapshot.kernel.osrelease or "")
    if tracked == 0 or reuse == 0:
        return
    if reuse is None or tracked is None:
        yield not_applicable("this kernel has no conn_reuse_mode, or none of IPVS's conntrack")
    elif release is None:
        yield inconclusive(f"kernel {snapshot.kernel.osrelease!r}: before 5.9 or not is not known")
    elif (int(release["major"]), int(release["minor"])) < _CURED:
        yield from _judged(snapshot, vendor=release["vendor"] is not None)


def _judged(snapshot: Snapshot, *, vendor: bool) -> Verdicts:
    rate = per_second(snapshot, "connections")
    if rate is None:
        yield inconclusive("new connections/s take two samples")
    elif rate >= _FAST:
        yield _finding(snapshot, rate, vendor=vendor)


def _finding(snapshot: Snapshot, rate: float, *, vendor: bool) -> Finding:
    assert snapshot.sysctls is not None
    assert snapshot.kernel is not None
    return Finding(
        subject="net.ipv4.vs.conn_reuse_mode",
        severity=Severity.MEDIUM if vendor else Severity.HIGH,
        message=f"with conntrack=1 a port that is used again costs 1 s, at {rate:.0f} new "
        f"connections/s and kernel {snapshot.kernel.osrelease}",
        evidence={
            "osrelease": snapshot.kernel.osrelease,
            "vendor_kernel": vendor,
            "conn_reuse_mode": snapshot.sysctls.number(f"{_VS}conn_reuse_mode"),
            "conntrack": snapshot.sysctls.number(f"{_VS}conntrack"),
            "new_connections_per_second": round(rate, 1),
            "forwarding": sorted(forwarding(snapshot)),
        },
        fixes=_fixes(snapshot),
    )


def _fixes(snapshot: Snapshot) -> tuple[Fix, ...]:
    return (
        sysctl(
            snapshot,
            "stop-ipvs-conntrack",
            "Do not track IPVS's connections; only where no stateful or NAT rule needs it",
            {f"{_VS}conntrack": 0},
            what="ipvs",
        ),
        sysctl(
            snapshot,
            "no-conn-reuse",
            "Send a port that is used again to the same server, and drop dead servers' entries",
            {f"{_VS}conn_reuse_mode": 0, f"{_VS}expire_nodest_conn": 1},
            what="ipvs",
        ),
        Fix("newer-kernel", "Take a kernel of 5.9 or later", Risk.REBOOT),
    )
