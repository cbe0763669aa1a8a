from dirtune.analyse.lines import Sharer, pic, why_not_unbind
from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Severity,
    Verdicts,
    check,
    inconclusive,
    not_applicable,
)
from dirtune.checks.irq import paravirtual
from dirtune.checks.irq.legacy_lines import (
    NicLine,
    cut_off,
    is_s390,
    no_msi,
    pic_options,
    shared_nic_lines,
    unknown_lines,
)
from dirtune.checks.irq.xtpic_mode import drop_noapic
from dirtune.checks.together import listed
from dirtune.collect.interrupts import Interrupts
from dirtune.settings import written
from dirtune.snapshot import Snapshot

_BUSY_PER_SECOND = 1000
_WASTE_PERCENT = 0.5  # of one CPU; an estimate, not calibrated
_US_PER_HANDLER = (
    1.0  # one uncached read of a device register, to find that another device interrupted
)
_QUIET_KINDS = {"USB", "SMBus"}


@check("irq/shared-with-nic", severity=Severity.HIGH, trust="A")
def shared_with_nic(snapshot: Snapshot, interrupts: Interrupts) -> Verdicts:
    """A NIC shares its interrupt line with another device.

    ## What it does
    The check reports every line of /proc/interrupts that signals a NIC's packets and also has a
    handler of another device. The finding is `high` if the line takes 1,000 interrupts/s or more,
    if its rate is unknown, or if the probe measured needless calls that take 0.5 % of a CPU or
    more. On a quieter line it is `medium`, or `low` if the only partners are an SMBus or a USB
    controller with nothing plugged in. Not reported are message-signalled interrupts, several
    handlers of one device, a NIC's vector for link events, and IBM Z.

    ## Why it matters
    For every interrupt, the kernel calls every handler on the line. Each handler must read a
    register of its own device to find out whether that device interrupted, and the CPU waits for
    such a read. At low load a director takes one interrupt per packet, so each packet also pays
    for the other driver's handler. `/proc/irq/N/spurious` stays 0, and most tools show nothing.

    ## Remediation
    Try these steps in this order. Let the NIC use MSI or MSI-X. Remove a boot option that turns
    the IO-APIC or MSI off, and reboot. Unbind a partner that nothing uses (`echo ADDRESS >
    /sys/bus/pci/drivers/DRIVER/unbind`; to undo this, write the address to `bind`). Put the NIC
    into a slot with another interrupt pin, or disable the partner in the firmware. In a guest,
    replace an emulated NIC with virtio or vmxnet3. Never unbind a controller with a mounted file
    system, swap space or a console keyboard.

    ## Known problems
    For a device that uses MSI-X, the file `irq` in sysfs still has the INTx number, so this file
    alone proves nothing. A recorded /proc/interrupts alone does not show whether `virtio1` is a
    NIC.

    ## References
    - kernel/irq/handle.c, `__handle_irq_event_percpu()`
    - Documentation/PCI/msi-howto.rst
    """
    if is_s390(interrupts):
        yield not_applicable(
            "this host is an IBM Z, whose adapters have no interrupt lines to share"
        )
        return
    for shared in shared_nic_lines(snapshot):
        yield Finding(
            subject=shared.subject,
            severity=_severity(shared),
            message=_message(shared),
            evidence=shared.evidence | _cost(shared),
            fixes=_fixes(snapshot, shared),
            cause=_cause(snapshot, shared),
        )
    for line in unknown_lines(snapshot):
        actions = listed(line.actions)
        yield inconclusive(
            f"irq {line.irq} is shared by {actions}, which may or may not include a NIC"
        )
    yield from cut_off(snapshot)


def _severity(shared: NicLine) -> Severity:
    wasteful = shared.waste is not None and shared.waste.cpu_percent >= _WASTE_PERCENT
    if shared.rate is None or shared.rate >= _BUSY_PER_SECOND or wasteful:
        return Severity.HIGH
    idle = (p.kind in _QUIET_KINDS and p.device and not p.device.usb for p in shared.partners)
    return Severity.LOW if all(idle) else Severity.MEDIUM


def _message(shared: NicLine) -> str:
    card = shared.cards[0].action
    partners = listed(dict.fromkeys(_named(partner) for partner in shared.partners))
    return f"{card} shares {shared.subject} with {partners}{_price(shared)}"


def _named(partner: Sharer) -> str:
    return partner.action if partner.kind == "other" else f"{partner.action} ({partner.kind})"


def _price(shared: NicLine) -> str:
    waste = shared.waste
    if waste is not None and waste.ns_per_call is not None:
        return (
            f"; the handlers of the other devices ran {waste.none:,} times for nothing, "
            f"{waste.ns_per_call / 1000:.1f} us each, which is {waste.cpu_percent:.2f} % of a CPU"
        )
    if shared.rate is None:
        return "; the interrupt rate of the line is unknown"
    percent = shared.rate * len(shared.partners) * _US_PER_HANDLER / 1e4
    return (
        f"; at {shared.rate:.0f} interrupts/s the needless calls cost about {percent:.2f} % of a "
        "CPU, assuming 1 us per call"
    )


def _cost(shared: NicLine) -> dict[str, object]:
    waste = shared.waste
    if waste is None:
        return {}
    return {
        "handlers": list(waste.handlers),
        "calls": waste.calls,
        "irq_none": waste.none,
        "irq_none_ns": waste.none_ns,
        "wasted_cpu_percent": round(waste.cpu_percent, 3),
    }


def _cause(snapshot: Snapshot, shared: NicLine) -> str | None:
    if pic(shared.line):
        return "irq/xtpic-mode"
    card = shared.cards[0].device
    return "irq/msi-off" if card and card.pcie and no_msi(snapshot.cmdline or ()) else None


def _fixes(snapshot: Snapshot, shared: NicLine) -> tuple[Fix, ...]:
    unbind = tuple(
        written(f"/sys/bus/pci/drivers/{p.device.driver}/unbind", p.device.address)
        for p in shared.partners
        if p.device
        and not why_not_unbind(p, shared.line, snapshot.pci or (), snapshot.mounts, snapshot.swaps)
    )
    idle = Fix(
        "unbind-partners",
        "Unbind the unused devices on the line",
        Risk.DISRUPTIVE,
        unbind,
    )
    move = Fix("move-card", "Move the NIC to a slot with another interrupt pin", Risk.REBOOT)
    options = pic_options(snapshot.cmdline or ())
    boot = drop_noapic(options) if options else None
    unknown = snapshot.pci is None
    drivers = {card.device.driver for card in shared.cards if card.device}
    virtual = (fix for driver in drivers for fix in paravirtual(snapshot, driver))
    return tuple(fix for fix in (boot, idle if unbind or unknown else None, *virtual, move) if fix)
