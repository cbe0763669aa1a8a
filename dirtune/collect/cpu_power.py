"""/sys/devices/system/cpu: clock frequency, idle states, throttling and the clock source.

Files: drivers/cpufreq, drivers/cpuidle/sysfs.c, arch/x86/kernel/cpu/mce/therm_throt.c,
kernel/time/clocksource.c. A guest has no cpufreq and often no cpuidle driver (`none`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host

_CPU = "/sys/devices/system/cpu"
_CLOCK = "/sys/devices/system/clocksource/clocksource0"
_PER_CPU = (
    "cpufreq/scaling_governor",
    "cpufreq/scaling_driver",
    "cpufreq/energy_performance_preference",
    "thermal_throttle/core_throttle_count",
    "thermal_throttle/package_throttle_count",
)
_STATE = ("name", "latency", "disable", "time")
SOURCES = (
    *(f"{_CPU}/cpu[0-9]*/{name}" for name in _PER_CPU),
    *(f"{_CPU}/cpu[0-9]*/cpuidle/state[0-9]*/{name}" for name in _STATE),
    f"{_CPU}/cpuidle/current_driver",
    f"{_CPU}/vulnerabilities/*",
    f"{_CLOCK}/current_clocksource",
    f"{_CLOCK}/available_clocksource",
)


@dataclass(frozen=True, slots=True)
class IdleState:
    """One idle state of one CPU."""

    name: str
    latency_us: int
    """Time to leave it."""
    disabled: bool
    time_us: int
    """Time spent in it since boot."""


@dataclass(frozen=True, slots=True)
class CpuPower:
    """What slows a host's CPUs down; a CPU is absent where the host does not say."""

    governors: Mapping[int, str]
    driver: str | None
    """cpufreq driver (`intel_pstate`), None without cpufreq."""
    preferences: Mapping[int, str]
    """Energy-performance preference, by CPU."""
    idle_driver: str | None
    """`intel_idle`; `none` where there is none."""
    idle: Mapping[int, tuple[IdleState, ...]]
    throttled: Mapping[int, int]
    """Times a core or its package was slowed for heat or power, by CPU."""
    clocksource: str | None
    clocksources: tuple[str, ...]
    """Those that may be chosen."""
    vulnerabilities: Mapping[str, str]
    """What the kernel does about each, by name (`spectre_v2`)."""


def read_cpu_power(host: Host) -> CpuPower:
    """Read it all; `SourceMissing` if the record has none of it."""
    if not any(host.glob(pattern) for pattern in SOURCES):
        raise SourceMissing(f"{_CPU}: nothing about power on this host")
    drivers = _per_cpu(host, "cpufreq/scaling_driver").values()
    throttled: dict[int, int] = {}
    for name in ("core", "package"):
        for cpu, text in _per_cpu(host, f"thermal_throttle/{name}_throttle_count").items():
            throttled[cpu] = throttled.get(cpu, 0) + int(text)
    return CpuPower(
        _per_cpu(host, "cpufreq/scaling_governor"),
        next(iter(drivers), None),
        _per_cpu(host, "cpufreq/energy_performance_preference"),
        _text(host, f"{_CPU}/cpuidle/current_driver"),
        _idle(host),
        throttled,
        _text(host, f"{_CLOCK}/current_clocksource"),
        tuple((_text(host, f"{_CLOCK}/available_clocksource") or "").split()),
        {
            path.rsplit("/", 1)[1]: _text(host, path) or ""
            for path in host.glob(f"{_CPU}/vulnerabilities/*")
        },
    )


def _per_cpu(host: Host, name: str) -> dict[int, str]:
    found = ((p, _text(host, p)) for p in host.glob(f"{_CPU}/cpu[0-9]*/{name}"))
    return {_number(path): text for path, text in found if text}


def _idle(host: Host) -> Mapping[int, tuple[IdleState, ...]]:
    states: dict[int, tuple[IdleState, ...]] = {}
    for path in host.glob(f"{_CPU}/cpu[0-9]*/cpuidle/state[0-9]*/name"):
        name, latency, disable, time = (
            _text(host, f"{path.rpartition('/')[0]}/{each}") for each in _STATE
        )
        cpu = _number(path)
        state = IdleState(
            name or "", int(latency or 0), disable not in (None, "0"), int(time or 0)
        )
        states[cpu] = (*states.get(cpu, ()), state)
    return states


def _number(path: str) -> int:
    return int(path.split("/")[5].removeprefix("cpu"))


def _text(host: Host, path: str) -> str | None:
    try:
        return host.read(path).strip()
    except (SourceMissing, SourceRefused):
        return None
