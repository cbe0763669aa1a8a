from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check
from dirtune.snapshot import Snapshot

_NAMES = ("spectre_v2", "retbleed")


@check(
    "cpu/mitigations",
    severity=Severity.INFO,
    trust="B",
    needs=("cpu_power",),
    roles=("director",),
)
def mitigations(snapshot: Snapshot) -> Verdicts:
    """Mitigations of the CPU's flaws make each indirect call of the packet path slow.

    ## What it does
    Reports a director whose kernel says in /sys/devices/system/cpu/vulnerabilities that it uses
    retpolines, or IBRS that is not the enhanced one: `info`. It explains capacity; it asks for no
    change.

    ## Why it matters
    IPVS makes indirect calls for each packet: to find the connection, to schedule, to transmit,
    and from each netfilter hook. A retpoline turns each into a thunk that is never predicted.

    ## Remediation
    A newer kernel calls the usual targets directly; a CPU with enhanced IBRS needs no retpolines.
    `mitigations=off` gives protection away: never on a director that others can reach.

    ## Known problems
    Whether this kernel already calls the usual targets directly cannot be read from it.

    ## References
    - Documentation/admin-guide/hw-vuln/spectre.rst
    - Documentation/admin-guide/kernel-parameters.txt, `mitigations=`
    """
    assert snapshot.cpu_power is not None
    told = {name: snapshot.cpu_power.vulnerabilities.get(name, "") for name in _NAMES}
    slow = {name: text for name, text in told.items() if _slow(text)}
    if slow:
        title = "Use a newer kernel, or a CPU with enhanced IBRS"
        yield Finding(
            subject=", ".join(slow),
            severity=Severity.INFO,
            message="; ".join(f"{name}: {_first(text)}" for name, text in slow.items()),
            evidence={"vulnerabilities": slow},
            fixes=(Fix("newer-kernel", title, Risk.REBOOT),),
        )


def _first(text: str) -> str:
    """Return what is done about the flaw itself: the rest of the row tells of its relatives."""
    return text.removeprefix("Mitigation:").partition(";")[0].partition(",")[0].strip()


def _slow(text: str) -> bool:
    mitigated = text.startswith("Mitigation:")
    way = _first(text)
    return mitigated and (way.startswith("IBRS") or "retpoline" in way.lower())
