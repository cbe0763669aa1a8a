"""Loading probes with bcc: their C is compiled in one go and attached point by point.

Nothing stays attached: programs and maps live in descriptors of this process, so they are gone
when it ends, however it ends. What the programs themselves cost is the kernel's own count of
their run time, which it keeps while a descriptor asks for it (`bpf_enable_stats()`, Linux 5.8);
the tracepoint's and the kprobe's way into the program is not in it.
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
    """One attached probe, and bcc's object that its programs and maps live in."""

    probe: Probe[Any]
    way: Way
    bpf: Any


def load(wanted: Sequence[tuple[Probe[Any], Way]]) -> tuple[list[Loaded], dict[str, str]]:
    """Compile and attach all in one go; where that fails, one by one, to tell which is refused.

    Returns those that are loaded, and by name why the others are not.
    """
    if not wanted:
        return [], {}
    try:
        return _loaded(wanted), {}
    except NotPossible as error:
        if len(wanted) == 1:
            return [], {wanted[0][0].name: str(error)}
    loaded: list[Loaded] = []
    refused: dict[str, str] = {}
    for each in wanted:
        found, reasons = load([each])
        loaded += found
        refused |= reasons
    return loaded, refused


def detach(loaded: Loaded) -> None:
    """Detach a probe; its maps stay until bcc's object is cleaned up."""
    for point in loaded.way.points:
        _detach_point(loaded.bpf, point)


def statistics(each: Loaded, host: Host) -> tuple[int, int] | None:
    """Return nanoseconds and runs of a probe's programs, as `parse_statistics` does."""
    functions = {point.function.encode() for point in each.way.points}
    fds = [each.bpf.funcs[function].fd for function in functions]
    return parse_statistics([host.read(f"/proc/self/fdinfo/{fd}") for fd in fds])


@parsing("/proc/self/fdinfo")
def parse_statistics(texts: list[str]) -> tuple[int, int] | None:
    """Return nanoseconds and runs summed over the fdinfo *texts* of BPF programs.

    None where the kernel prints no `run_cnt`; 0 runs where statistics are off.
    """
    fields = [dict(line.split(":", 1) for line in text.splitlines()) for text in texts]
    if not all("run_cnt" in row for row in fields):
        return None
    return sum(int(r["run_time_ns"]) for r in fields), sum(int(r["run_cnt"]) for r in fields)


def _loaded(wanted: Sequence[tuple[Probe[Any], Way]]) -> list[Loaded]:
    with find_bcc():
        from bcc import BPF
    sources = [_COMMON, *(f"{probe.name}.bpf.c" for probe, _ in wanted)]
    text = "\n".join((HERE / name).read_text(encoding="utf-8") for name in sources)
    bpf = None
    try:
        with _complaints() as said, _own_headers():
            bpf = BPF(text=text, cflags=_macros(wanted))
            for _, way in wanted:
                for point in way.points:
                    _attach(bpf, point)
    except Exception as error:
        # bcc raises bare Exception; what the compiler or the verifier said is more.
        if bpf is not None:
            bpf.cleanup()
        raise NotPossible(_first_error(said) or str(error)) from error
    return [Loaded(probe, way, bpf) for probe, way in wanted]


def _macros(wanted: Sequence[tuple[Probe[Any], Way]]) -> list[str]:
    members = {m: place for probe, _ in wanted for m, place in probe.members.items()}
    # Without BTF the C takes the offsets from the kernel's headers, and compiles for longer.
    known = btf.offsets(members.values()) or {}
    offsets = {macro: known[place] for macro, place in members.items() if place in known}
    sizes = {macro: size for probe, _ in wanted for macro, size in probe.sizes.items()}
    flags = [macro for _, way in wanted for macro in way.macros]
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
            pass  # bcc attaches it when it compiles


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
    """Let the kernel time BPF programs while a descriptor is open (Linux 5.8); whether it does."""
    library = btf.libbpf()
    try:
        descriptor = library.bpf_enable_stats(_RUN_TIME) if library else -1
    except AttributeError:
        descriptor = -1  # without them the result says that its own cost is not known
    try:
        yield descriptor >= 0
    finally:
        if descriptor >= 0:
            os.close(descriptor)


@contextmanager
def _own_headers() -> Iterator[None]:
    """Let nobody else choose what bcc compiles.

    Where no headers of the kernel are installed it unpacks those of /sys/kernel/kheaders.tar.xz
    into $TMPDIR, or takes what has been put there under the same name, whoever did
    (CVE-2024-2314).
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
    """Collect what libraries in C write to standard error: it is told in one line, if at all."""
    said: list[str] = []
    with tempfile.TemporaryFile(mode="w+b") as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said += file.read().decode(errors="replace").splitlines()


def _first_error(said: list[str]) -> str | None:
    return next((line.strip() for line in said if "error:" in line), None)
