"""The job of `dirtune watch`: sample once a second, and keep evidence when a condition fires."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dirtune import writing
from dirtune.change import private
from dirtune.checks.events import Event, Kind
from dirtune.errors import DirtuneError, NotPossible, ParseError
from dirtune.escape import one_line
from dirtune.host import notify
from dirtune.jobs import evidence, notes, root
from dirtune.nearest import no_such
from dirtune.watch import store
from dirtune.watch.decision import Firing
from dirtune.watch.documents import Counts, FiringDocument, of_firing, sentence
from dirtune.watch.expression import Watched
from dirtune.watch.judge import Judge
from dirtune.watch.moment import Moment
from dirtune.watch.ring import Ring
from dirtune.watch.seconds import RING
from dirtune.watch.sources import Sources

if TYPE_CHECKING:
    from dirtune.watch.store import Store

_LARGEST_EXTRA_BYTES = 32 << 10
"""A larger file is kept in the ring only if a condition reads it: printing it costs CPU time."""
_EXEC_S = 60.0
_LONGEST_VARIABLE = 1000
_SAY_AGAIN_S = 60.0
_MOST_NAMES = 8
_REMEDIES = {
    "ipvs": "IPVS is not loaded. Load it: modprobe ip_vs",
    "conntrack": "nf_conntrack is not loaded, so this host tracks no connections",
    "keepalived": "keepalived is not running, or this kernel lacks /proc/PID/schedstat",
}


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a watch."""

    watched: tuple[Watched, ...]
    out: Path
    times: int = 1
    """The watch ends after this many folders of evidence."""
    quiet_s: float = 600.0
    """How long after a capture no other capture begins, in seconds."""
    duration_s: float | None = None
    keep_bytes: int = 200 << 20
    argv: tuple[str, ...] = ()
    """The command to run after a capture."""
    metrics: Path | None = None
    capture_s: float = 10.0
    """How long to profile, in seconds; 0 takes no profile."""
    probes: tuple[str, ...] = ()
    interval_s: float = 1.0
    tell: Callable[[Event], None] = lambda _: None
    """A function that gets each firing and capture when it happens."""


Metrics = Callable[[Sequence[str], Counts], bytes]


def watch(options: Options, report: evidence.Report, metrics: Metrics) -> tuple[Path, ...]:
    """Watch until --times or --duration is reached, and return the folders of evidence.

    *report* makes the text of a report, and *metrics* the text for Prometheus.
    """
    paths = [
        *(p for condition in options.watched for p in condition.expression.metric.sources),
        *RING,
    ]
    if os.geteuid() == 0:  # root would write through a folder that this user exchanges
        private.require_safe_way(options.out.absolute(), "--out", root.callers())
    with (
        store.opened(options.out) as kept,
        closing(Sources(dict.fromkeys(paths))) as sources,
    ):
        first = sources.moment()
        present = _present(options.watched, first)
        needed = {path for condition in present for path in condition.expression.metric.sources}
        small = {p for p in RING if len(first.texts.get(p, b"")) <= _LARGEST_EXTRA_BYTES}
        sources.drop({*paths} - needed - small)
        return _Watch(options, present, sources, kept, report, metrics).run()


def _present(watched: Sequence[Watched], moment: Moment) -> tuple[Watched, ...]:
    """Return the conditions whose sources exist; warn of the others if they belong to a set.

    Raises `NotPossible` if the user asked for a condition that cannot be watched.
    """
    present = []
    for condition in watched:
        why = _why_missing(condition, moment)
        if why is None:
            present.append(condition)
        elif condition.of_set:
            notes.warning(f"{condition.expression.text} is not watched: {why}.")
        else:
            raise NotPossible(f"--when {condition.when!r} cannot be watched: {why}.")
    for when in {condition.when for condition in watched} - {
        condition.when for condition in present
    }:
        raise NotPossible(f"--when {when}: this host has none of the sources of the set.")
    return tuple(present)


def _why_missing(condition: Watched, moment: Moment) -> str | None:
    metric, on = condition.expression.metric, condition.expression.on
    absent = [path for path in metric.sources if path not in moment.texts]
    if absent:
        return _REMEDIES.get(metric.name.partition(".")[0], f"{absent[0]} cannot be read")
    try:
        now = metric.parse(
            *(moment.texts[path].decode("utf-8", "replace") for path in metric.sources)
        )
    except ParseError as error:
        return str(error)
    if on in {None, "any", "all"} or on in now:
        return None
    names = sorted(filter(None, now))
    has = f"This host has {', '.join(names[:_MOST_NAMES])}"
    return no_such(metric.objects, str(on), names, has).rstrip("?")


