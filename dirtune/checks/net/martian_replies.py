import re
from collections.abc import Mapping

from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import forwarding, vips
from dirtune.checks.remedies import sysctl
from dirtune.collect.ip_vs import Forward
from dirtune.collect.log_messages import MARTIAN, LogLine
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

# net/ipv4/route.c, ip_handle_martian_source()
_MARTIAN = re.compile(
    r"(?:IPv4: )?martian source (?P<client>[\d.]+) from (?P<source>[\d.]+),? "
    r"on dev (?P<interface>\S+)"
)
_CONF = "net/ipv4/conf/{}/{}"
_HALF = frozenset({Forward.ROUTE, Forward.TUNNEL})


@check(
    "net/martian-replies",
    severity=Severity.CRITICAL,
    trust="A",
    needs=("services",),
    roles=(Role.DIRECTOR,),
    mends=True,
)
def martian_replies(
    snapshot: Snapshot, sysctls: Sysctls, kernel_log: tuple[LogLine, ...]
) -> Verdicts:
    """The director drops its servers' replies, because their source is its own address.

    ## What it does
    The check examines directors that use direct routing or tunnels and are also the gateway of
    their real servers. Replies then arrive with the virtual address as source, which the director
    has too. The check reports an interface on which the kernel log names a packet from a virtual
    address as martian, unless the interface has `accept_local=1` and no reverse-path filter: the
    greater of `rp_filter` of `all` and of the interface is 0.

    ## Why it matters
    Requests reach the real servers, and every reply is dropped: no connection is established.

    ## Remediation
    Set `accept_local=1` and `rp_filter=0` for the interface of the real servers, and `rp_filter=0`
    for `all`, because the greater value is in effect. Or give the real servers another gateway,
    which is the usual layout for direct routing.

    ## Known problems
    The kernel writes these messages only with `log_martians=1`. Without a message the check cannot
    see that the director is the gateway.

    ## References
    - net/ipv4/fib_frontend.c, `__fib_validate_source()`
    - Documentation/networking/ip-sysctl.rst, `accept_local`, `rp_filter`
    """
    if not forwarding(snapshot) & _HALF:
        return
    mine = vips(snapshot)
    rows = (_MARTIAN.match(line.text) for line in MARTIAN.lines(kernel_log))
    martians: dict[str, Mapping[str, str]] = {}
    for row in rows:
        if row and row["source"] in mine:
            martians.setdefault(row["interface"], row.groupdict())
    for interface, martian in martians.items():
        yield from _judged(snapshot, sysctls, interface, martian)


def _judged(
    snapshot: Snapshot, sysctls: Sysctls, interface: str, martian: Mapping[str, str]
) -> Verdicts:
    local = sysctls.conf(interface, "accept_local")
    everywhere = sysctls.conf("all", "accept_local")
    filtered = sysctls.effective(interface, "rp_filter")
    accepts = local or everywhere
    if accepts and filtered == 0:
        return
    if filtered is None:
        yield inconclusive(f"rp_filter of {interface} could not be read")
        return
    values = {
        _CONF.format(interface, "accept_local"): 1,
        _CONF.format(interface, "rp_filter"): 0,
        **({_CONF.format("all", "rp_filter"): 0} if sysctls.conf("all", "rp_filter") else {}),
    }
    title = f"Accept packets from this host's own addresses on {interface}"
    yield Finding(
        subject=interface,
        severity=Severity.CRITICAL,
        message=f"{interface} drops replies from {martian['source']} to {martian['client']} as "
        f"martian: this director is its real servers' gateway and has {martian['source']} itself, "
        f"but accept_local of {interface} is {'unknown' if local is None else local} and its "
        f"rp_filter is {filtered}",
        evidence={"accept_local": local, "rp_filter": filtered, **martian},
        fixes=(sysctl(snapshot, "accept-own-source", title, values),),
    )
