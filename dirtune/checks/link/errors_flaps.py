import re
from collections.abc import Iterator

from dirtune.analyse import rates
from dirtune.analyse.words import counted
from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, one_sample
from dirtune.checks.counters import before
from dirtune.checks.link import cards, logged, rise
from dirtune.checks.together import listed
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

_ERRORS_PER_PACKET = 1e-6
_FLAPS_PER_DAY = 2.0
_DAY_S = 86_400
_SETTLING_S = 60
_SYSFS = ("rx_crc_errors", "rx_length_errors")
# The driver's own counters of cable faults, such as rx_symbol_err_phy and rx_crc_errors_phy.
_DRIVER = re.compile(
    r"(?=.*(?:err|wrong))(?=.*(?:crc|fcs|symbol|align|_phy))(?!.*(?:tx|corrected))"
)
_DOWN = re.compile(r"link (?:is )?down", re.IGNORECASE)
_UP = re.compile(r"link (?:is )?up|link becomes ready", re.IGNORECASE)
_WATCHDOG = "NETDEV WATCHDOG"


@check("link/errors-flaps", severity=Severity.HIGH, trust="B", needs=("interfaces",))
def errors_flaps(snapshot: Snapshot) -> Verdicts:
    """A link loses frames or goes down from time to time.

    ## What it does
    The check reports as `high` a physical interface that is up and meets one of four conditions.
    Its CRC, length or symbol errors rise between two samples by 1 per 1,000,000 received packets
    or more. Its carrier was lost and returned between the samples. Its carrier was lost twice a
    day or more since boot, if the boot is at least a day ago; without `carrier_changes`, the
    kernel log of the last day counts. A transmission timed out within the
    last day (`NETDEV WATCHDOG` in the kernel log). Errors in the first minute after the link came
    up do not count.

    ## Why it matters
    Each bad frame is a lost packet. Each loss of the carrier may cause a VRRP failover. A transmit
    timeout resets the NIC.

    ## Remediation
    Check the cable, the transceiver and the switch port. If transmissions time out, check the
    versions of driver and firmware.

    ## Known problems
    `carrier_changes` also rises if an administrator sets the interface down and up. Without the
    kernel log, the check does not know about timeouts, nor when a link came up.

    ## References
    - Documentation/ABI/testing/sysfs-class-net, `carrier_changes`
    - net/sched/sch_generic.c, `dev_watchdog()`
    """
    for interface in cards(snapshot):
        evidence = dict(_seen(snapshot, interface))
        if evidence:
            yield _finding(interface, evidence)
    if snapshot.earlier is None:
        yield one_sample()


def _seen(snapshot: Snapshot, interface: Interface) -> Iterator[tuple[str, object]]:
    """Yield the name and the evidence of each fault of a link."""
    packets, errors = rise(snapshot, interface, "rx_packets"), _errors(snapshot, interface)
    if errors and packets is not None and not _fresh(snapshot, interface):
        worst, count = max(errors.items(), key=lambda item: item[1])
        if count >= _ERRORS_PER_PACKET * packets:
            yield "errors", {worst: count}
            yield "rx_packets", packets
    flaps = _flaps(snapshot, interface)
    if flaps:
        yield "flaps", flaps
    per_day = _flaps_per_day(snapshot, interface)
    if per_day is not None and per_day >= _FLAPS_PER_DAY:
        yield "flaps_per_day", round(per_day, 1)
    timeouts = [
        text
        for age, text in logged(snapshot, interface)
        if _WATCHDOG in text and age is not None and age <= _DAY_S
    ]
    if timeouts:
        yield "transmit_timeouts", len(timeouts)


def _errors(snapshot: Snapshot, interface: Interface) -> dict[str, int]:
    """Return how much each error counter rose; several counters may count the same error."""
    counters = {name: rise(snapshot, interface, name) or 0 for name in _SYSFS}
    own = (snapshot.ethtool or {}).get(interface.name)
    before = ((snapshot.earlier and snapshot.earlier.ethtool) or {}).get(interface.name)
    then = (before.statistics if before else None) or {}
    for name, value in ((own.statistics if own else None) or {}).items():
        if _DRIVER.match(name.lower()):
            counters[name] = rates.increase(then.get(name), value) or 0
    return {name: count for name, count in counters.items() if count}


def _fresh(snapshot: Snapshot, interface: Interface) -> bool:
    """Whether the kernel log shows that the link came up within the last minute."""
    if snapshot.taken_s is not None and snapshot.taken_s < _SETTLING_S:
        return True
    ups = (age for age, text in logged(snapshot, interface) if _UP.search(text))
    return any(age is not None and age < _SETTLING_S for age in ups)


def _flaps(snapshot: Snapshot, interface: Interface) -> int | None:
    """Return how often the link went down and up between the samples; None if unknown."""
    then = before(snapshot, interface.name)
    if then is None or then.carrier_changes is None or interface.carrier_changes is None:
        return None
    return (rates.increase(then.carrier_changes, interface.carrier_changes) or 0) // 2


def _flaps_per_day(snapshot: Snapshot, interface: Interface) -> float | None:
    if interface.carrier_changes is None:
        return _logged_flaps(snapshot, interface)
    if (snapshot.taken_s or 0) < _DAY_S:
        return None
    # The first two changes are normal: down when the driver starts, then up.
    flaps = max(0, interface.carrier_changes - 2) // 2
    return flaps * _DAY_S / (snapshot.taken_s or 0)


def _logged_flaps(snapshot: Snapshot, interface: Interface) -> float | None:
    """Return how often the kernel log of the last day says that the link went down."""
    ages = (age for age, text in logged(snapshot, interface) if _DOWN.search(text))
    return float(sum(age is not None and age <= _DAY_S for age in ages)) or None


def _finding(interface: Interface, evidence: dict[str, object]) -> Finding:
    faults = []
    errors = evidence.get("errors")
    if isinstance(errors, dict):
        ((name, count),) = errors.items()
        faults.append(f"{name} rose by {count:,} in {evidence['rx_packets']:,} packets")
    if "flaps" in evidence:
        faults.append(f"the carrier was lost {evidence['flaps']} times between the samples")
    if "flaps_per_day" in evidence:
        since = "since boot" if interface.carrier_changes is not None else "in the kernel log"
        faults.append(f"the carrier was lost {evidence['flaps_per_day']} times a day {since}")
    times = evidence.get("transmit_timeouts")
    if isinstance(times, int):
        faults.append(f"transmission timed out {counted(times, 'time')} in the last day")
    return Finding(
        subject=interface.name,
        severity=Severity.HIGH,
        message=f"The link of {interface.name} is faulty: {listed(faults)}",
        evidence={"carrier_changes": interface.carrier_changes} | evidence,
        fixes=(
            Fix(
                "repair-link",
                (
                    "Check the cable, the transceiver and the switch port, then the driver and "
                    "the firmware"
                ),
                Risk.DISRUPTIVE,
            ),
        ),
    )
