"""Load and attach probes: prebuilt objects where they work, otherwise compiled by bcc.

The cost of a program is its run time as the kernel counts it while a descriptor of
`bpf_enable_stats()` is open (Linux 5.8). That time does not include the path from the tracepoint
or the kprobe into the program.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from dirtune.analyse.doctor import Obstacle
from dirtune.errors import NotPossible
from dirtune.formats import parsing
from dirtune.host import Host
from dirtune.probes import compiled, prebuilt
from dirtune.probes.libbpf import any_library
from dirtune.probes.probe import Bpf, Probe, Way

_RUN_TIME = 0  # BPF_STATS_RUN_TIME in linux/bpf.h


@dataclass(frozen=True)
class Loaded:
    """An attached probe, and the object that contains the probe's programs and maps."""

    probe: Probe[Any]
    way: Way
    bpf: Bpf


@dataclass(frozen=True)
class Candidate:
    """A probe, and how this machine can probably load it."""

    probe: Probe[Any]
    prebuilt: Iterable[Way]
    """The ways in which to attach the prebuilt object, which are tried in this order."""
    compiled: Way | None
    """The way in which to attach the program that bcc compiles; None if there is none here."""
    not_compiled: Obstacle | str | None = None
    """The reason why `compiled` is None."""


def load(candidates: Sequence[Candidate]) -> tuple[list[Loaded], dict[str, str]]:
    """Load each probe from its object, and compile together those for which that fails.

    Return the loaded probes, and the reason for each probe that could not be loaded, by name.
    """
    loaded: list[Loaded] = []
    refused: dict[str, list[str]] = {}
    objects: list[prebuilt.Prebuilt] = []
    for one in candidates:
        for way in one.prebuilt:
            try:
                objects.append(prebuilt.load(one.probe, way, tuple(objects)))
            except NotPossible as error:
                refused.setdefault(one.probe.name, []).append(str(error))
            else:
                loaded.append(Loaded(one.probe, way, objects[-1]))
                break
    names = {probe.probe.name for probe in loaded}
    rest = [(c.probe, c.compiled) for c in candidates if c.compiled and c.probe.name not in names]
    built_here, reasons = _compiled(rest)
    for name, reason in reasons.items():
        refused.setdefault(name, []).append(reason)
    everything = [*loaded, *built_here]
    for probe in everything:
        refused.pop(probe.probe.name, None)
    return everything, {name: "; ".join(dict.fromkeys(why)) for name, why in refused.items()}


def _compiled(
    probes: Sequence[tuple[Probe[Any], Way]],
) -> tuple[list[Loaded], dict[str, str]]:
    """Compile and attach all *probes* together, or, if this fails, one by one."""
    if not probes:
        return [], {}
    try:
        bpf = compiled.load(probes)
        named = ((probe, replace(way, what=f"{way.what} (bcc)")) for probe, way in probes)
        return [Loaded(probe, way, bpf) for probe, way in named], {}
    except NotPossible as error:
        if len(probes) == 1:
            return [], {probes[0][0].name: str(error)}
    loaded: list[Loaded] = []
    refused: dict[str, str] = {}
    for probe in probes:
        one, reasons = _compiled([probe])
        loaded += one
        refused |= reasons
    return loaded, refused


def detach(loaded: Loaded) -> None:
    """Detach a probe. Its maps remain until the object is closed."""
    for point in loaded.way.points:
        loaded.bpf.detach(point)


def statistics(loaded: Loaded, host: Host) -> tuple[int, int] | None:
    """Return a probe's run time in nanoseconds and its number of runs, both since loading.

    Return None if the kernel does not count runs.
    """
    functions = {point.function for point in loaded.way.points}
    fds = [loaded.bpf.descriptor(function) for function in functions]
    return parse_statistics([host.read(f"/proc/self/fdinfo/{fd}") for fd in fds])


@parsing("/proc/self/fdinfo")
def parse_statistics(texts: list[str]) -> tuple[int, int] | None:
    """Return the run time in nanoseconds and the number of runs, summed over *texts*.

    Each text is a BPF program's file in /proc/self/fdinfo. Return None if a text has no `run_cnt`.
    If statistics are off, both numbers are 0.
    """
    fields = [dict(line.split(":", 1) for line in text.splitlines()) for text in texts]
    if not all("run_cnt" in row for row in fields):
        return None
    return sum(int(r["run_time_ns"]) for r in fields), sum(int(r["run_cnt"]) for r in fields)


@contextmanager
def statistics_on() -> Iterator[bool]:
    """Let the kernel measure the run time of BPF programs; yield whether it can (Linux 5.8)."""
    library = any_library()
    try:
        descriptor = library.bpf_enable_stats(_RUN_TIME) if library else -1
    except AttributeError:
        descriptor = -1  # without statistics the result says that the cost is unknown
    try:
        yield descriptor >= 0
    finally:
        if descriptor >= 0:
            os.close(descriptor)
