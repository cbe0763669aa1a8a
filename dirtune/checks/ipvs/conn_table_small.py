from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import LONG_CHAIN, entries, per_second, templates
from dirtune.checks.remedies import boot, sysctl
from dirtune.collect.ip_vs_status import LONGEST
from dirtune.settings import BootOption, ModuleOptions, shell
from dirtune.snapshot import Snapshot

_VERY_LONG = 32  # entries per bucket; an estimate, not calibrated
_FIN_S = 120  # how long a closed connection stays by default
_LEAST_BITS, _MOST_BITS = 8, 20  # values that every kernel accepts
_BUCKET_BYTES = 8  # on 64 bits
_LFACTOR = "net/ipv4/vs/conn_lfactor"
_MOST_PARSED_BITS = 32
_LEAST_FACTOR, _DEFAULT_FACTOR = -8, -4
_HALF_PERCENT = 50.0  # of the buckets in use: the mean chain is about 7; an estimate


@check(
    "ipvs/conn-table-small",
    severity=Severity.MEDIUM,
    trust="A",
    needs=("services",),
    roles=(Role.DIRECTOR,),
)
def conn_table_small(snapshot: Snapshot, ip_vs_table_size: int) -> Verdicts:
    """The connection table has too few buckets for its entries.

    ## What it does
    The check reports 8 entries per bucket or more as `medium` and 32 or more as `high`. It counts
    the connections of all destinations and the persistence templates. With two samples, it also
    estimates the entries at the present rate: the established connections, plus the new
    connections per second times the `fin` timeout (120 s by default). The greater of the two
    numbers counts.

    A table that resizes itself grows until it has as many buckets as `conn_lfactor` asks for, but
    to no more than 2^`conn_tab_bits`, so these count. Its kernel also tells how long the chains
    are (/proc/net/ip_vs_status): the check reports a table as `medium` if half of the buckets in
    use have 7 entries or more.

    ## Why it matters
    The default is 4,096 buckets. With a million entries, each bucket has a chain of 244 entries,
    which the kernel searches for every packet.

    ## Remediation
    Put `options ip_vs conn_tab_bits=20` into a file in /etc/modprobe.d; the table then takes 8
    MiB. The option takes effect the next time ip_vs is loaded. Reloading the module loses all
    services and connections, so reload it on the backup and fail over. If ip_vs is built into the
    kernel, use the boot option `ip_vs.conn_tab_bits=20`. If it is loaded from the initramfs,
    generate a new initramfs. If `net.ipv4.vs.conn_lfactor` keeps the table small, set it to -4,
    the default, which takes effect at once.

    ## Known problems
    The table belongs to the whole machine, but the check counts only the entries of this network
    namespace. It counts persistence templates only if netlink was read. In a table that resizes
    itself, a connection with NAT takes two entries, which only the lengths of the chains show.

    ## References
    - net/netfilter/ipvs/ip_vs_conn.c, `ip_vs_conn_init()`
    - net/netfilter/ipvs/Kconfig, IP_VS_TAB_BITS
    - net/netfilter/ipvs/ip_vs_ctl.c, `ip_vs_status_show()`
    - Documentation/networking/ipvs-sysctl.rst, `conn_lfactor`
    """
    now = entries(snapshot) + (templates(snapshot) or 0)
    coming = _expected(snapshot)
    most = max(now, coming or 0)
    goal, largest = _asked(snapshot, most), _largest(snapshot)
    size = max(1, ip_vs_table_size, goal if largest is None else min(goal, largest))
    if most < LONG_CHAIN * size:
        if most >= LONG_CHAIN * max(1, ip_vs_table_size) and largest is None:
            yield inconclusive(
                "the table of this kernel resizes itself, and the parameter conn_tab_bits, which "
                "limits its size, could not be read"
            )
        else:
            yield from _by_chains(snapshot, most)
        return
    verb = "holds" if now >= LONG_CHAIN * size else "is expected to hold"
    yield Finding(
        subject="connection table",
        severity=Severity.HIGH if most >= _VERY_LONG * size else Severity.MEDIUM,
        message=f"The IPVS connection table {verb} {most:,} entries in {size:,} buckets, which is "
        f"{most / size:.0f} entries per bucket",
        evidence={
            "entries": now,
            "templates": templates(snapshot),
            "expected_entries": coming,
            "buckets": size,
            "entries_per_bucket": round(most / size, 1),
            "new_connections_per_second": _rounded(per_second(snapshot, "connections")),
        },
        fixes=_fixes(snapshot, most),
    )


