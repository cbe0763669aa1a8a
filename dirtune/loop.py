"""The closed loop: measure, fix, the same traffic again, judge, keep or take back.

The order is the argument. The forecast is made before the first pair; judged trials run without
a probe; the director begins each of them idle, so that the switch itself is not measured; and
what the fix changed is looked up afterwards on the director, not assumed.
"""

import asyncio
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dirtune import __version__, checks, remote
from dirtune.analyse import compare, lines
from dirtune.analyse.forecast import forecast
from dirtune.analyse.handlers import HandlerWindow
from dirtune.analyse.run import Forecast, Run, Step, Trial
from dirtune.analyse.verdict import sentence
from dirtune.bench import campaign, rig, store
from dirtune.bench.outcome import Order
from dirtune.bench.store import Store
from dirtune.bench.tables import Plan
from dirtune.bench.trial import Result, conduct
from dirtune.collect.interrupts import Interrupts
from dirtune.errors import TrialError
from dirtune.fetch import fetch_script, parse_fetched
from dirtune.remote import Node
from dirtune.render import audit as render_audit
from dirtune.snapshot import Snapshot, take_all

Say = Callable[[str], None]

SECONDARY = ("reply_rate", "interrupts_per_connection", "latency_p50_ms", "latency_p99_ms")
_INTERVAL_S = 2
_FIX_S = 300


@dataclass(frozen=True, slots=True)
class Trying:
    """What one turn of the loop is about."""

    plan: Plan
    check: str
    """The finding whose runtime fix is tried."""
    title: str
    command: str
    """The command line that asked for it."""
    scenario: dict[str, object] | None = None
    noise_floor: float | None = None
    """From an A/A run of the same plan, as a share; None if there was none."""


def begin(trying: Trying, out: Path) -> Store:
    """Make the run's folder; what follows is added to it as it happens."""
    run = Run(
        id=store.new_id(out, datetime.now(UTC)),
        started=now(),
        finished=None,
        command=trying.command,
        version=__version__,
        title=trying.title,
        plan=msgspec.to_builtins(trying.plan),
        scenario=trying.scenario,
        inventory={},
        primary_metric=trying.plan.compare.primary,
        audits={},
        handlers={},
        trials=(),
        forecast=None,
        comparisons=(),
        steps=(),
        verdict=None,
        notes=trying.plan.notes,
    )
    return store.create(out, run)


async def turn(trying: Trying, kept: Store, say: Say) -> Run:
    """Go round once; the director is left as the rule says and the run tells."""
    plan = trying.plan
    config = None if plan.ssh_config is None else Path(plan.ssh_config)
    host, become = plan.director.host, plan.director.become
    async with (
        rig.opened(plan) as nodes,
        await remote.connect(host, ssh_config=config, become=become) as director,
    ):
        switch = Switch(director, trying, kept, say)
        try:
            await _before(nodes, director, trying, kept, say)
            await campaign.pairs(nodes, plan, switch, keeping(kept, say))
            await switch("B")
            await _look(nodes, director, trying, kept, say, "after")
        except BaseException:  # Ctrl-C too: the director must not be left between two arms
            await asyncio.shield(switch.leave("A"))
            raise
        judged(trying, kept)
        await switch.leave("B" if kept.run.comparisons[0].verdict == "improved" else "A")
    save(kept, finished=now())
    return kept.run


def judged(trying: Trying, kept: Store) -> None:
    """Compare the arms and put the verdict into the run."""
    threshold = trying.plan.compare.threshold / 100
    found = [
        compare.compare(
            metric,
            compare.arms_of(kept.run, metric),
            noise_floor=trying.noise_floor if metric == kept.run.primary_metric else None,
            threshold=threshold,
        )
        for metric in (kept.run.primary_metric, *SECONDARY)
        if any(metric in trial.metrics for trial in kept.run.trials)
    ]
    if not found:
        raise TrialError(f"no trial measured {kept.run.primary_metric}; see {kept.folder}")
    verdict = sentence(found[0], kept.run.forecast)
    save(kept, comparisons=compare.adjusted(found), verdict=verdict)


class Switch:
    """Brings the director into an arm, by the dirtune installed there, and reads it back."""

    def __init__(self, director: Node, trying: Trying, kept: Store, say: Say) -> None:
        self._director = director
        self._trying = trying
        self._kept = kept
        self._say = say
        self._journal: str | None = None

    async def __call__(self, arm: str) -> None:
        """Apply the fix (B), or take it back (A)."""
        if arm == "B" and self._journal is None:
            answer = await self._dirtune("fix", "apply", self._trying.check, "--confirm", "0")
            journal = answer.get("journal")
            if not isinstance(journal, str):
                raise TrialError(f"{self._trying.check}: the director has nothing to fix")
            self._journal = journal
        elif arm == "A" and self._journal is not None:
            await self._dirtune("rollback", self._journal)
            self._journal = None

    async def leave(self, arm: str) -> None:
        """Leave the director in *arm*, and say so in the run."""
        await self(arm)
        said = "kept the fix" if arm == "B" else "took the fix back"
        _step(self._kept, f"# {said}", "by rule: only `improved` is kept")

    async def _dirtune(self, *words: str) -> dict[str, object]:
        argv = (*self._trying.plan.director.dirtune.split(), *words, "--format", "json")
        self._say(f"{self._director.name}: {' '.join(words)}")
        text = await self._director.run(argv, timeout_s=_FIX_S)
        _step(
            self._kept, f"ssh {self._director.name} {shlex.join(argv[:-2])}", "switch of the arm"
        )
        return remote.parse_object(self._director.name, argv, text)


