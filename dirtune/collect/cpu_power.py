"""/sys/devices/system/cpu: clock frequency, idle states, throttling and the clock source.

Files: drivers/cpufreq, drivers/cpuidle/sysfs.c, arch/x86/kernel/cpu/mce/therm_throt.c,
kernel/time/clocksource.c. A guest has no cpufreq and often no cpuidle driver (`none`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dirtune.collect.files import number_in, text_in
from dirtune.errors import SourceMissing
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
    """Time that the CPU needs to leave the state."""
    disabled: bool
    time_us: int
    """Time that the CPU spent in the state since boot."""


@dataclass(frozen=True, slots=True)
class CpuPower:
    """Settings and events that slow CPUs down; a CPU is absent if the host has no value for it."""

    governors: Mapping[int, str]
    driver: str | None
    """cpufreq driver (`intel_pstate`); None without cpufreq."""
    preferences: Mapping[int, str]
    """Energy-performance preference, by CPU."""
    idle_driver: str | None
    """cpuidle driver (`intel_idle`); `none` if no driver is active."""
    idle: Mapping[int, tuple[IdleState, ...]]
    throttled: Mapping[int, int]
    """How often heat or power throttled the core or its package, by CPU."""
    clocksource: str | None
    clocksources: tuple[str, ...]
    """Clock sources that can be selected."""
    vulnerabilities: Mapping[str, str]
    """The kernel's mitigation of each CPU vulnerability, by name (`spectre_v2`)."""


def read_cpu_power(host: Host) -> CpuPower:
    """Read the power settings of the CPUs. Raises `SourceMissing` if the record has none."""
    if not any(host.glob(pattern) for pattern in SOURCES):
        raise SourceMissing(f"{_CPU} has no file about power management on this host")
    drivers = _per_cpu(host, "cpufreq/scaling_driver").values()
    return CpuPower(
        _per_cpu(host, "cpufreq/scaling_governor"),
        next(iter(drivers), None),
        _per_cpu(host, "cpufreq/energy_performance_preference"),
        text_in(host, f"{_CPU}/cpuidle/current_driver"),
        _idle(host),
        _throttled(host),
        text_in(host, f"{_CLOCK}/current_clocksource"),
        tuple((text_in(host, f"{_CLOCK}/available_clocksource") or "").split()),
        {
            path.rsplit("/", 1)[1]: text_in(host, path) or ""
            for path in host.glob(f"{_CPU}/vulnerabilities/*")
        },
    )


def _per_cpu(host: Host, name: str) -> dict[int, str]:
    found = ((p, text_in(host, p)) for p in host.glob(f"{_CPU}/cpu[0-9]*/{name}"))
    return {_number(path): text for path, text in found if text}


def _throttled(host: Host) -> Mapping[int, int]:
    found: dict[int, int] = {}
    for path in host.glob(f"{_CPU}/cpu[0-9]*/thermal_throttle/*_throttle_count"):
        found[_number(path)] = found.get(_number(path), 0) + (number_in(host, path) or 0)
    return found


def _idle(host: Host) -> Mapping[int, tuple[IdleState, ...]]:
    states: dict[int, tuple[IdleState, ...]] = {}
    for path in host.glob(f"{_CPU}/cpu[0-9]*/cpuidle/state[0-9]*/name"):
        at = path.rpartition("/")[0]
        cpu = _number(path)
        state = IdleState(
            name=text_in(host, path) or "",
            latency_us=number_in(host, f"{at}/latency") or 0,
            disabled=text_in(host, f"{at}/disable") not in {None, "0"},
            time_us=number_in(host, f"{at}/time") or 0,
        )
        states[cpu] = (*states.get(cpu, ()), state)
    return states


def _number(path: str) -> int:
    return int(path.split("/")[5].removeprefix("cpu"))
