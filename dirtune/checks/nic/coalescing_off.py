from collections.abc import Mapping
from dataclasses import dataclass

from dirtune.checks import Finding, Fix, Severity, Verdicts, check, inconclusive
from dirtune.checks.counters import card
from dirtune.checks.irq import receiving, vectors_of
from dirtune.checks.nic import for_latency, ports, received
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
# Intel's drivers for which rx-usecs 1, 3 and 4 are adaptive modes, not microseconds.
_MODES = (1, 3, 4)
_WITH_MODES = frozenset({"e1000", "e1000e", "igb", "igbvf", "igc", "ixgbe", "ixgbevf"})


@dataclass(frozen=True, slots=True)
class _Load:
    """The packet and interrupt rates of a NIC between the samples."""

    pps: float
    per_interrupt: float | None
    """Packets received per interrupt; None if the line also serves other devices."""
    busiest: float | None
    """Interrupts/s of the busiest vector."""


@check(
    "nic/coalescing-off",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("interfaces", "ethtool"),
    traffic=True,
)
def coalescing_off(snapshot: Snapshot) -> Verdicts:
    """A NIC raises an interrupt for nearly every packet.

    ## What it does
    The check examines NICs that receive 50,000 packets/s or more without adaptive coalescing. It
    reports a NIC that receives fewer than 2 packets per interrupt, or whose `rx-usecs` is 0 or 1
    while `rx-frames` does not wait for several frames. The finding is `high` if one vector takes
    50,000 interrupts/s or more. It is `low` if the NIC receives 2 packets per interrupt or more in
    spite of the setting, because the CPU is polling. Otherwise it is `medium`. The check does not
    report virtio, because the hypervisor decides, and drivers that do not show `rx-usecs`. With
    Intel drivers it does not report the values 1, 3 and 4, which mean adaptive modes. It does not
    report hosts with a tuned profile for low latency.

    ## Why it matters
    Each packet costs an interrupt and a softirq, and GRO has nothing to merge.

    ## Remediation
    Let the driver adapt (`ethtool -C IF adaptive-rx on`), or set a fixed value: 125 us allows
    about 8,000 interrupts/s per queue, which suits forwarding. If the NIC cannot coalesce, set
    `napi_defer_hard_irqs` and `gro_flush_timeout`, so that the kernel defers interrupts. A packet
    waits no longer than the configured time. Keep the setting with a udev rule.

    ## Known problems
    If a vector serves both directions, interrupts for sent packets count as well. The older
    ethtool interface of the kernel reports 0 for values that the driver does not support.

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
            yield inconclusive(f"the packets of {port.name} were not counted in both samples")
        elif load.pps >= _LEAST_PPS:
            yield from _judged(snapshot, port, load)


def _load(snapshot: Snapshot, port: Interface) -> _Load | None:
    packets = received(snapshot, port)
    if packets is None or not snapshot.seconds:
        return None
    pps = packets / snapshot.seconds
    vectors = receiving(vectors_of(snapshot, port.name))
    rates = [v.rate for v in vectors if v.rate is not None]
    if not rates or len(rates) != len(vectors) or any(v.line.shared for v in vectors):
        return _Load(pps, None, None)
    return _Load(pps, pps / sum(rates) if sum(rates) else None, max(rates))


def _judged(snapshot: Snapshot, port: Interface, load: _Load) -> Verdicts:
    settings = card(snapshot, port.name).coalesce
    if settings is None:
        yield inconclusive(f"the coalescing settings of {port.name} are unknown")
        return
    few = load.per_interrupt is not None and load.per_interrupt < _PACKETS_PER_INTERRUPT
    if "rx_coalesce_usecs" not in settings or _adapts(port, settings):
        return
    if few or _off(settings):
        yield _finding(snapshot, port, load, settings)
    elif load.per_interrupt is None:
        yield inconclusive(
            f"{port.name} shares its interrupts with other devices, so its interrupt rate is "
            "unknown"
        )


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
    packets = "" if ratio is None else f", {ratio:.1f} packets per interrupt,"
    return Finding(
        subject=port.name,
        severity=_severity(load),
        message=f"{port.name} receives {load.pps:,.0f} packets/s{packets} with rx-usecs = "
        f"{settings['rx_coalesce_usecs']} and adaptive coalescing off",
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
        ("adaptive-coalescing", "Let the driver adapt its coalescing to the load", (adaptive,)),
        ("fixed-coalescing", "Set a fixed coalescing time for forwarding", (fixed,)),
        (
            "defer-interrupts",
            "Let the kernel defer interrupts, if the NIC cannot coalesce them",
            deferred,
        ),
    )
    return tuple(commands(snapshot, name, title, rows) for name, title, rows in ways)
