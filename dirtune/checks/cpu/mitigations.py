from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check
from dirtune.checks.together import listed, subjects
from dirtune.collect.cpu_power import CpuPower
from dirtune.snapshot import Snapshot

_NAMES = ("spectre_v2", "retbleed")


@check(
    "cpu/mitigations",
    severity=Severity.INFO,
    trust="B",
    roles=(Role.DIRECTOR,),
)
def mitigations(_: Snapshot, cpu_power: CpuPower) -> Verdicts:
    """Mitigations of CPU flaws slow down the indirect calls that forwarding needs.

    ## What it does
    The check reports a director if /sys/devices/system/cpu/vulnerabilities says that the kernel
    uses retpolines, or IBRS other than enhanced IBRS. The finding is `info`: it explains a lower
    capacity, and asks for no change.

    ## Why it matters
    The kernel makes several indirect calls for each packet: to find the connection, to schedule,
    to transmit, and in each netfilter hook. With retpolines, the CPU cannot predict these calls.

    ## Remediation
    Use a newer kernel, which calls the usual functions directly, or a CPU with enhanced IBRS,
    which needs no retpolines. The boot option `mitigations=off` removes the protection: never use
    it on a director that others can reach.

    ## Known problems
    The kernel does not show whether it already calls the usual functions directly.

    ## References
    - Documentation/admin-guide/hw-vuln/spectre.rst
    - Documentation/admin-guide/kernel-parameters.txt, `mitigations=`
    """
    texts = {name: cpu_power.vulnerabilities.get(name, "") for name in _NAMES}
    slow = {name: text for name, text in texts.items() if _slow(text)}
    if slow:
        title = "Use a newer kernel, or a CPU with enhanced IBRS"
        yield Finding(
            subject=subjects(slow),
            severity=Severity.INFO,
            message="The kernel mitigates "
            + listed(f"{name} with {_first(text)}" for name, text in slow.items())
            + ", which slows indirect calls",
            evidence={"vulnerabilities": slow},
            fixes=(Fix("newer-kernel", title, Risk.REBOOT),),
        )


def _first(text: str) -> str:
    """Return the first mitigation in *text*; the mitigations of related flaws follow it."""
    return text.removeprefix("Mitigation:").partition(";")[0].partition(",")[0].strip()


def _slow(text: str) -> bool:
    mitigated = text.startswith("Mitigation:")
    way = _first(text)
    return mitigated and (way.startswith("IBRS") or "retpoline" in way.lower())
