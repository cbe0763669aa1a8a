from collections.abc import Mapping
from dataclasses import dataclass

from dirtune.checks import Finding, Fix, Severity, Verdicts, check, inconclusive
from dirtune.checks.irq import nic_vectors, receiving
from dirtune.checks.nic import card, for_latency, ports, received
from dirtune.checks.remedies import commands
from dirtune.collect.net import Interface
from dirtune.settings import COALESCE, CardValues, KernelFile
from dirtune.snapshot import Snapshot

_LEAST_PPS = 50_000
_PACKETS_PER_INTERRUPT = 2.0
_OFF_US = 1
_HIGH_PER_SECOND = 50_000  # interrupts of one queue; an estimate, not calibrated
_FORWARDING_US = 125  # about 8,000 interrupts/s and queue
_DEFER, _FLUSH_NS = 2, 20_000
# Intel's drivers for which rx-usecs 1, 3 and 4 are not microseconds but adaptive modes.
_MODES = (1, 3, 4)
_WITH_MODES = frozenset({"e1000", "e1000e", "igb", "igbvf", "igc", "ixgbe", "ixgbevf"})


@dataclass(frozen=True, slots=True)
class _Load:
    """What a card did between the samples."""

    pps: float
    per_interrupt: float | None
    """Packets received for each interrupt; None where its interrupts are not known apart."""
    busiest: float | None
    """Interrupts/s of the vector that took most."""


@check(
    "nic/coalescing-off",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("interfaces", "ethtool"),
    traffic=True,
)
def coalescing_off(snapshot: Snapshot) -> Verdicts:
    """A card raises an interrupt for nearly every packet.

    ## What it does
    Reports a card that receives 50,000 packets/s or more without adaptive coalescing, and whose
    `rx-usecs` is 0 or 1 and that does not wait for several frames either, or that has fewer than 2
    packets for each interrupt: `high` where one vector takes 50,000 interrupts/s or more, `medium`
    otherwise, `low` where interrupts come for 2 packets or more in spite of the setting, because
    the CPU is polling. virtio (the host decides), drivers that do not say what their `rx-usecs`
    is, Intel's values 1, 3 and 4 that are adaptive modes, and hosts with a tuned profile for
    latency are left alone.

    ## Why it matters
    Each packet pays for an interrupt and a softirq, and GRO has nothing to merge.

    ## Remediation
    Let the driver adapt (`ethtool -C IF adaptive-rx on`), or for forwarding set a fixed value:
    125 us is about 8,000 interrupts/s for each queue. Without help of the card
    `napi_defer_hard_irqs` and `gro_flush_timeout` do the like in the kernel. A packet waits for as
    long as the value says at most. Keep it with a udev rule.

    ## Known problems
    Where a vector serves both directions, interrupts for sent packets count as well. The kernel's
    older interface tells 0 for what a driver does not support.

    ## References
    - Documentation/networking/device_drivers/ethernet/intel/i40e.rst, on forwarding
    - Documentation/networking/napi.rst, "IRQ mitigation"
    """
    if for_latency(snapshot):
        return
    for port in ports(snapshot):
        load = _load(snapshot, port)
        if port.driver == "virtio_net":
            continue
        if load is None:
            yield inconclusive(f"{port.name}: its packets were not counted in both samples")
        elif load.pps >= _LEAST_PPS:
            yield from _judged(snapshot, port, load)


def _load(snapshot: Snapshot, port: Interface) -> _Load | None:
    packets = received(snapshot, port)
    if packets is None or not snapshot.seconds:
        return None
    pps = packets / snapshot.seconds
    vectors = receiving(v for v in nic_vectors(snapshot) if v.interface == port.name)
    each = [v.rate for v in vectors if v.rate is not None]
    if not each or len(each) != len(vectors) or any(v.line.shared for v in vectors):
        return _Load(pps, None, None)
    return _Load(pps, pps / sum(each) if sum(each) else None, max(each))


def _judged(snapshot: Snapshot, port: Interface, load: _Load) -> Verdicts:
    settings = card(snapshot, port.name).coalesce
    if settings is None:
        yield inconclusive(f"{port.name}: how it coalesces interrupts is not known")
        return
    few = load.per_interrupt is not None and load.per_interrupt < _PACKETS_PER_INTERRUPT
    if "rx_coalesce_usecs" not in settings or _adapts(port, settings):
        return
    if few or _off(settings):
        yield _finding(snapshot, port, load, settings)
    elif load.per_interrupt is None:
        yield inconclusive(f"{port.name}: its interrupts are not known apart from others'")


def _adapts(port: Interface, settings: Mapping[str, int]) -> bool:
    moded = port.driver in _WITH_MODES and settings["rx_coalesce_usecs"] in _MODES
    return moded or bool(settings.get("use_adaptive_rx_coalesce"))


def _off(settings: Mapping[str, int]) -> bool:
    frames = settings.get("rx_max_coalesced_frames", 0)
    return settings["rx_coalesce_usecs"] <= _OFF_US and frames <= 1


def _finding(
    snapshot: Snapshot, port: Interface, load: _Load, settings: Mapping[str, int]
) -> Finding:
    ratio = load.per_interrupt
    each = "" if ratio is None else f", {ratio:.1f} packets for each interrupt"
    return Finding(
        subject=port.name,
        severity=_severity(load),
        message=f"rx-usecs is {settings['rx_coalesce_usecs']} and adaptive coalescing off, "
        f"at {load.pps:,.0f} packets/s{each}",
        evidence={
            "rx_usecs": settings["rx_coalesce_usecs"],
            "rx_frames": settings.get("rx_max_coalesced_frames"),
            "rx_packets_per_second": round(load.pps, 1),
            "packets_per_interrupt": None if ratio is None else round(ratio, 2),
            "busiest_vector_per_second": None if load.busiest is None else round(load.busiest, 1),
        },
        fixes=_fixes(snapshot, port.name),
    )


def _severity(load: _Load) -> Severity:
    if (load.busiest or 0.0) >= _HIGH_PER_SECOND:
        return Severity.HIGH
    polled = load.per_interrupt is not None and load.per_interrupt >= _PACKETS_PER_INTERRUPT
    return Severity.LOW if polled else Severity.MEDIUM


def _fixes(snapshot: Snapshot, name: str) -> tuple[Fix, ...]:
    times = dict.fromkeys(("rx_coalesce_usecs", "tx_coalesce_usecs"), _FORWARDING_US)
    adaptive = CardValues(name, COALESCE, {"use_adaptive_rx_coalesce": 1})
    fixed = CardValues(name, COALESCE, {"use_adaptive_rx_coalesce": 0, **times})
    deferred = (
        KernelFile(f"/sys/class/net/{name}/napi_defer_hard_irqs", str(_DEFER)),
        KernelFile(f"/sys/class/net/{name}/gro_flush_timeout", str(_FLUSH_NS)),
    )
    ways = (
        ("adaptive-coalescing", "Let the driver adapt", (adaptive,)),
        ("fixed-coalescing", "Or set a value for forwarding", (fixed,)),
        ("defer-interrupts", "Or have the kernel poll on, if the card cannot", deferred),
    )
    return tuple(commands(snapshot, name, title, rows) for name, title, rows in ways)
