from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import DEFENCES, page_bytes
from dirtune.checks.remedies import sysctl
from dirtune.snapshot import Snapshot

_ARMED = 1
_DEFAULT_PAGES = 1024
_NEAR = 0.8  # of free memory and buffers; an estimate, not calibrated
_PAGE = 4096  # bytes, the smallest there is
_TIMES_RESERVE = 2.5


@check(
    "ipvs/defence-threshold",
    severity=Severity.MEDIUM,
    trust="A",
    needs=("sysctls",),
    roles=("director",),
    mends=True,
)
def defence_threshold(snapshot: Snapshot) -> Verdicts:
    """An automatic defence is armed with a threshold that does not fit this host.

    ## What it does
    Where `drop_packet`, `drop_entry` or `secure_tcp` is 1, reports an `amemthresh` of 1,024
    pages or fewer that is not above `vm.min_free_kbytes`, and one that is 80 % or more of free
    memory and buffers. With all of them off nothing is reported.

    ## Why it matters
    The kernel keeps more free than 4 MiB, so the default is reached when it is too late. The
    other way round: free memory and buffers are compared, not available memory, so the defence
    starts while gigabytes of page cache could be given back.

    ## Remediation
    `amemthresh` of 2 to 3 times `vm.min_free_kbytes`, in pages.

    ## Known problems
    No file tells the size of a page, except that it is 4,096 bytes on x86: elsewhere the second
    is not decided.

    ## References
    - net/netfilter/ipvs/ip_vs_ctl.c, `update_defense_level()`
    """
    assert snapshot.sysctls is not None
    modes = [snapshot.sysctls.number(f"net/ipv4/vs/{name}") for name in DEFENCES]
    pages = snapshot.sysctls.number("net/ipv4/vs/amemthresh")
    if _ARMED not in modes:
        if None in modes:
            yield inconclusive("the modes of IPVS's defences could not be read")
    elif pages is None:
        yield inconclusive("net.ipv4.vs.amemthresh could not be read")
    else:
        yield from _judged(snapshot, pages)


def _judged(snapshot: Snapshot, pages: int) -> Verdicts:
    assert snapshot.sysctls is not None
    reserve_kb = snapshot.sysctls.number("vm/min_free_kbytes")
    if pages <= _DEFAULT_PAGES and (reserve_kb is None or pages * _PAGE <= reserve_kb * 1024):
        why = "pages is no more than the kernel keeps free anyway"
        yield _finding(snapshot, pages, f"{pages:,} {why}")
        return
    memory, page = snapshot.meminfo or {}, page_bytes(snapshot)
    if page is None or "MemFree" not in memory or "Buffers" not in memory:
        yield inconclusive("free memory, or the size of a page, is not known")
        return
    free = memory["MemFree"] + memory["Buffers"]
    if pages * page >= _NEAR * free:
        said = f"{pages * page >> 20} MiB is near the {free >> 20} MiB that are free or buffers"
        yield _finding(snapshot, pages, said)


def _finding(snapshot: Snapshot, pages: int, said: str) -> Finding:
    assert snapshot.sysctls is not None
    memory = snapshot.meminfo or {}
    reserve_kb = snapshot.sysctls.number("vm/min_free_kbytes")
    page = page_bytes(snapshot)
    wanted = round(_TIMES_RESERVE * reserve_kb * 1024 / page) if reserve_kb and page else None
    fix = sysctl(
        snapshot,
        "fit-amemthresh",
        "Set 2.5 times what the kernel keeps free (vm.min_free_kbytes)",
        {"net/ipv4/vs/amemthresh": wanted},
    )
    return Finding(
        subject="net.ipv4.vs.amemthresh",
        severity=Severity.MEDIUM,
        message=said,
        evidence={
            "amemthresh_pages": pages,
            "min_free_kbytes": reserve_kb,
            "free_bytes": memory.get("MemFree"),
            "buffers_bytes": memory.get("Buffers"),
            "available_bytes": memory.get("MemAvailable"),
        },
        fixes=(fix,) if wanted and wanted != pages else (),
    )
