"""Probes of one window: compiled in one go, attached, held to a budget, read, and gone.

Nothing stays attached: programs and maps live in descriptors of this process, so they are gone
when it ends, however it ends. What the programs themselves cost is the kernel's own count of
their run time, which it keeps while a descriptor asks for it (`bpf_enable_stats()`, Linux 5.8);
the tracepoint's and the kprobe's way into the program is not in it.
"""

import importlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from dirtune.analyse.doctor import probe_obstacles
from dirtune.analyse.probed import NotProbed, ProbeCost, Probed
from dirtune.collect.facts import find_bcc, read_facts
from dirtune.errors import NotPossible
from dirtune.host import Host, LiveHost
from dirtune.probes import btf, threads
from dirtune.probes.counting import Counting, best
from dirtune.probes.kernel import Kernel
from dirtune.probes.probe import Context, Moment, Point, Probe, Way
from dirtune.probes.threads import ThreadReading

LIMIT_PERCENT = 1.0
"""What probes together may cost by default, as a share of one CPU."""
_HERE = Path(__file__).parent
_COMMON = "common.bpf.h"
_IRQ = "irq"
_RUN_TIME = 0  # BPF_STATS_RUN_TIME in linux/bpf.h
_CLOCK = (1, 0)  # PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK in linux/perf_event.h


@dataclass
class _Running:
    """One attached probe."""

    probe: Probe[Any]
    way: Way
    bpf: Any
    first: Moment[Any] | None = None
    last: Moment[Any] | None = None
    begun: tuple[int, int] | None = None
    """Nanoseconds and runs of its programs at the first reading."""
    checked: tuple[float, int] | None = None
    """Time and nanoseconds at the last look at its cost."""
    spent: tuple[int, int] | None = None
    shed: bool = False


@dataclass
class Session:
    """A window of probes. Made by `opened`."""

    host: Host
    running: list[_Running]
    missing: tuple[NotProbed, ...]
    limit_percent: float
    counted: bool
    """The kernel counts what programs cost."""
    counting: Counting | None = None
    """In place of the irq probe."""
    threaded: bool = False
    """The work of handlers' threads is asked for."""
    load_seconds: float = 0.0
    _own_ns: int = 0
    _opened_s: float = 0.0
    _threads: tuple[ThreadReading, ...] = ()
    _done: list[_Running] = field(default_factory=list)

    def begin(self) -> None:
        """Open the window."""
        for each in self.running:
            each.first = _moment(each, self.host)
            each.begun = self._statistics(each)
        if self.counting is not None:
            self.counting.begin()
        self._threads = threads.take(self.host) if self.threaded else ()
        self._opened_s, self._own_ns = time.monotonic(), time.process_time_ns()

    def keep_within_budget(self) -> None:
        """Take off the dearest probe if all together cost more than they may; once a second."""
        now = time.monotonic()
        percents = {id(each): self._percent(each, now) for each in self.running}
        if sum(percents.values()) > self.limit_percent:
            dearest = max(self.running, key=lambda each: percents[id(each)])
            dearest.shed = True
            self._read_last(dearest)
            _take_off(dearest)
            self.running.remove(dearest)
            self._done.append(dearest)

    def finish(self) -> Probed:
        """Close the window and return what it measured."""
        own_ns = time.process_time_ns() - self._own_ns
        seconds = time.monotonic() - self._opened_s
        worked = threads.decode(self._threads, threads.take(self.host)) if self._threads else None
        counts = self.counting.finish() if self.counting is not None else None
        for each in self.running:
            self._read_last(each)
        self._done += self.running
        # Decoding asks for symbols, and the trampolines' are there while the probes are.
        kernel = Kernel(self.host)
        windows = {e.probe.window: self._window(e, kernel) for e in self._done}
        for each in self.running:
            _take_off(each)
        self.running.clear()
        found = Probed(
            seconds=seconds,
            handler_counts=counts,
            threads=worked,
            load_seconds=self.load_seconds,
            max_overhead_percent=self.limit_percent,
            own_ns=own_ns,
            costs=tuple(map(self._cost, self._done)),
            missing=self.missing,
        )
        return msgspec.structs.replace(found, **windows)

    def _window(self, each: _Running, kernel: Kernel) -> object:
        assert each.first is not None
        assert each.last is not None
        context = Context(self._cost(each), self.load_seconds, lambda: kernel.symbols)
        return each.probe.decode(each.first, each.last, context)

    def _read_last(self, each: _Running) -> None:
        each.last = _moment(each, self.host)
        each.spent = self._statistics(each)

    def _percent(self, each: _Running, now: float) -> float:
        assert each.first is not None
        found = self._statistics(each)
        if found is None or each.begun is None:
            return 0.0
        then_s, then_ns = each.checked or (each.first.taken_s, each.begun[0])
        each.checked = (now, found[0])
        return (found[0] - then_ns) / max(now - then_s, 1e-9) / 1e7

    def _cost(self, each: _Running) -> ProbeCost:
        assert each.first is not None
        assert each.last is not None
        seconds = each.last.taken_s - each.first.taken_s
        ns = runs = None
        if self.counted and each.begun is not None and each.spent is not None:
            ns, runs = (now - then for now, then in zip(each.spent, each.begun, strict=True))
        return ProbeCost(each.probe.name, each.way.what, seconds, ns, runs, each.shed)

    def _statistics(self, each: _Running) -> tuple[int, int] | None:
        functions = {point.function.encode() for point in each.way.points}
        fds = [each.bpf.funcs[function].fd for function in functions]
        return parse_statistics([self.host.read(f"/proc/self/fdinfo/{fd}") for fd in fds])


