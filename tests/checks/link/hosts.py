"""Hosts with links, written by hand."""

from dirtune.checks import run
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.log_messages import LogLine
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

GUEST = CpuInfo(None, frozenset({"hypervisor"}))


METAL = CpuInfo(None, frozenset())


def port(name="eth0", speed=10_000, *, counters=None, **fields):
    known = {"driver": "ixgbe", "operstate": "up", "duplex": "full", "speed_mbps": speed}
    counters = counters or {}
    packets = (counters.get("rx_packets", 0), counters.get("tx_packets", 0))
    return Interface(name, None, None, True, *packets, statistics=counters, **(known | fields))


def log(*texts, at=999_000.0):
    return tuple(LogLine(at, text) for text in texts)


def taken(*ports, before=None, seconds=10.0, now=1_000_000.0, **fields):
    earlier = None
    if before is not None:
        then = fields.pop("then", {})
        earlier = Snapshot(interfaces=before, taken_s=now - seconds, **then)
    return Snapshot(interfaces=ports, taken_s=now, earlier=earlier, **fields)


def judged(check, *args, **kwargs):
    return run((check,), taken(*args, **kwargs))[0]
