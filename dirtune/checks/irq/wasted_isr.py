import msgspec

from dirtune.analyse.forecast import Waste
from dirtune.analyse.handlers import HandlerWindow
from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive
from dirtune.checks.irq.legacy_lines import foreseen, shared_nic_lines
from dirtune.checks.together import listed
from dirtune.snapshot import Snapshot

# Estimates, not calibrated: shares of one CPU, and of the line's own handler time.
_CRITICAL_PERCENT = 5.0
_HIGH_PERCENT = 0.5
_HIGH_SHARE = 0.10
_ENOUGH_CALLS = 1000


@check("irq/wasted-isr", severity=Severity.HIGH, trust="A", needs=("interrupts",))
def wasted_isr(snapshot: Snapshot, handlers: HandlerWindow) -> Verdicts:
    """Handlers of other devices run for nothing on a NIC's interrupt line.

    ## What it does
    With `--probe`, the check adds up the time of handler calls that returned IRQ_NONE, on lines
    that a NIC shares. The finding is `critical` if this time is 5 % of a CPU or more. It is `high`
    if it is 0.5 % of a CPU or more, or a tenth of the line's handler time or more. Otherwise it is
    `info`. The check does not judge lines with one handler, lines with fewer than 1,000 calls, and
    threaded handlers, which never return IRQ_NONE. If there are new connections, the finding also
    forecasts how much CPU time per connection a separate line should save. The forecast uses the
    load just before the measurement.

    ## Why it matters
    The finding says how much CPU time the shared line costs: the time spent asking devices that
    did not interrupt. `irq/shared-with-nic` can only estimate this cost.

    ## Remediation
    Give the NIC its own line as `irq/shared-with-nic` describes, and measure again afterwards.

    ## Known problems
    The tool `hardirqs` of bcc ignores calls that return IRQ_NONE, so it does not show this cost.
    While the probe runs, it costs 1 or 2 % of the CPU that takes a line with 100,000 interrupts/s.

    ## References
    - include/trace/events/irq.h, `irq_handler_exit`
    """
    for shared in shared_nic_lines(snapshot):
        waste = shared.waste
        if waste is None or waste.calls < _ENOUGH_CALLS:
            calls = waste.calls if waste else 0
            yield inconclusive(
                f"the handlers of {shared.subject} were called only {calls} times, and this check "
                f"needs {_ENOUGH_CALLS:,} calls"
            )
        elif not waste.none and _threaded(handlers, waste):
            yield inconclusive(
                f"the handlers of {shared.subject} run in threads, so the kernel "
                "wakes a thread for every interrupt and never sees IRQ_NONE"
            )
        elif waste.none:
            yield Finding(
                subject=shared.subject,
                severity=_severity(waste),
                message=_message(waste, handlers.seconds) + _hope(snapshot, waste),
                evidence=_evidence(snapshot, handlers, waste),
                cause="irq/shared-with-nic",
            )


def _threaded(handlers: HandlerWindow, waste: Waste) -> bool:
    on_line = (h for h in handlers.handlers if h.irq == waste.irq)
    return any(handler.wake_thread for handler in on_line)


def _severity(waste: Waste) -> Severity:
    if waste.cpu_percent >= _CRITICAL_PERCENT:
        return Severity.CRITICAL
    share = waste.share_of_line or 0.0
    high = waste.cpu_percent >= _HIGH_PERCENT or share >= _HIGH_SHARE
    return Severity.HIGH if high else Severity.INFO


def _message(waste: Waste, seconds: float) -> str:
    us_per_call = (waste.ns_per_call or 0.0) / 1000
    of_line = 100 * (waste.share_of_line or 0.0)
    return (
        f"{listed(waste.handlers)} ran {waste.none:,} times for nothing on irq {waste.irq} in "
        f"{seconds:.0f} s, {us_per_call:.1f} us each, which is {of_line:.0f} % of the line's "
        f"handler time and {waste.cpu_percent:.2f} % of a CPU"
    )


def _hope(snapshot: Snapshot, waste: Waste) -> str:
    found = foreseen(snapshot, waste)
    if found is None or found.ratio is None or found.interval is None:
        return ""
    low, high = (100 * (1 - bound) for bound in reversed(found.interval))
    saved = 100 * (1 - found.ratio)
    return (
        f"; an interrupt line of its own for the NIC should save {saved:.1f} % ({low:.1f} to "
        f"{high:.1f} %) of the CPU time per connection"
    )


def _evidence(snapshot: Snapshot, handlers: HandlerWindow, waste: Waste) -> dict[str, object]:
    return {
        "irq": str(waste.irq),
        "seconds": handlers.seconds,
        "interrupts": waste.interrupts,
        "handlers": [
            {
                "handler": h.handler,
                "calls": h.calls,
                "irq_none": h.none,
                "us_per_call": round(h.total_ns / h.calls / 1000, 2) if h.calls else None,
            }
            for h in handlers.handlers
            if h.irq == waste.irq
        ],
        "wasted_cpu_percent": round(waste.cpu_percent, 3),
        "forecast": msgspec.to_builtins(foreseen(snapshot, waste)),
    }
