"""Measure with probes: attach them, keep their cost below a limit, read and detach them."""

import importlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from dirtune.analyse.doctor import Obstacle, compiled_obstacles, prebuilt_obstacles
from dirtune.analyse.probed import NotProbed, ProbeCost, Probed
from dirtune.collect.facts import read_facts
from dirtune.errors import NotPossible
from dirtune.host import Host, LiveHost
from dirtune.nearest import no_such
from dirtune.probes import calibration, compiled, prebuilt, threads
from dirtune.probes.build_ids import build_ids
from dirtune.probes.kernel import Kernel
from dirtune.probes.loading import Candidate, Loaded, detach, load, statistics, statistics_on
from dirtune.probes.prebuilt import HERE, Prebuilt
from dirtune.probes.probe import Bpf, Context, Moment, Probe, Way
from dirtune.probes.threads import ThreadReading
from dirtune.signals import undisturbed

if TYPE_CHECKING:
    from dirtune.probes.counting import Counting

LIMIT_PERCENT = 1.0
"""The default limit of the probes' total cost, in % of one CPU."""
_IRQ = "irq"


@dataclass
class _Running:
    """An attached probe and its first reading."""

    loaded: Loaded
    first: Moment[Any]
    begun: tuple[int, int] | None
    """The run time in nanoseconds and the number of runs of the probe's programs at the first
    reading; None if the kernel does not count them.
    """
    checked: tuple[float, int] | None = None
    """At the last cost check, the monotonic clock in seconds and the programs' run time in
    nanoseconds; None before the first check."""


@dataclass(frozen=True)
class _Ended:
    """A probe after its last reading."""

    running: _Running
    last: Moment[Any]
    spent: tuple[int, int] | None
    """The run time in nanoseconds and the number of runs at the last reading, as in `begun`."""
    shed: bool
    """Whether the probe was detached because the probes' total cost exceeded the limit."""


@dataclass
class Session:
    """A measurement with attached probes. `opened` creates it."""

    host: Host
    probes: Sequence[Loaded]
    missing: tuple[NotProbed, ...]
    limit_percent: float
    counted: bool
    """Whether the kernel measures the cost of BPF programs."""
    counting: "Counting | None" = None
    """The source that replaces the irq probe."""
    threaded: bool = False
    """Whether the CPU time of threaded interrupt handlers is also read."""
    load_seconds: float = 0.0
    own_ns: Mapping[str, float | None] = field(default_factory=dict)
    """The nanoseconds of each prebuilt probe itself between its two stamps, by name."""
    _own_ns: int = 0
    _opened_s: float = 0.0
    _threads: tuple[ThreadReading, ...] = ()
    _running: list[_Running] = field(default_factory=list)
    _ended: list[_Ended] = field(default_factory=list)

    def begin(self) -> None:
        """Start the measurement with the first reading of each probe."""
        self._running = [
            _Running(loaded, _moment(loaded, self.host), statistics(loaded, self.host))
            for loaded in self.probes
        ]
        if self.counting is not None:
            self.counting.begin()
        self._threads = threads.take(self.host) if self.threaded else ()
        self._opened_s, self._own_ns = time.monotonic(), time.process_time_ns()

    def keep_within_budget(self) -> None:
        """Detach the most expensive probe if the total cost is above the limit.

        This method must be called once a second.
        """
        now_s = time.monotonic()
        percents = [self._percent(probe, now_s) for probe in self._running]
        if percents and sum(percents) > self.limit_percent:
            most_expensive = self._running.pop(percents.index(max(percents)))
            self._ended.append(self._end(most_expensive, shed=True))
            detach(most_expensive.loaded)

    def finish(self) -> Probed:
        """Read the probes again, detach them, and return the results."""
        own_ns = time.process_time_ns() - self._own_ns
        seconds = time.monotonic() - self._opened_s
        worked = threads.decode(self._threads, threads.take(self.host)) if self._threads else None
        counts = self.counting.finish() if self.counting is not None else None
        self._ended += [self._end(probe, shed=False) for probe in self._running]
        # Decoding reads symbols, and those of trampolines exist only while probes are attached.
        kernel = Kernel(self.host)
        windows = {
            probe.running.loaded.probe.window: self._window(probe, kernel) for probe in self._ended
        }
        for probe in self._running:
            detach(probe.loaded)
        self._running.clear()
        probed = Probed(
            seconds=seconds,
            handler_counts=counts,
            threads=worked,
            load_seconds=self.load_seconds,
            max_overhead_percent=self.limit_percent,
            own_ns=own_ns,
            costs=tuple(map(self._cost, self._ended)),
            missing=self.missing,
        )
        return msgspec.structs.replace(probed, **windows)

    def _window(self, ended: _Ended, kernel: Kernel) -> object:
        running = ended.running
        own_ns = self.own_ns.get(running.loaded.probe.name)
        cost = self._cost(ended)
        context = Context(cost, self.load_seconds, lambda: kernel.symbols, build_ids, own_ns)
        return running.loaded.probe.decode(running.first, ended.last, context)

    def _end(self, running: _Running, *, shed: bool) -> _Ended:
        last = _moment(running.loaded, self.host)
        return _Ended(running, last, statistics(running.loaded, self.host), shed)

    def _percent(self, running: _Running, now_s: float) -> float:
        """Return the cost of a probe's programs since the last check, in % of one CPU."""
        spent = statistics(running.loaded, self.host)
        if spent is None or running.begun is None:
            return 0.0
        then_s, then_ns = running.checked or (running.first.taken_s, running.begun[0])
        running.checked = (now_s, spent[0])
        return (spent[0] - then_ns) / max(now_s - then_s, 1e-9) / 1e7

    def _cost(self, ended: _Ended) -> ProbeCost:
        running = ended.running
        seconds = ended.last.taken_s - running.first.taken_s
        ns = runs = None
        if self.counted and running.begun is not None and ended.spent is not None:
            ns, runs = (now - then for now, then in zip(ended.spent, running.begun, strict=True))
        loaded = running.loaded
        return ProbeCost(loaded.probe.name, loaded.way.what, seconds, ns, runs, ended.shed)


