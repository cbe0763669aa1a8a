"""Compile probes on this machine with bcc, which needs the headers of the running kernel.

bcc compiles the C programs of all probes together, which takes half a second, or 5 to 20 s in a
fully emulated guest. Programs and maps belong to descriptors of this process, so nothing stays
attached when the process ends, for whatever reason.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dirtune.collect.facts import find_bcc
from dirtune.errors import NotPossible
from dirtune.probes import btf
from dirtune.probes.probe import Point, Probe, Way

HERE = Path(__file__).parent
KINDS = frozenset({"tracepoint", "clock", "kprobe", "kretprobe"})
"""The kinds of points that a compiled program can be attached to."""
_COMMON = "common.bpf.h"
_CLOCK = (1, 0)  # PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK in linux/perf_event.h
# bcc knows an access to a map only as a method of the map, and not inside a macro.
_METHODS = (
    (r"bpf_map_lookup_elem\(&(\w+), ", r"\1.lookup("),
    (r"bpf_map_update_elem\(&(\w+), (.*?), BPF_ANY\)", r"\1.update(\2)"),
    (r"bpf_map_delete_elem\(&(\w+), ", r"\1.delete("),
    (r"bpf_get_stackid\(ctx, &(\w+), 0\)", r"\1.get_stackid(ctx, 0)"),
)


class Compiled:
    """The programs and maps that bcc compiled, for one or several probes."""

    def __init__(self, bpf: Any) -> None:  # noqa: ANN401  (bcc has no types)
        self._bpf = bpf
        self._open = True

    def attach(self, point: Point) -> None:
        """Attach the program of *point*. Raises what bcc raises."""
        target, function = point.target.encode(), point.function.encode()
        match point.kind:
            case "tracepoint":
                self._bpf.attach_raw_tracepoint(tp=target.partition(b":")[2], fn_name=function)
            case "kprobe":
                self._bpf.attach_kprobe(event=target, fn_name=function)
            case "kretprobe":
                self._bpf.attach_kretprobe(event=target, fn_name=function)
            case "clock":
                kind, config = _CLOCK
                self._bpf.attach_perf_event(
                    ev_type=kind, ev_config=config, fn_name=function, sample_freq=int(target)
                )

    def detach(self, point: Point) -> None:
        """Detach the program of *point*; its maps remain."""
        target, function = point.target.encode(), point.function.encode()
        match point.kind:
            case "tracepoint":
                self._bpf.detach_raw_tracepoint(tp=target.partition(b":")[2])
            case "kprobe":
                self._bpf.detach_kprobe(event=target, fn_name=function)
            case "kretprobe":
                self._bpf.detach_kretprobe(event=target, fn_name=function)
            case "clock":
                self._bpf.detach_perf_event(*_CLOCK)

    def descriptor(self, function: str) -> int:
        """Return the descriptor of a program."""
        return int(self._bpf.funcs[function.encode()].fd)

    def __getitem__(self, table: str) -> Any:  # noqa: ANN401
        """Return the map called *table* in the C program."""
        return self._bpf[table]

    def close(self) -> None:
        """Detach and unload everything. Another call does nothing."""
        if self._open:  # cleaning up twice would close other descriptors
            self._open = False
            self._bpf.cleanup()


def load(probes: Sequence[tuple[Probe[Any], Way]]) -> Compiled:
    """Compile and attach *probes* together. Raises `NotPossible` with one line."""
    try:
        with find_bcc():
            from bcc import BPF
    except (ImportError, OSError) as error:  # OSError: a library that bcc needs
        raise NotPossible(f"bcc cannot be imported: {error}") from error
    compiled = None
    try:
        with _complaints() as complaints, _own_headers():
            compiled = Compiled(BPF(text=source(probes), cflags=_macros(probes)))
            for _, way in probes:
                for point in way.points:
                    compiled.attach(point)
    except Exception as error:
        # bcc raises a bare Exception; the output of the compiler or the verifier is more precise.
        if compiled is not None:
            compiled.close()
        raise NotPossible(_first_error(complaints) or str(error)) from error
    return compiled


def source(probes: Sequence[tuple[Probe[Any], Way]]) -> str:
    """Return the C program of *probes* in bcc's words."""
    names = [_COMMON, *(f"{probe.name}.bpf.c" for probe, _ in probes)]
    text = "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)
    for call, method in _METHODS:
        text = re.sub(call, method, text)
    return text


def _macros(probes: Sequence[tuple[Probe[Any], Way]]) -> list[str]:
    members = {m: place for probe, _ in probes for m, place in probe.members.items()}
    # Without BTF, the C program uses the kernel's headers and takes longer to compile.
    known = btf.offsets(members.values()) or {}
    offsets = {macro: known[place] for macro, place in members.items() if place in known}
    sizes = {macro: size for probe, _ in probes for macro, size in probe.sizes.items()}
    flags = ["DIRTUNE_BCC", *(macro for _, way in probes for macro in way.macros)]
    return [
        *(f"-D{m}={value}" for m, value in (sizes | offsets).items()),
        *(f"-D{m}" for m in flags),
    ]


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
