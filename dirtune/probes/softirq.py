"""The softirq probe, which measures each softirq on each CPU, and the NAPI polls of each device.

Source: raw tracepoints `softirq_raise`, `softirq_entry`, `softirq_exit` (kernel/softirq.c) and
`napi_poll` (net/core/dev.c), summed in the kernel by `softirq.bpf.c`. The time of a run includes
the hard interrupts that interrupted the run. The queues of a NAPI instance are read over netlink.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dirtune.analyse.probed import NapiPolls, SoftirqTime, SoftirqWindow
from dirtune.collect import softirqs
from dirtune.collect.softirqs import parse_softirqs
from dirtune.host import Host
from dirtune.probes import from_handlers, steady
from dirtune.probes.from_handlers import Delays
from dirtune.probes.probe import Bpf, Context, Moment, Point, Probe, Way, moved_slots

_WRAP = 2**32


@dataclass(frozen=True, slots=True)
class Reading:
    """The probe's maps and /proc/softirqs at one moment."""

    softirqs: str
    """The text of /proc/softirqs at this moment."""
    times: tuple[SoftirqTime, ...]
    """The times of every vector on every CPU; a vector's name is its number as text."""
    napi: Mapping[int, NapiPolls]
    """The polls, by the address of the `napi_struct`. Each queue of a device has its own one."""
    lost: int
    after_handlers: Delays = field(default_factory=dict)
    queues: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """The queues by the id of the NAPI instance that serves them."""


def read(bpf: Bpf, host: Host) -> Reading:
    """Return a copy of the probe's maps and of /proc/softirqs."""
    text, vectors = steady.read(
        lambda: host.read(softirqs.SOURCE), lambda: tuple(bpf["softirq_times"].items())
    )
    times = tuple(
        _time(str(vector.value), cpu, copy)
        for vector, copies in vectors
        for cpu, copy in enumerate(copies)
    )
    rows = [
        *(copies for _, copies in bpf["napi_polls"].items()),
        *(copies for _, copies in bpf["napi_more_polls"].items()),
    ]
    lost = sum(bpf["softirq_lost"][0])
    delays = from_handlers.read(bpf, "softirq_delays")
    napi = polls_by_napi(rows, _napi_names(bpf))
    queues = _queues() if any(one.id for one in napi.values()) else {}
    return Reading(text, times, napi, lost, delays, queues)


def _queues() -> Mapping[int, tuple[str, ...]]:
    from dirtune.netlink import netdev  # takes long to import

    return netdev.queues_by_napi()


def _napi_names(bpf: Bpf) -> dict[int, tuple[int, str]]:
    return {
        key.value: (row.id, row.device.decode(errors="replace"))
        for key, row in bpf["napi_names"].items()
    }


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


def polls_by_napi(
    rows: Iterable[Sequence[Any]], names: Mapping[int, tuple[int, str]]
) -> dict[int, NapiPolls]:
    """Return the polls of each NAPI instance, summed over all CPUs.

    Each of *rows* has one `struct napi_polls` for each CPU, which may belong to different
    instances. *names* has the id and the device of each instance by its address.
    """
    polls: dict[int, NapiPolls] = {}
    for copies in rows:
        for copy in copies:
            if copy.napi in names:
                number, device = names[copy.napi]
                moved = NapiPolls(device, copy.polls, copy.packets, copy.exhausted, number)
                then = polls.get(copy.napi)
                polls[copy.napi] = _plus(then, moved) if then else moved
    return polls


def _plus(a: NapiPolls, b: NapiPolls) -> NapiPolls:
    return msgspec.structs.replace(
        a,
        polls=a.polls + b.polls,
        packets=a.packets + b.packets,
        exhausted=a.exhausted + b.exhausted,
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
        napi=tuple(_instances(before.data.napi, after.data.napi, after.data.queues)),
        counted=counted,
        lost=after.data.lost - before.data.lost,
        after_handlers=from_handlers.decode(before.data.after_handlers, after.data.after_handlers),
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


def _instances(
    before: Mapping[int, NapiPolls],
    after: Mapping[int, NapiPolls],
    queues: Mapping[int, tuple[str, ...]],
) -> Iterator[NapiPolls]:
    """Yield the polls of each NAPI instance; instances without an id are summed by device."""
    sums: dict[tuple[str, int], NapiPolls] = {}
    for key, now in after.items():
        then = before.get(key) or NapiPolls(now.device, 0, 0, 0)
        moved = msgspec.structs.replace(
            now,
            polls=now.polls - then.polls,
            packets=now.packets - then.packets,
            exhausted=now.exhausted - then.exhausted,
            queues=queues.get(now.id, ()),
        )
        place = (moved.device, moved.id)
        sums[place] = _plus(sums[place], moved) if place in sums else moved
    return (moved for _, moved in sorted(sums.items()) if moved.polls)


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
    sizes={
        **from_handlers.SIZES,
        "NAPI_NAME_BYTES": 16,
        "NAPI_MAX": 2048,
        "NAPI_MAX_MORE": 1792,
    },
    members={
        "NAPI_STRUCT_DEV": ("napi_struct", "dev"),
        "NAPI_STRUCT_ID": ("napi_struct", "napi_id"),
        "NET_DEVICE_NAME": ("net_device", "name"),
    },
)
