"""Load probes with bcc: compile all C programs together, and attach each to its points.

Programs and maps belong to descriptors of this process, so nothing stays attached when the process
ends, for whatever reason. The cost of a program is its run time as the kernel counts it while a
descriptor of `bpf_enable_stats()` is open (Linux 5.8). That time does not include the path from
the tracepoint or the kprobe into the program.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dirtune.collect.facts import find_bcc
from dirtune.errors import NotPossible
from dirtune.formats import parsing
from dirtune.host import Host
from dirtune.probes import btf
from dirtune.probes.probe import Point, Probe, Way

HERE = Path(__file__).parent
_COMMON = "common.bpf.h"
_RUN_TIME = 0  # BPF_STATS_RUN_TIME in linux/bpf.h
_CLOCK = (1, 0)  # PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK in linux/perf_event.h


@dataclass(frozen=True)
class Loaded:
    """An attached probe, and the bcc object that contains the probe's programs and maps."""

    probe: Probe[Any]
    way: Way
    bpf: Any


def load(probes: Sequence[tuple[Probe[Any], Way]]) -> tuple[list[Loaded], dict[str, str]]:
    """Compile and attach all *probes* together; if this fails, compile and attach them one by one.

    Return the loaded probes, and the reason for each probe that could not be loaded, by name.
    """
    if not probes:
        return [], {}
    try:
        return _loaded(probes), {}
    except NotPossible as error:
        if len(probes) == 1:
            return [], {probes[0][0].name: str(error)}
    loaded: list[Loaded] = []
    refused: dict[str, str] = {}
    for probe in probes:
        one, reasons = load([probe])
        loaded += one
        refused |= reasons
    return loaded, refused


def detach(loaded: Loaded) -> None:
    """Detach a probe. Its maps remain until the bcc object is cleaned up."""
    for point in loaded.way.points:
        _detach_point(loaded.bpf, point)


def statistics(loaded: Loaded, host: Host) -> tuple[int, int] | None:
    """Return a probe's run time in nanoseconds and its number of runs, both since loading.

    Return None if the kernel does not count runs.
    """
    functions = {point.function.encode() for point in loaded.way.points}
    fds = [loaded.bpf.funcs[function].fd for function in functions]
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


def _loaded(probes: Sequence[tuple[Probe[Any], Way]]) -> list[Loaded]:
    with find_bcc():
        from bcc import BPF
    sources = [_COMMON, *(f"{probe.name}.bpf.c" for probe, _ in probes)]
    text = "\n".join((HERE / name).read_text(encoding="utf-8") for name in sources)
    bpf = None
    try:
        with _complaints() as complaints, _own_headers():
            bpf = BPF(text=text, cflags=_macros(probes))
            for _, way in probes:
                for point in way.points:
                    _attach(bpf, point)
    except Exception as error:
        # bcc raises a bare Exception; the output of the compiler or the verifier is more precise.
        if bpf is not None:
            bpf.cleanup()
        raise NotPossible(_first_error(complaints) or str(error)) from error
    return [Loaded(probe, way, bpf) for probe, way in probes]


def _macros(probes: Sequence[tuple[Probe[Any], Way]]) -> list[str]:
    members = {m: place for probe, _ in probes for m, place in probe.members.items()}
    # Without BTF, the C program uses the kernel's headers and takes longer to compile.
    known = btf.offsets(members.values()) or {}
    offsets = {macro: known[place] for macro, place in members.items() if place in known}
    sizes = {macro: size for probe, _ in probes for macro, size in probe.sizes.items()}
    flags = [macro for _, way in probes for macro in way.macros]
    return [
        *(f"-D{m}={value}" for m, value in (sizes | offsets).items()),
        *(f"-D{m}" for m in flags),
    ]


def _attach(bpf: Any, point: Point) -> None:  # noqa: ANN401  (bcc has no types)
    target, function = point.target.encode(), point.function.encode()
    match point.kind:
        case "tracepoint":
            bpf.attach_raw_tracepoint(tp=target.partition(b":")[2], fn_name=function)
        case "kprobe":
            bpf.attach_kprobe(event=target, fn_name=function)
        case "kretprobe":
            bpf.attach_kretprobe(event=target, fn_name=function)
        case "clock":
            kind, config = _CLOCK
            bpf.attach_perf_event(
                ev_type=kind, ev_config=config, fn_name=function, sample_freq=int(target)
            )
        case "fentry":
            pass  # bcc has attached it when compiling


def _detach_point(bpf: Any, point: Point) -> None:  # noqa: ANN401
    target, function = point.target.encode(), point.function.encode()
    match point.kind:
        case "tracepoint":
            bpf.detach_raw_tracepoint(tp=target.partition(b":")[2])
        case "kprobe":
            bpf.detach_kprobe(event=target, fn_name=function)
        case "kretprobe":
            bpf.detach_kretprobe(event=target, fn_name=function)
        case "clock":
            bpf.detach_perf_event(*_CLOCK)
        case "fentry":
            bpf.detach_kfunc(fn_name=function)


@contextmanager
def statistics_on() -> Iterator[bool]:
    """Let the kernel measure the run time of BPF programs; yield whether it can (Linux 5.8)."""
    library = btf.libbpf()
    try:
        descriptor = library.bpf_enable_stats(_RUN_TIME) if library else -1
    except AttributeError:
        descriptor = -1  # without statistics the result says that the cost is unknown
    try:
        yield descriptor >= 0
    finally:
        if descriptor >= 0:
            os.close(descriptor)


@contextmanager
def _own_headers() -> Iterator[None]:
    """Prevent other users from choosing the kernel headers that bcc compiles.

    If no kernel headers are installed, bcc unpacks /sys/kernel/kheaders.tar.xz into $TMPDIR, or
    uses a folder of the expected name that already exists there, no matter who made the folder
    (CVE-2024-2314). Within this context, $TMPDIR is a new private folder.
    """
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="dirtune-", ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect the lines that C libraries write to standard error within the context."""
    complaints: list[str] = []
    with tempfile.TemporaryFile(mode="w+b") as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield complaints
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            complaints += file.read().decode(errors="replace").splitlines()


def _first_error(complaints: list[str]) -> str | None:
    return next((line.strip() for line in complaints if "error:" in line), None)
