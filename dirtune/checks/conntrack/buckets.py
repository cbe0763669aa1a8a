from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive, not_applicable
from dirtune.checks.conntrack import BUCKETS, COUNT, MOST
from dirtune.checks.remedies import sysctl
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

_MOST_PER_BUCKET = 8
_LONG = 2  # entries per bucket, for which the kernel chooses its default size
_VERY_LONG = 8  # an estimate, not calibrated


@check("conntrack/buckets", severity=Severity.LOW, trust="A")
def buckets(snapshot: Snapshot, sysctls: Sysctls) -> Verdicts:
    """The connection tracking table has too few buckets for its entries.

    ## What it does
    The check reports a table in which `nf_conntrack_max` is at least 8 times
    `nf_conntrack_buckets`, and which has 2 entries per bucket or more. The finding is `medium` at
    8 entries per bucket or more, else `low`.

    ## Why it matters
    For every tracked packet, the kernel searches the chain of a bucket. The kernel's default size
    aims at two entries per bucket.

    ## Remediation
    Raise `net.netfilter.nf_conntrack_buckets` to a quarter of `nf_conntrack_max` (16 bytes per
    bucket). This works at run time, but only in the first network namespace. For the next boot,
    use `options nf_conntrack hashsize=` in a file in /etc/modprobe.d.

    ## References
    - net/netfilter/nf_conntrack_core.c, `nf_conntrack_init_start()`
    - Documentation/networking/nf_conntrack-sysctl.rst
    """
    most, have, count = (sysctls.number(name) for name in (MOST, BUCKETS, COUNT))
    if most is None and have is None:
        yield not_applicable("connection tracking is not loaded on this host")
    elif most is None or not have or count is None:
        yield inconclusive(
            "nf_conntrack_max, nf_conntrack_buckets or nf_conntrack_count is unknown"
        )
    elif most >= _MOST_PER_BUCKET * have and count >= _LONG * have:
        long = count / have
        values = {BUCKETS: most // 4}
        yield Finding(
            "nf_conntrack_buckets",
            Severity.MEDIUM if long >= _VERY_LONG else Severity.LOW,
            f"The connection tracking table holds {count:,} entries in {have:,} buckets, so each "
            f"packet searches a chain of {long:.1f} entries",
            {"entries": count, "buckets": have, "max": most},
            (
                sysctl(
                    snapshot,
                    "raise-conntrack-buckets",
                    "Use more buckets to shorten the chains",
                    values,
                ),
            ),
        )
