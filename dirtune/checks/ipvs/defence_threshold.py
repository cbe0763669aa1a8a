from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import DEFENCES, page_bytes
from dirtune.checks.remedies import sysctl
from dirtune.collect.sysctls import Sysctls
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
    roles=(Role.DIRECTOR,),
    mends=True,
)
def defence_threshold(snapshot: Snapshot, sysctls: Sysctls) -> Verdicts:
    """The memory threshold of an IPVS defence is too low or too high for this host.

    ## What it does
    If `drop_packet`, `drop_entry` or `secure_tcp` is 1 (armed), the check compares `amemthresh`
    with the host's memory. It reports a threshold of 1,024 pages or fewer that is not above
    `vm.min_free_kbytes`, and a threshold of 80 % or more of free memory and buffers.

    ## Why it matters
    The kernel always keeps more memory free than the default threshold of 4 MiB, so the defence
    starts too late. With a high threshold it starts too early: the kernel compares only free
    memory and buffers, so the defence starts although the kernel could reclaim gigabytes of page
    cache.

    ## Remediation
    Set `amemthresh` to 2 to 3 times `vm.min_free_kbytes`, in pages.

    ## Known problems
    No file reports the page size, which is 4,096 bytes on x86. On other architectures, the check
    cannot decide whether the threshold is too high.

    ## References
    - net/netfilter/ipvs/ip_vs_ctl.c, `update_defense_level()`
    """
    modes = [sysctls.number(f"net/ipv4/vs/{name}") for name in DEFENCES]
    pages = sysctls.number("net/ipv4/vs/amemthresh")
    if _ARMED not in modes:
        if None in modes:
            yield inconclusive("the modes of the IPVS defences could not be read")
    elif pages is None:
        yield inconclusive("net.ipv4.vs.amemthresh could not be read")
    else:
        yield from _judged(snapshot, sysctls, pages)


def _judged(snapshot: Snapshot, sysctls: Sysctls, pages: int) -> Verdicts:
    reserve_kb = sysctls.number("vm/min_free_kbytes")
    if pages <= _DEFAULT_PAGES and (reserve_kb is None or pages * _PAGE <= reserve_kb * 1024):
        message = (
            f"net.ipv4.vs.amemthresh is {pages:,} pages, which is no more than the kernel keeps "
            "free anyway, so the defence starts too late"
        )
        yield _finding(snapshot, sysctls, pages, message)
        return
    memory, page = snapshot.meminfo or {}, page_bytes(snapshot)
    if page is None or "MemFree" not in memory or "Buffers" not in memory:
        yield inconclusive("the amount of free memory or the page size is unknown")
        return
    free = memory["MemFree"] + memory["Buffers"]
    if pages * page >= _NEAR * free:
        message = (
            f"net.ipv4.vs.amemthresh is {pages * page >> 20} MiB, close to the {free >> 20} MiB "
            "of free memory and buffers, so the defence starts too early"
        )
        yield _finding(snapshot, sysctls, pages, message)


def _finding(snapshot: Snapshot, sysctls: Sysctls, pages: int, message: str) -> Finding:
    memory = snapshot.meminfo or {}
    reserve_kb = sysctls.number("vm/min_free_kbytes")
    page = page_bytes(snapshot)
    fitting = round(_TIMES_RESERVE * reserve_kb * 1024 / page) if reserve_kb and page else None
    fix = sysctl(
        snapshot,
        "fit-amemthresh",
        "Set amemthresh to 2.5 times the memory that the kernel keeps free (vm.min_free_kbytes)",
        {"net/ipv4/vs/amemthresh": fitting},
    )
    return Finding(
        subject="net.ipv4.vs.amemthresh",
        severity=Severity.MEDIUM,
        message=message,
        evidence={
            "amemthresh_pages": pages,
            "min_free_kbytes": reserve_kb,
            "free_bytes": memory.get("MemFree"),
            "buffers_bytes": memory.get("Buffers"),
            "available_bytes": memory.get("MemAvailable"),
        },
        fixes=(fix,) if fitting and fitting != pages else (),
    )