async def _before(
    nodes: rig.LiveRig, director: Node, trying: Trying, kept: Store, say: Say
) -> None:
    """Measure one quiet trial, look with the probe, and forecast."""
    save(kept, inventory=await _inventory(trying.plan, director))
    say("one trial to warm up, and to know what a connection costs")
    rate = trying.plan.load.rates[0]
    quiet = await conduct(nodes, trying.plan, Order("first", "A", "baseline", rate))
    kept.keep(quiet)
    if quiet.trial.validity == "setup_error":
        raise TrialError(f"{quiet.trial.reason}; what was measured is in {kept.folder}")
    snapshot, profiled = await _look(nodes, director, trying, kept, say, "before")
    save(kept, forecast=foreseen(snapshot, profiled, quiet.trial))


async def _look(
    nodes: rig.LiveRig,
    director: Node,
    trying: Trying,
    kept: Store,
    say: Say,
    when: str,
) -> tuple[Snapshot, Result]:
    """Profile one trial and audit with what the probe saw under its load."""
    say(f"profile and probe, {when} the fix (bcc compiles on the director first)")
    arm = {"before": "A", "after": "B"}[when]
    order = Order(f"profile-{arm}", arm, "profiled", trying.plan.load.rates[0])
    profiled = await conduct(nodes, trying.plan, order)
    kept.keep(profiled)
    handlers = _handlers(profiled)
    if handlers is None:
        raise TrialError(f"{_why_not(profiled)}; what was measured is in {kept.folder}")
    snapshot = replace(await _snapshot(director), handlers=handlers)
    audit = render_audit.audit(director.name, snapshot, checks.all_checks())
    document = render_audit.document(audit)
    save(
        kept,
        handlers=kept.run.handlers | {when: handlers},
        audits=kept.run.audits | {when: document},
    )
    _step(kept, f"dirtune profile --during-bench && dirtune audit --host {director.name}", when)
    return snapshot, profiled


def foreseen(snapshot: Snapshot, profiled: Result, quiet: Trial) -> Forecast:
    """Return what separating the shared lines should bring, from the probed trial."""
    handlers = _handlers(profiled)
    assert handlers is not None
    table = snapshot.interrupts or Interrupts((), ())
    cards = lines.nic_actions(table, snapshot.pci, snapshot.interfaces)
    shared = (
        line for line in table.numbered if line.shared and not cards.isdisjoint(line.actions)
    )
    return forecast(
        handlers,
        (int(line.irq) for line in shared),
        cards,
        profiled.trial.counters.get("connections"),
        quiet.metrics.get("cpu_us_per_connection"),
    )


def _why_not(profiled: Result) -> str:
    """Return why a profiled trial timed no handlers."""
    own = profiled.profile
    missing = own.probed.missing if own and own.probed else ()
    reasons = [": ".join(filter(None, (one.why, one.remedy))) for one in missing]
    return profiled.trial.reason or "; ".join(reasons) or "no handlers were timed"


def _handlers(profiled: Result) -> HandlerWindow | None:
    own = profiled.profile
    return own.probed.handlers if own and own.probed else None


async def _snapshot(director: Node) -> Snapshot:
    return take_all(parse_fetched(await director.run(fetch_script(interval_s=_INTERVAL_S))))


async def _inventory(plan: Plan, director: Node) -> dict[str, dict[str, str]]:
    version = await director.run([*plan.director.dirtune.split(), "--version"])
    facts = await director.run(
        "uname -r; uname -v; cat /proc/cmdline; grep -m1 'model name' /proc/cpuinfo || echo; "
        "grep -c ^processor /proc/cpuinfo; cat /sys/module/ip_vs/srcversion 2>/dev/null || echo"
    )
    names = ("kernel", "build", "command line", "cpu", "cpus", "ip_vs srcversion")
    found = dict(zip(names, facts.splitlines(), strict=False))
    others = (*plan.real_servers, *plan.clients)
    return {
        director.name: {"role": "director", "dirtune": version.strip(), **found},
        **{peer.label: {"host": peer.host, "address": peer.address or ""} for peer in others},
    }


def keeping(kept: Store, say: Say) -> Callable[[Result], None]:
    """Return what puts a trial on disk and says how it went."""

    def keep(result: Result) -> None:
        kept.keep(result)
        trial = result.trial
        cost = trial.metrics.get(kept.run.primary_metric)
        value = (
            "-" if cost is None else f"{cost:.0f} {compare.METRICS[kept.run.primary_metric].unit}"
        )
        why = f": {trial.reason}" if trial.reason else ""
        say(f"{trial.id}  {value}  {trial.reply_rate:.0f} replies/s  {trial.validity}{why}")

    return keep


def _step(kept: Store, command: str, note: str) -> None:
    save(kept, steps=(*kept.run.steps, Step(now(), command, note)))


def save(kept: Store, **changes: object) -> None:
    """Change fields of the run, on disk as well."""
    kept.save(msgspec.structs.replace(kept.run, **changes))


def now() -> str:
    """Return the time of day in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