def all_probes() -> tuple[Probe[Any], ...]:
    """Return all probes: one for each C program in this folder."""
    names = sorted(path.name.removesuffix(".bpf.c") for path in HERE.glob("*.bpf.c"))
    return tuple(importlib.import_module(f"dirtune.probes.{name}").PROBE for name in names)


def named(names: Sequence[str]) -> tuple[Probe[Any], ...]:
    """Return the probes with these *names*. Raises `NotPossible` if a name is unknown."""
    known = {probe.name: probe for probe in all_probes()}
    for name in names:
        if name not in known:
            raise NotPossible(no_such("probe", name, known, f"Choose from {', '.join(known)}."))
    return tuple(probe for name, probe in known.items() if name in names)


@contextmanager
def opened(
    probes: Sequence[Probe[Any]],
    *,
    limit_percent: float,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Session]:
    """Load and attach *probes* within the context, and detach them at its end.

    `Session.missing` lists the probes that this host cannot run, with reasons and remedies.
    """
    host = LiveHost()
    began = time.monotonic()
    candidates, missing = _candidates(host, probes)
    if candidates:
        say(f"loading the probes {', '.join(one.probe.name for one in candidates)}")
    with ExitStack() as stack:
        counted = stack.enter_context(statistics_on())
        loaded, refused = load(candidates)
        for bpf in {id(probe.bpf): probe.bpf for probe in loaded}.values():
            stack.callback(_close, bpf)
        for one in candidates:
            name = one.probe.name
            if name in refused:
                why, remedy = _both(refused[name], one.not_compiled)
                missing[name] = NotProbed(name, why, remedy, "")
        counting = None
        if _IRQ in missing:
            from dirtune.probes.counting import best  # takes long to import

            counting = best(host, stack)
            instead = counting.words if counting else ""
            missing[_IRQ] = msgspec.structs.replace(missing[_IRQ], instead=instead)
        rows = tuple(missing.values())
        session = Session(host, loaded, rows, limit_percent, counted, counting)
        session.threaded = any(probe.name == _IRQ for probe in probes)
        session.own_ns = {
            probe.probe.name: calibration.own_ns(probe.bpf, probe.probe.empty)
            for probe in loaded
            if isinstance(probe.bpf, Prebuilt)
        }
        for probe in loaded:  # the first reading is slow, because it builds tables
            _moment(probe, host)
        session.load_seconds = time.monotonic() - began
        yield session


def measure(
    probes: Sequence[Probe[Any]],
    seconds: float,
    *,
    limit_percent: float,
    say: Callable[[str], None] = lambda _: None,
) -> Probed:
    """Load and attach *probes*, and return what they measure during *seconds*."""
    with opened(probes, limit_percent=limit_percent, say=say) as session:
        say(f"measuring for {seconds:g} s")
        session.begin()
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(1.0, left))
            session.keep_within_budget()
        return session.finish()


def _close(bpf: Bpf) -> None:
    with undisturbed():
        bpf.close()


def _moment(loaded: Loaded, host: Host) -> Moment[Any]:
    taken_s = time.monotonic()
    return Moment(taken_s, loaded.probe.read(loaded.bpf, host))


def _candidates(
    host: Host, probes: Sequence[Probe[Any]]
) -> tuple[list[Candidate], dict[str, NotProbed]]:
    """Return the probes that can probably run here, with the ways to load them.

    Also return the reason for each probe that cannot run here, by name.
    """
    if not probes:
        return [], {}
    facts, kernel = read_facts(host), Kernel(host)
    candidates: list[Candidate] = []
    missing: dict[str, NotProbed] = {}
    for probe in probes:
        first = prebuilt_obstacles(facts, types=bool(probe.members))
        second = compiled_obstacles(facts)
        ahead = first[0] if first else kernel.way(probe, prebuilt.KINDS)
        here = second[0] if second else kernel.way(probe, compiled.KINDS)
        ways = kernel.ways(probe, prebuilt.KINDS) if isinstance(ahead, Way) else ()
        if isinstance(here, Way):
            candidates.append(Candidate(probe, ways, here))
        elif isinstance(ahead, Way):
            candidates.append(Candidate(probe, ways, None, here))
        else:
            why, remedy = _both(ahead, here)
            missing[probe.name] = NotProbed(probe.name, why, remedy, "")
    return candidates, missing


def _both(ahead: Obstacle | str, here: Obstacle | str | None) -> tuple[str, str]:
    """Return why neither the prebuilt object nor bcc works, and the remedy that helps first.

    If *here* is None, *ahead* says both.
    """
    lacks = [one for one in (ahead, here) if one is not None]
    whys = dict.fromkeys(one.why if isinstance(one, Obstacle) else one for one in lacks)
    remedies = (one.remedy for one in lacks if isinstance(one, Obstacle))
    return "; with bcc: ".join(whys), next(remedies, "")