class _Watch:
    """A watch in progress."""

    def __init__(
        self,
        options: Options,
        watched: Sequence[Watched],
        sources: Sources,
        kept: "Store",
        report: evidence.Report,
        metrics: Metrics,
    ) -> None:
        self._options, self._sources, self._store = options, sources, kept
        self._report, self._metrics_text = report, metrics
        self._when = {condition.expression: condition.when for condition in watched}
        self._judge, self._ring = Judge(tuple(self._when)), Ring()
        self._counts = Counts()
        self._folders: list[Path] = []
        self._captured_s: float | None = None
        self._said: dict[str, float] = {}
        self._lost: frozenset[str] = frozenset()

    def run(self) -> tuple[Path, ...]:
        """Sample until the watch has ended."""
        options, began_s = self._options, time.monotonic()
        if options.metrics is not None:
            self._write_metrics(options.metrics)
        due_s = began_s
        while options.duration_s is None or due_s - began_s <= options.duration_s:
            time.sleep(max(0.0, due_s - time.monotonic()))
            if firings := self._tick():
                self._fire(firings)
                if len(self._folders) >= options.times:
                    break
            due_s = max(due_s + options.interval_s, time.monotonic())
        return tuple(self._folders)

    def _tick(self) -> tuple[Firing, ...]:
        """Take one sample, and return the conditions that came true with it."""
        moment = self._sources.moment()
        self._ring.add(moment)
        firings = self._judge.firings(moment)
        self._say_lost(moment.at_s, self._judge.lost)
        return firings

    def _say_lost(self, at_s: float, lost: frozenset[str]) -> None:
        """Report each condition whose source has vanished, or is back."""
        for text in sorted(lost ^ self._lost):
            if at_s - self._said.get(text, -_SAY_AGAIN_S) < _SAY_AGAIN_S:
                continue
            self._said[text] = at_s
            if text in lost:
                notes.warning(f"{text}: its source has vanished. The watch of the others goes on.")
            else:
                notes.progress(f"{text}: its source is back")
        self._lost = lost

    def _fire(self, firings: Sequence[Firing]) -> None:
        options, at_s = self._options, time.monotonic()
        fired = tuple(of_firing(firing, self._when[firing.expression]) for firing in firings)
        message = sentence(
            fired, {f.expression.text: f.expression.metric.objects for f in firings}
        )
        self._counts.fired.update({document.when for document in fired})
        self._counts.last_s = time.time()
        self._event("fired", message, fired)
        if self._captured_s is not None and at_s - self._captured_s < options.quiet_s:
            left = options.quiet_s - (at_s - self._captured_s)
            notes.progress(f"{message} (no capture: the quiet period lasts {left:.0f} s more)")
        else:
            notes.progress(message)
            self._keep(fired, message)
            self._captured_s = time.monotonic()
            self._judge.restart()
        if options.metrics is not None:
            self._say_failed(self._write_metrics, options.metrics)

    def _keep(self, fired: tuple[FiringDocument, ...], message: str) -> None:
        """Take the evidence, remove what is too much, and run the user's command."""
        options = self._options
        request = evidence.Request(
            fired,
            message,
            tuple(expression.text for expression in self._when),
            self._ring.moments(),
            self._judge.metrics,
            options.capture_s,
            options.probes,
        )
        try:
            folder = evidence.taken(self._store, request, self._report)
        except (DirtuneError, OSError) as error:
            self._counts.failed += 1
            notes.warning(f"The evidence could not be kept: {error}")
            self._event("capture-failed", f"The evidence could not be kept: {error}", None)
            return
        self._counts.captures += 1
        self._folders.append(folder)
        notes.progress(f"evidence: {folder}")
        self._event("captured", f"The evidence is in {folder}.", {"folder": str(folder)})
        for path in self._store.trim(options.keep_bytes):
            notes.progress(f"removed the oldest evidence to stay below --keep-mb: {path}")
        if options.argv:
            self._say_failed(self._notify, folder, fired[0], message)

    def _event(self, kind: Kind, message: str, data: object) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        host = os.uname().nodename
        self._options.tell(
            Event(at=at, kind=kind, host=host, message=one_line(message), data=data)
        )

    def _notify(self, folder: Path, fired: FiringDocument, message: str) -> None:
        texts = {
            "DIRTUNE_WATCH_FOLDER": str(folder.absolute()),
            "DIRTUNE_WATCH_WHEN": fired.when,
            "DIRTUNE_WATCH_CONDITION": fired.condition,
            "DIRTUNE_WATCH_VALUE": f"{fired.value:g}",
            "DIRTUNE_WATCH_MESSAGE": message,
        }
        clean = {name: one_line(text)[:_LONGEST_VARIABLE] for name, text in texts.items()}
        notify(self._options.argv, clean, timeout_s=_EXEC_S)

    def _say_failed(self, work: Callable[..., None], *arguments: object) -> None:
        """Do *work*; a failure is a warning, because the watch goes on."""
        try:
            work(*arguments)
        except (DirtuneError, OSError) as error:
            notes.warning(f"{error}")

    def _write_metrics(self, path: Path) -> None:
        whens = tuple(dict.fromkeys(self._when.values()))
        writing.replace(path, self._metrics_text(whens, self._counts))
