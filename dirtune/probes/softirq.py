"""The softirq probe, which measures each softirq on each CPU, and the NAPI polls of each device.

Source: raw tracepoints `softirq_raise`, `softirq_entry`, `softirq_exit` (kernel/softirq.c) and
`napi_poll` (net/core/dev.c), summed in the kernel by `softirq.bpf.c`. The time of a run includes
the hard interrupts that interrupted the run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from dirtune.analyse.probed import NapiPolls, SoftirqTime, SoftirqWindow
from dirtune.collect import softirqs
from dirtune.collect.softirqs import parse_softirqs
from dirtune.host import Host
from dirtune.probes.probe import Bpf, Context, Moment, Point, Probe, Way, moved_slots

_WRAP = 2**32


@dataclass(frozen=True, slots=True)
class Reading:
    """The probe's maps and /proc/softirqs at one moment."""

    softirqs: str
    """The text of /proc/softirqs, read immediately before the maps."""
    times: tuple[SoftirqTime, ...]
    """The times of every vector on every CPU; a vector's name is its number as text."""
    napi: Mapping[int, NapiPolls]
    """The polls, by the address of the `napi_struct`. Each queue of a device has its own one."""
    lost: int


def read(bpf: Bpf, host: Host) -> Reading:
    """Return a copy of the probe's maps and of /proc/softirqs."""
    text = host.read(softirqs.SOURCE)
    times = tuple(
        _time(str(vector.value), cpu, copy)
        for vector, copies in bpf["softirq_times"].items()
        for cpu, copy in enumerate(copies)
    )
    napi = {key.value: _polls(copies) for key, copies in bpf["napi_devices"].items()}
    return Reading(text, times, napi, sum(bpf["softirq_lost"][0]))


def _time(vector: str, cpu: int, copy: Any) -> SoftirqTime:  # noqa: ANN401  (struct softirq_time)
    return SoftirqTime(
        vector=vector,
        cpu=cpu,
        runs=copy.runs,
        total_ns=copy.total_ns,
        max_ns=copy.max_ns,
        delays=copy.delays,
        delay_ns=copy.delay_ns,
        delay_max_ns=copy.delay_max_ns,
        histogram=tuple(copy.slots),
        delay_histogram=tuple(copy.delay_slots),
    )


def _polls(copies: Sequence[Any]) -> NapiPolls:
    # Only the CPU that polled the device first recorded its name.
    return NapiPolls(
        device=max(copy.device for copy in copies).decode(errors="replace"),
        polls=sum(copy.polls for copy in copies),
        packets=sum(copy.packets for copy in copies),
        exhausted=sum(copy.exhausted for copy in copies),
    )


def decode(before: Moment[Reading], after: Moment[Reading], _: Context) -> SoftirqWindow:
    """Return the softirqs and NAPI polls between two readings."""
    counted = _counts(before.data.softirqs, after.data.softirqs)
    names = dict(enumerate(counted))  # the file's rows are in the order of the vectors
    then = {(one.vector, one.cpu): one for one in before.data.times}
    moved = (_minus(one, then[one.vector, one.cpu]) for one in after.data.times)
    return SoftirqWindow(
        seconds=after.taken_s - before.taken_s,
        softirqs=tuple(
            msgspec.structs.replace(one, vector=names.get(int(one.vector), one.vector))
            for one in moved
            if one.runs
        ),
        napi=tuple(_devices(before.data.napi, after.data.napi)),
        counted=counted,
        lost=after.data.lost - before.data.lost,
    )


def _minus(now: SoftirqTime, then: SoftirqTime) -> SoftirqTime:
    return msgspec.structs.replace(
        now,
        runs=now.runs - then.runs,
        total_ns=now.total_ns - then.total_ns,
        delays=now.delays - then.delays,
        delay_ns=now.delay_ns - then.delay_ns,
        histogram=moved_slots(now.histogram, then.histogram),
        delay_histogram=moved_slots(now.delay_histogram, then.delay_histogram),
    )


def _counts(before: str, after: str) -> dict[str, int]:
    then, now = parse_softirqs(before).counts, parse_softirqs(after).counts
    return {
        vector: sum((b - a) % _WRAP for a, b in zip(then[vector], counts, strict=True))
        for vector, counts in now.items()
    }


def _devices(
    before: Mapping[int, NapiPolls], after: Mapping[int, NapiPolls]
) -> Iterator[NapiPolls]:
    sums: dict[str, list[int]] = {}
    for key, now in after.items():
        then = before.get(key) or NapiPolls(now.device, 0, 0, 0)
        total = sums.setdefault(now.device, [0, 0, 0])
        total[0] += now.polls - then.polls
        total[1] += now.packets - then.packets
        total[2] += now.exhausted - then.exhausted
    return (NapiPolls(device, *total) for device, total in sorted(sums.items()) if total[0])


PROBE = Probe(
    name="softirq",
    window="softirqs",
    ways=(
        Way(
            "raw tracepoints",
            (
                Point("tracepoint", "irq:softirq_raise", "dt_softirq_raise"),
                Point("tracepoint", "irq:softirq_entry", "dt_softirq_entry"),
                Point("tracepoint", "irq:softirq_exit", "dt_softirq_exit"),
                Point("tracepoint", "napi:napi_poll", "dt_softirq_napi_poll"),
            ),
        ),
    ),
    read=read,
    decode=decode,
    sizes={"NAPI_NAME_BYTES": 16, "NAPI_MAX": 2048},
    members={
        "NAPI_STRUCT_DEV": ("napi_struct", "dev"),
        "NET_DEVICE_NAME": ("net_device", "name"),
    },
)
