from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import LONG_CHAIN, entries, per_second, templates
from dirtune.checks.remedies import boot
from dirtune.settings import BootOption, ModuleOptions, shell
from dirtune.snapshot import Snapshot

_VERY_LONG = 32  # entries per bucket; an estimate, not calibrated
_FIN_S = 120  # how long a closed connection stays by default
_LEAST_BITS, _MOST_BITS = 8, 20  # values that every kernel accepts
_BUCKET_BYTES = 8  # on 64 bits
_LFACTOR = "net/ipv4/vs/conn_lfactor"
_MOST_PARSED_BITS = 32


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
    numbers counts. A table that
    resizes itself (`conn_lfactor`) grows only to 2^`conn_tab_bits` buckets, so these count.

    ## Why it matters
    The default is 4,096 buckets. With a million entries, each bucket has a chain of 244 entries,
    which the kernel searches for every packet.

    ## Remediation
    Put `options ip_vs conn_tab_bits=20` into a file in /etc/modprobe.d; the table then takes 8
    MiB. The option takes effect the next time ip_vs is loaded. Reloading the module loses all
    services and connections, so reload it on the backup and fail over. If ip_vs is built into the
    kernel, use the boot option `ip_vs.conn_tab_bits=20`. If it is loaded from the initramfs,
    generate a new initramfs.

    ## Known problems
    The table belongs to the whole machine, but the check counts only the entries of this network
    namespace. It counts persistence templates only if netlink was read.

    ## References
    - net/netfilter/ipvs/ip_vs_conn.c, `ip_vs_conn_init()`
    - net/netfilter/ipvs/Kconfig, IP_VS_TAB_BITS
    """
    size = max(1, ip_vs_table_size)
    if _resizes(snapshot):
        size = max(size, _largest(snapshot) or 0)
    now = entries(snapshot) + (templates(snapshot) or 0)
    coming = _expected(snapshot)
    most = max(now, coming or 0)
    if most < LONG_CHAIN * size:
        return
    if _resizes(snapshot) and _largest(snapshot) is None:
        yield inconclusive(
            "the table of this kernel resizes itself, and the parameter conn_tab_bits, which "
            "limits its size, could not be read"
        )
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


def _resizes(snapshot: Snapshot) -> bool:
    return snapshot.sysctls is not None and snapshot.sysctls.text(_LFACTOR) is not None


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
