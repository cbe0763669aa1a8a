"""The cpu probe, which samples the kernel stack of each CPU 99 times a second.

Source: the perf event `cpu-clock` on each CPU, summed in the kernel by `cpu.bpf.c`. The rate of
99 Hz keeps the samples out of step with the timer tick. The clock is a timer interrupt, which is
delayed while interrupts are off, so the sample then shows where interrupts are enabled again. The
irq probe measures hard interrupts. A sample in user mode also counts for the program, by the name
of the thread that ran (/proc/PID/task/TID/comm).
"""

import errno
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dirtune.analyse.probed import CpuWindow, Stack, UserSamples
from dirtune.host import Host
from dirtune.probes.probe import Bpf, Context, Moment, Point, Probe, Way, moved_slots

HERTZ = 99
_USER = -errno.EFAULT  # get_stackid() of a CPU that was in user mode


@dataclass(frozen=True, slots=True)
class Reading:
    """The probe's maps at one moment."""

    samples: Mapping[tuple[int, bool], tuple[int, ...]]
    """The samples of each CPU, by the number of the stack and by whether the CPU was idle."""
    stacks: Mapping[int, tuple[int, ...]]
    """The addresses of each stack by its number, the innermost address first."""
    programs: Mapping[str, tuple[int, ...]]
    """The samples of each CPU in user mode, by the name of the program."""
    lost: int


def read(bpf: Bpf, _: Host) -> Reading:
    """Return a copy of the probe's maps."""
    samples = {(k.stack, bool(k.idle)): tuple(copies) for k, copies in bpf["cpu_samples"].items()}
    table: Any = bpf["cpu_stacks"]
    stacks = {number: tuple(table.walk(number)) for number, _ in samples if number >= 0}
    # Names that differ only in bytes that are no text are one name.
    programs: dict[str, tuple[int, ...]] = {}
    for key, copies in bpf["cpu_programs"].items():
        name = key.name.decode(errors="replace")
        programs[name] = _plus(programs.get(name, (0,) * len(copies)), copies)
    return Reading(samples, stacks, programs, sum(bpf["cpu_lost"][0]))


def _plus(samples: Sequence[int], more: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(samples, more, strict=True))


def decode(before: Moment[Reading], after: Moment[Reading], context: Context) -> CpuWindow:
    """Return the difference between two readings, with function names in the stacks."""
    sums: dict[tuple[int, tuple[str, ...], bool], int] = {}
    symbols = context.symbols()
    lost = after.data.lost - before.data.lost
    for (number, idle), counts in after.data.samples.items():
        then = before.data.samples.get((number, idle), (0,) * len(counts))
        moved = moved_slots(counts, then)
        if number < 0 and number != _USER:  # the map had no room for the stack
            lost += sum(moved)
            continue
        frames = symbols.frames(after.data.stacks.get(number, ()))[::-1]
        for cpu, samples in enumerate(moved):
            if samples:
                key = (cpu, frames, idle)
                sums[key] = sums.get(key, 0) + samples
    modules = {
        module.rstrip("]")
        for _, frames, _ in sums
        for _, _, module in (frame.partition(" [") for frame in frames)
        if module
    }
    rows = sorted(sums.items(), key=lambda row: (-row[1], row[0]))
    return CpuWindow(
        seconds=after.taken_s - before.taken_s,
        hertz=HERTZ,
        stacks=tuple(Stack(*key, samples) for key, samples in rows),
        lost=lost,
        programs=tuple(_in_user_mode(before.data, after.data)),
        build_ids=dict(context.build_ids(modules)),
    )


def _in_user_mode(before: Reading, after: Reading) -> Iterator[UserSamples]:
    """Yield the samples in user mode of each program on each CPU between two readings."""
    for name, counts in sorted(after.programs.items()):
        then = before.programs.get(name, (0,) * len(counts))
        for cpu, samples in enumerate(moved_slots(counts, then)):
            if samples:
                yield UserSamples(cpu, name, samples)


PROBE = Probe(
    name="cpu",
    window="cpu",
    ways=(Way("cpu-clock", (Point("clock", str(HERTZ), "dt_cpu_sample"),)),),
    read=read,
    decode=decode,
    # TASK_COMM_LEN is 16.
    sizes={"CPU_MAX_STACKS": 8192, "CPU_MAX_PROGRAMS": 1024, "CPU_NAME_BYTES": 16},
)
