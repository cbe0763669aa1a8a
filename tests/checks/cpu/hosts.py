"""Hosts with the power and time of CPUs that the checks judge."""

from dirtune.collect.cpu_power import CpuPower
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.ip_vs import Destination, Service
from tests.checks.samples import interrupts, msi

GUEST = CpuInfo("QEMU", frozenset({"hypervisor"}))


METAL = CpuInfo("Xeon", frozenset({"constant_tsc", "nonstop_tsc"}))


ON_0_AND_1 = interrupts(msi(40, "eth0-rx-0", 900, 0, 0, 0), msi(41, "eth0-rx-1", 0, 900, 0, 0))


def power(**fields):
    known = {
        "governors": {}, "driver": None, "preferences": {}, "idle_driver": None, "idle": {},
        "throttled": {}, "clocksource": "tsc", "clocksources": ("tsc",), "vulnerabilities": {},
    }  # fmt: skip
    return CpuPower(**(known | fields))


def director(forward="Route"):
    servers = (Destination("198.18.0.11", 80, forward, 1, 0, 0),)
    return (Service("TCP", "198.18.0.100", 80, None, "rr", destinations=servers),)
