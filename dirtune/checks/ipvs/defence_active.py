from collections.abc import Mapping

from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import DEFENCES, page_bytes
from dirtune.checks.remedies import sysctl
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

_TRIGGERED, _ALWAYS = 2, 3
_DOES = {
    "drop_packet": "drops 1 of N new connections",
    "drop_entry": "deletes half-open connections, and idle connections with 8 packets or fewer",
    "secure_tcp": "uses the stricter table of TCP states and timeouts",
}


@check(
    "ipvs/defence-active",
    severity=Severity.CRITICAL,
    trust="A",
    roles=(Role.DIRECTOR,),
    mends=True,
)
def defence_active(snapshot: Snapshot, sysctls: Sysctls) -> Verdicts:
    """A defence of IPVS against SYN floods is active now.

    ## What it does
    The check reports `drop_packet` (`critical`), `drop_entry` and `secure_tcp` (both `high`) if
    the value is 2 (a lack of memory has triggered the defence) or 3 (always on). It does not
    report 0 (off) and 1 (armed).

    ## Why it matters
    The defence drop_packet drops 1 of N new connections. With value 3, N is `am_droprate`; with
    value 2, N depends on how much memory is missing. The defence drop_entry deletes half-open
    connections. Though this is not documented, it also deletes established connections that have
    been idle for 60 s and had 8 packets or fewer. The defence secure_tcp changes the states and
    timeouts of every TCP connection. A value of 2 often has another cause than a flood: the kernel
    compares `amemthresh` with free memory, and ignores the page cache that it could reclaim.

    ## Remediation
    Find out why free memory is below the threshold (`ipvs/defence-threshold`), and turn the
    defence off. Against a real SYN flood, use SYN cookies or a filter in front of the director.

    ## References
    - net/netfilter/ipvs/ip_vs_ctl.c, `update_defense_level()`
    - net/netfilter/ipvs/ip_vs_conn.c, `todrop_entry()`
    - Documentation/networking/ipvs-sysctl.rst
    """
    modes = {name: sysctls.number(f"net/ipv4/vs/{name}") for name in DEFENCES}
    for name, mode in modes.items():
        if mode is not None and mode >= _TRIGGERED:
            yield _finding(snapshot, sysctls, name, mode)
    unknown = [name for name, mode in modes.items() if mode is None]
    if unknown:
        yield inconclusive(f"net.ipv4.vs.{unknown[0]} could not be read")


def _finding(snapshot: Snapshot, sysctls: Sysctls, name: str, mode: int) -> Finding:
    memory = _memory(snapshot, sysctls)
    state = "always on" if mode == _ALWAYS else "triggered"
    shortage = _shortage(memory) if mode == _TRIGGERED else ""
    return Finding(
        subject=f"net.ipv4.vs.{name}",
        severity=Severity.CRITICAL if name == "drop_packet" else Severity.HIGH,
        message=f"net.ipv4.vs.{name} is {state} and {_does(snapshot, name, mode)}{shortage}",
        evidence={name: mode, **memory},
        fixes=_fixes(snapshot, name, mode),
    )


def _does(snapshot: Snapshot, name: str, mode: int) -> str:
    rate = snapshot.sysctl("net/ipv4/vs/am_droprate")
    if name == "drop_packet" and mode == _ALWAYS and rate:
        return f"drops 1 of {rate} new connections"
    return _DOES[name]


def _shortage(memory: Mapping[str, int | None]) -> str:
    free, threshold = memory["free_and_buffers_bytes"], memory["amemthresh_bytes"]
    if free is None or threshold is None:
        return ""
    return (
        f"; free memory and buffers are {free >> 20} MiB, and the threshold is {threshold >> 20} "
        "MiB"
    )


def _memory(snapshot: Snapshot, sysctls: Sysctls) -> dict[str, int | None]:
    memory = snapshot.meminfo or {}
    pages, page = sysctls.number("net/ipv4/vs/amemthresh"), page_bytes(snapshot)
    known = "MemFree" in memory and "Buffers" in memory
    return {
        "amemthresh_pages": pages,
        "amemthresh_bytes": pages * page if pages is not None and page else None,
        "free_and_buffers_bytes": memory["MemFree"] + memory["Buffers"] if known else None,
        "available_bytes": memory.get("MemAvailable"),
    }


def _fixes(snapshot: Snapshot, name: str, mode: int) -> tuple[Fix, ...]:
    off = sysctl(
        snapshot,
        f"disable-{name.replace('_', '-')}",
        f"Turn {name} off, unless a real SYN flood is under way",
        {f"net/ipv4/vs/{name}": 0},
    )
    memory = Fix("free-memory", "Find out what keeps free memory below amemthresh", Risk.SAFE)
    return (off, memory) if mode == _TRIGGERED else (off,)