def _by_chains(snapshot: Snapshot, most: int) -> Verdicts:
    """Judge a table by the lengths of its chains, which only some kernels report."""
    table = snapshot.ip_vs_status
    percent = table.long_percent if table else None
    if table is None or percent is None or percent < _HALF_PERCENT:
        return
    yield Finding(
        subject="connection table",
        severity=Severity.MEDIUM,
        message=f"{percent:.0f} % of the used buckets of the IPVS connection table have chains of "
        f"{LONGEST} entries or more",
        evidence={
            "entries": table.connections,
            "buckets": table.buckets,
            "buckets_by_length": {str(n): count for n, count in sorted(table.lengths.items())},
        },
        fixes=_fixes(snapshot, max(most, table.connections)),
    )


def _asked(snapshot: Snapshot, most: int) -> int:
    """Return the buckets that `conn_lfactor` asks for; 0 if the table has a fixed size."""
    factor = snapshot.sysctl(_LFACTOR)
    if factor is None or not _LEAST_FACTOR <= factor <= -_LEAST_FACTOR:
        return 0
    buckets = most << -factor if factor < 0 else most >> factor
    return max(1 << _LEAST_BITS, 1 << max(0, buckets - 1).bit_length())


def _largest(snapshot: Snapshot) -> int | None:
    """Return the number of buckets to which a table that resizes itself may grow."""
    bits = (snapshot.modules.parameters if snapshot.modules else {}).get("ip_vs.conn_tab_bits", "")
    return 1 << int(bits) if bits.isdecimal() and int(bits) <= _MOST_PARSED_BITS else None


def _expected(snapshot: Snapshot) -> int | None:
    """Return the number of entries expected at the present rate; None if the rate is unknown.

    The number includes established connections, and closed connections until their timeout.
    """
    rate = per_second(snapshot, "connections")
    if rate is None:
        return None
    fin = snapshot.ipvs.timeouts_s.get("tcp_fin", _FIN_S) if snapshot.ipvs else _FIN_S
    tcp = [s for s in snapshot.services or () if s.protocol == "TCP" and not s.ops]
    if len(tcp) != len(snapshot.services or ()):
        return None  # the new connections that close with a FIN are not counted
    return sum(d.active for s in tcp for d in s.destinations) + round(rate * fin)


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 1)


def _fixes(snapshot: Snapshot, most: int) -> tuple[Fix, ...]:
    largest, goal = _largest(snapshot), _asked(snapshot, most)
    if goal and goal < (most if largest is None else min(most, largest)):
        title = "Let the connection table grow with its connections, as it does by default"
        return (sysctl(snapshot, "default-conn-lfactor", title, {_LFACTOR: _DEFAULT_FACTOR}),)
    bits = min(_MOST_BITS, max(_LEAST_BITS, most.bit_length()))
    mib = max(1, (_BUCKET_BYTES << bits) >> 20)
    if snapshot.modules is not None and "ip_vs" not in snapshot.modules.loaded:
        title = f"Boot with ip_vs.conn_tab_bits={bits}, which makes a table of {mib} MiB"
        return (boot("boot-conn-tab-bits", title, BootOption(add=f"ip_vs.conn_tab_bits={bits}")),)
    option = ModuleOptions("ip_vs", {"conn_tab_bits": str(bits)})
    return (
        Fix(
            "raise-conn-tab-bits",
            f"Give the table {1 << bits:,} buckets ({mib} MiB) the next time ip_vs is loaded. "
            "Reloading ip_vs loses all services and connections, so do it on the backup and fail "
            "over",
            Risk.DISRUPTIVE,
            shell(option),
            settings=(option,),
        ),
    )
