"""Probes of one window: loaded, held to a budget, read at both ends, and gone."""

import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dirtune.analyse.doctor import probe_obstacles
from dirtune.analyse.probed import NotProbed, ProbeCost, Probed
from dirtune.collect.facts import read_facts
from dirtune.errors import NotPossible
from dirtune.host import Host, LiveHost
from dirtune.probes import threads
from dirtune.probes.counting import Counting, best
from dirtune.probes.kernel import Kernel
from dirtune.probes.loading import HERE, Loaded, load, statistics, statistics_on, take_off
from dirtune.probes.probe import Context, Moment, Probe, Way
from dirtune.probes.threads import ThreadReading
from dirtune.signals import undisturbed

LIMIT_PERCENT = 1.0
"""What probes together may cost by default, as a share of one CPU."""
_IRQ = "irq"


@dataclass
class _Running:
    """One probe between its first and its last reading."""

    loaded: Loaded
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
            each.begun = statistics(each.loaded, self.host)
        if self.counting is not None:
            self.counting.begin()
        self._threads = threads.take(self.host) if self.threaded else ()
        self._opened_s, self._own_ns = time.monotonic(), time.process_time_ns()

    def keep_within_budget(self) -> None:
        """Take off the dearest probe if all together cost more than they may; once a second."""
        now = time.monotonic()
        percents = {id(each): self._percent(each, now) for each in self.running}
        if self.running and sum(percents.values()) > self.limit_percent:
            dearest = max(self.running, key=lambda each: percents[id(each)])
            dearest.shed = True
            self._read_last(dearest)
            take_off(dearest.loaded)
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
        windows = {e.loaded.probe.window: self._window(e, kernel) for e in self._done}
        for each in self.running:
            take_off(each.loaded)
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
        return each.loaded.probe.decode(each.first, each.last, context)

    def _read_last(self, each: _Running) -> None:
        each.last = _moment(each, self.host)
        each.spent = statistics(each.loaded, self.host)

    def _percent(self, each: _Running, now: float) -> float:
        assert each.first is not None
        found = statistics(each.loaded, self.host)
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
        return ProbeCost(
            each.loaded.probe.name, each.loaded.way.what, seconds, ns, runs, each.shed
        )


def all_probes() -> tuple[Probe[Any], ...]:
    """Return every probe: the modules beside this one whose C is there."""
    names = sorted(path.name.removesuffix(".bpf.c") for path in HERE.glob("*.bpf.c"))
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
        counted = stack.enter_context(statistics_on())
        loaded, refused = load(wanted)
        for bpf in {id(each.bpf): each.bpf for each in loaded}.values():
            stack.callback(_clean_up, bpf)
        missing |= {name: NotProbed(name, why, "", "") for name, why in refused.items()}
        counting = None
        if _IRQ in missing:
            counting = best(host, stack)
            instead = counting.words if counting else ""
            missing[_IRQ] = msgspec.structs.replace(missing[_IRQ], instead=instead)
        rows = tuple(missing.values())
        running = [_Running(each) for each in loaded]
        session = Session(host, running, rows, limit_percent, counted, counting)
        session.threaded = any(probe.name == _IRQ for probe in probes)
        for each in running:  # the first reading builds bcc's tables: not within the window
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


def _clean_up(bpf: Any) -> None:  # noqa: ANN401  (bcc has no types)
    with undisturbed():  # bcc closes descriptors of others when it goes on after half of it
        bpf.cleanup()


def _moment(each: _Running, host: Host) -> Moment[Any]:
    taken_s = time.monotonic()
    return Moment(taken_s, each.loaded.probe.read(each.loaded.bpf, host))


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
