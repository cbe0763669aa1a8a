import re

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check
from dirtune.checks.log_devices import is_of_nic
from dirtune.checks.remedies import boot
from dirtune.collect import log_messages
from dirtune.collect.kernel_log import in_order
from dirtune.collect.log_messages import LogLine
from dirtune.settings import BootOption
from dirtune.snapshot import Snapshot

_FEWER = re.compile(
    r"no (?:free )?vectors available|not enough (?:MSI-?X )?vectors", re.IGNORECASE
)
_MSIX = re.compile(r"\bMSI-?X\b", re.IGNORECASE)
_CANNOT = re.compile(r"fail|unable|cannot|could not", re.IGNORECASE)
_LESS = re.compile(r"reduc|fail|fewer|not enough", re.IGNORECASE)
# arch/x86/kernel/irq.c, common_interrupt()
_STRAY = re.compile(
    r"(?:do_IRQ|_{0,2}common_interrupt): \d{1,5}\.\d{1,5} No irq handler for vector"
)
_STRAYS = 2  # one such message is normal when a CPU goes offline
_OPTIONS = ("intremap=off", "nox2apic", "iommu=off", "intel_iommu=off", "amd_iommu=off")


@check("irq/vector-exhaustion", severity=Severity.INFO, trust="C")
def vector_exhaustion(snapshot: Snapshot, kernel_log: tuple[LogLine, ...]) -> Verdicts:
    """Interrupt vectors ran out, so a NIC may have got fewer queues.

    ## What it does
    The check searches the kernel log for messages that a network driver did not get enough MSI-X
    vectors, and for two or more messages `No irq handler for vector`. A single message of the
    second kind is normal when a CPU goes offline. The finding is `info`, because the choice of
    messages is a rule of thumb.

    ## Why it matters
    A CPU has about 200 vectors for devices. A driver that does not get a vector for each queue
    uses fewer queues, and reports this only once.

    ## Remediation
    Enable interrupt remapping and x2APIC in the firmware. Remove `intremap=off` and `nox2apic`
    from the kernel command line. Or give the NICs fewer channels.

    ## Known problems
    Each driver has its own wording, so the check may miss a message. The ring buffer of the kernel
    log may have lost messages.

    ## References
    - Documentation/admin-guide/kernel-parameters.txt, `intremap=`, `nox2apic`
    """
    rows = [row.text for row in log_messages.VECTORS.lines(kernel_log)]
    cards = [text for text in rows if _fewer(text) and is_of_nic(snapshot, text)]
    strays = [text for text in rows if _STRAY.match(text)]
    if cards:
        yield _finding(snapshot, cards[0], len(cards))
    elif len(strays) >= _STRAYS:
        yield _finding(snapshot, strays[0], len(strays))


def _fewer(text: str) -> bool:
    found = in_order(text, _CANNOT, _MSIX) or in_order(text, _MSIX, _LESS)
    return found or _FEWER.search(text) is not None


def _finding(snapshot: Snapshot, text: str, times: int) -> Finding:
    options = [word for word in snapshot.cmdline or () if word in _OPTIONS]
    lines = snapshot.interrupts.numbered if snapshot.interrupts else ()
    remapped = any((line.chip or "").startswith("IR-") for line in lines) if lines else None
    drop = boot("drop-option", f"Boot without {' '.join(options)}", *map(BootOption, options))
    title = "Enable interrupt remapping and x2APIC in the firmware, or use fewer channels"
    return Finding(
        subject="vectors",
        severity=Severity.INFO,
        message=f"Interrupt vectors may have run out: the kernel log contains {times} "
        f"{'message' if times == 1 else 'messages'} like {text!r}",
        evidence={"message": text, "times": times, "options": options, "remapped": remapped},
        fixes=(*((drop,) if options else ()), Fix("more-vectors", title, Risk.REBOOT)),
    )
