from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive, not_applicable
from dirtune.checks.conntrack import BUCKETS, COUNT, MOST
from dirtune.checks.remedies import sysctl
from dirtune.snapshot import Snapshot

_MOST_PER_BUCKET = 8
_LONG = 2  # entries per bucket; the kernel sizes its own default for that many
_VERY_LONG = 8  # an estimate, not calibrated


@check("conntrack/buckets", severity=Severity.LOW, trust="A", needs=("sysctls",))
def buckets(snapshot: Snapshot) -> Verdicts:
    """The chains of the connection tracking table are long.

    ## What it does
    Reports `nf_conntrack_max` of 8 times `nf_conntrack_buckets` or more while the table holds 2
    entries per bucket or more: `low`, from 8 per bucket on `medium`.

    ## Why it matters
    The chain of its bucket is walked for every packet that is tracked. The kernel aims at two
    entries in each.

    ## Remediation
    Raise `net.netfilter.nf_conntrack_buckets` to a quarter of the maximum (16 bytes each); in
    the first network namespace it may be written at run time. For the next boot:
    `options nf_conntrack hashsize=`.

    ## References
    - net/netfilter/nf_conntrack_core.c, `nf_conntrack_init_start()`
    - Documentation/networking/nf_conntrack-sysctl.rst
    """
    assert snapshot.sysctls is not None
    most, have, count = (snapshot.sysctls.number(name) for name in (MOST, BUCKETS, COUNT))
    if most is None and have is None:
        yield not_applicable("connection tracking is not loaded")
    elif most is None or not have or count is None:
        yield inconclusive("nf_conntrack_max, _buckets or _count is not known")
    elif most >= _MOST_PER_BUCKET * have and count >= _LONG * have:
        long = count / have
        wanted = {BUCKETS: most // 4}
        yield Finding(
            "nf_conntrack_buckets",
            Severity.MEDIUM if long >= _VERY_LONG else Severity.LOW,
            f"{count:,} entries in {have:,} buckets: {long:.1f} to walk for a packet",
            {"entries": count, "buckets": have, "max": most},
            (sysctl(snapshot, "raise-conntrack-buckets", "Shorten the chains", wanted),),
        )