def all_probes() -> tuple[Probe[Any], ...]:
    """Return every probe: the modules beside this one whose C is there."""
    names = sorted(path.name.removesuffix(".bpf.c") for path in _HERE.glob("*.bpf.c"))
    return tuple(importlib.import_module(f"dirtune.probes.{name}").PROBE for name in names)


def named(names: Sequence[str]) -> tuple[Probe[Any], ...]:
    """Return the probes *names*; `NotPossible` names one that there is not."""
    known = {probe.name: probe for probe in all_probes()}
    for name in names:
        if name not in known:
            raise NotPossible(f"{name}: no such probe; there are {', '.join(known)}")
    return tuple(probe for name, probe in known.items() if name in names)


@contextmanager
def opened(
    probes: Sequence[Probe[Any]],
    *,
    limit_percent: float,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Session]:
    """Compile and attach *probes*; leaving the context takes everything off.

    What cannot be had here is `missing` in the result, with the reason and the remedy.
    """
    host = LiveHost()
    began = time.monotonic()
    wanted, missing = _possible(host, probes)
    if wanted:
        say(f"compiling the probes {', '.join(probe.name for probe, _ in wanted)}")
    with ExitStack() as stack:
        counted = stack.enter_context(_statistics_on())
        loaded, refused = _load(wanted)
        for bpf in {id(each.bpf): each.bpf for each in loaded}.values():
            stack.callback(bpf.cleanup)
        missing |= {name: NotProbed(name, why, "", "") for name, why in refused.items()}
        counting = None
        if _IRQ in missing:
            counting = best(host, stack)
            instead = counting.words if counting else ""
            missing[_IRQ] = msgspec.structs.replace(missing[_IRQ], instead=instead)
        rows = tuple(missing.values())
        session = Session(host, loaded, rows, limit_percent, counted, counting)
        session.threaded = any(probe.name == _IRQ for probe in probes)
        for each in loaded:  # the first reading builds bcc's tables: not within the window
            _moment(each, host)
        session.load_seconds = time.monotonic() - began
        yield session


def measure(
    probes: Sequence[Probe[Any]],
    seconds: float,
    *,
    limit_percent: float,
    say: Callable[[str], None] = lambda _: None,
) -> Probed:
    """Return what *probes* measure in the next *seconds*; compiles before the window opens."""
    with opened(probes, limit_percent=limit_percent, say=say) as session:
        say(f"measuring for {seconds:g} s")
        session.begin()
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(1.0, left))
            session.keep_within_budget()
        return session.finish()


def parse_statistics(texts: list[str]) -> tuple[int, int] | None:
    """Return nanoseconds and runs summed over the fdinfo *texts* of BPF programs.

    None where the kernel prints no `run_cnt`; 0 runs where statistics are off.
    """
    fields = [dict(line.split(":", 1) for line in text.splitlines()) for text in texts]
    if not all("run_cnt" in row for row in fields):
        return None
    return sum(int(r["run_time_ns"]) for r in fields), sum(int(r["run_cnt"]) for r in fields)


def _take_off(each: _Running) -> None:
    for point in each.way.points:
        _detach(each.bpf, point)


def _moment(each: _Running, host: Host) -> Moment[Any]:
    taken_s = time.monotonic()
    return Moment(taken_s, each.probe.read(each.bpf, host))


def _possible(
    host: Host, probes: Sequence[Probe[Any]]
) -> tuple[list[tuple[Probe[Any], Way]], dict[str, NotProbed]]:
    """Return the probes that can be tried here with their ways, and why the others cannot."""
    obstacles = probe_obstacles(read_facts(host)) if probes else ()
    if obstacles:
        why, remedy = obstacles[0].why, obstacles[0].remedy
        return [], {probe.name: NotProbed(probe.name, why, remedy, "") for probe in probes}
    kernel = Kernel(host)
    found = [(probe, kernel.way(probe)) for probe in probes]
    lacking = {p.name: NotProbed(p.name, why, "", "") for p, why in found if isinstance(why, str)}
    return [(probe, way) for probe, way in found if isinstance(way, Way)], lacking


def _load(wanted: Sequence[tuple[Probe[Any], Way]]) -> tuple[list[_Running], dict[str, str]]:
    """Load all in one compilation; where that fails, one by one, to tell which is refused."""
    if not wanted:
        return [], {}
    try:
        return _loaded(wanted), {}
    except NotPossible as error:
        if len(wanted) == 1:
            return [], {wanted[0][0].name: str(error)}
    running: list[_Running] = []
    refused: dict[str, str] = {}
    for each in wanted:
        found, reasons = _load([each])
        running += found
        refused |= reasons
    return running, refused


def _loaded(wanted: Sequence[tuple[Probe[Any], Way]]) -> list[_Running]:
    with find_bcc():
        from bcc import BPF
    sources = [_COMMON, *(f"{probe.name}.bpf.c" for probe, _ in wanted)]
    text = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in sources)
    bpf = None
    try:
        with _complaints() as said:
            bpf = BPF(text=text, cflags=_macros(wanted))
            for _, way in wanted:
                for point in way.points:
                    _attach(bpf, point)
    except Exception as error:
        # bcc raises bare Exception; what the compiler or the verifier said is more.
        if bpf is not None:
            bpf.cleanup()
        raise NotPossible(_first_error(said) or str(error)) from error
    return [_Running(probe, way, bpf) for probe, way in wanted]


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


def _detach(bpf: Any, point: Point) -> None:  # noqa: ANN401
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
def _statistics_on() -> Iterator[bool]:
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
