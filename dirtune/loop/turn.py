"""One turn of the loop: measure, fix, the same traffic again, judge, keep or take back.

The order is the argument. The forecast is made before the first pair; judged trials run without
a probe; the director begins each of them idle, so that the switch itself is not measured; and
what the fix changed is looked up afterwards on the director, not assumed.
"""

import asyncio
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dirtune import __version__, checks, remote
from dirtune.analyse import compare, lines
from dirtune.analyse.forecast import forecast
from dirtune.analyse.handlers import HandlerWindow
from dirtune.analyse.metrics import METRICS
from dirtune.analyse.run import Forecast, Run, Step, Trial
from dirtune.analyse.verdict import sentence
from dirtune.bench import campaign, rig, store
from dirtune.bench.outcome import Order
from dirtune.bench.store import Store
from dirtune.bench.tables import Plan
from dirtune.bench.trial import Result, conduct
from dirtune.collect.interrupts import Interrupts
from dirtune.errors import DirtuneError, NoVerdict, TrialError
from dirtune.fetch import fetch_script, parse_fetched
from dirtune.loop import decide
from dirtune.loop.live import window
from dirtune.remote import Node
from dirtune.render import audit as render_audit
from dirtune.snapshot import Snapshot, take_all

Say = Callable[[str], None]

SECONDARY = (
    *("reply_rate", "cpu_us_per_packet", "interrupts_per_connection"),
    *("latency_p50_ms", "latency_p99_ms"),
)
_INTERVAL_S = 2
_FIX_S = 300


@dataclass(frozen=True, slots=True)
class Trying:
    """What one turn of the loop is about."""

    plan: Plan
    checks: tuple[str, ...]
    """The findings whose fixes are tried, together."""
    title: str
    command: str
    """The command line that asked for it."""
    mends: bool = False
    """Whether the fix mends what goes wrong, and not only what is slow."""
    keep_equivalent: bool = False
    """Whether costing nothing is enough to keep any fix."""
    standing: tuple[str, ...] = ()
    """Journals on the director that are not the loop's to take back."""
    scenario: dict[str, object] | None = None
    noise_floors: Mapping[float | None, float | None] = field(default_factory=dict)
    """From an A/A run of the same plan, as shares, by `Plan.compared_at`; empty without one."""


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


async def turn(trying: Trying, kept: Store, say: Say, *, live: bool = False) -> Run:
    """Go round once, or go on where a run was cut off.

    *live* measures the traffic that is there instead of sending any, and loads no probe. The
    director is left as the rule says and the run tells.
    """
    plan = trying.plan
    measure = window if live else conduct
    async with rig.opened(plan, alone=live) as nodes:
        switch = Switch(trying, kept, say)
        try:
            await switch.look()
            await switch("A")
            if "before" not in kept.run.audits:
                async with await connect(plan) as director:
                    save(kept, inventory=await inventory(plan, director))
                    if live:
                        await _audit(director, kept, "before")
                    else:
                        await _before(nodes, director, trying, kept, say)
            done = kept.run.trials
            await campaign.pairs(
                nodes, plan, switch, keeping(kept, say), done=done, measure=measure
            )
            await switch("B")
            async with await connect(plan) as director:
                if live:
                    await _audit(director, kept, "after")
                else:
                    await _look(nodes, director, trying, kept, say, "after")
            judged(trying, kept)
        except BaseException:  # Ctrl-C too: the director must not be left between two arms
            await asyncio.shield(switch.abandon())
            raise
        await switch.leave(*verdict_of(trying, kept.run))
    save(kept, finished=now())
    return kept.run


async def _audit(director: Node, kept: Store, when: str) -> None:
    """Audit without a probe."""
    audited(kept, director.name, await snapshot_of(director), when)
    step(kept, f"dirtune audit --host {director.name}", when)


async def connect(plan: Plan) -> Node:
    """Return a connection to the plan's director."""
    config = None if plan.ssh_config is None else Path(plan.ssh_config)
    return await remote.connect(plan.director.host, ssh_config=config, become=plan.director.become)


def verdict_of(trying: Trying, run: Run) -> tuple[str, str]:
    """Return the arm in which the director is left, and the rule."""
    keep, why = decide.keeps(
        run.comparisons[0].verdict, mends=trying.mends, equivalent=trying.keep_equivalent
    )
    return ("B" if keep else "A"), why


def judged(trying: Trying, kept: Store) -> None:
    """Compare the arms and put the verdict into the run."""
    plan, primary = trying.plan, kept.run.primary_metric
    metrics = dict.fromkeys((primary, *SECONDARY))
    found = [
        compare.compare(
            metric,
            compare.arms_of(kept.run.trials, metric, rate),
            noise_floor=trying.noise_floors.get(rate) if metric == primary else None,
            threshold=plan.compare.threshold / 100,
            rate=rate,
        )
        for rate in plan.compared_at
        for metric in metrics
        if any(metric in trial.metrics for trial in kept.run.trials)
    ]
    if not found or found[0].metric != primary:
        raise NoVerdict(f"no trial measured {primary}; see {kept.folder}")
    corrected = compare.adjusted(found)
    others = (sentence(each) for each in corrected[1:] if each.metric == primary)
    verdict = " ".join((sentence(corrected[0], kept.run.forecast), *others))
    save(kept, comparisons=corrected, verdict=verdict)


class Switch:
    """Brings the director into an arm, by the dirtune installed there, and reads it back.

    Over a connection of its own each time: one that was lost must not keep a fix in force.
    """

    def __init__(self, trying: Trying, kept: Store, say: Say) -> None:
        self._trying = trying
        self._kept = kept
        self._say = say
        self._journal: str | None = None

    async def look(self) -> None:
        """Ask the director in which arm it is: a run before this one may have been cut off."""
        self._journal = await in_force(self._trying)

    async def __call__(self, arm: str) -> None:
        """Apply the fix (B), or take it back (A)."""
        if arm == "B" and self._journal is None:
            answer = await self._dirtune("fix", "apply", *self._trying.checks, "--confirm", "0")
            journal = answer.get("journal")
            if not isinstance(journal, str):
                names = ", ".join(self._trying.checks)
                raise TrialError(f"{names}: the director has nothing to fix")
            self._journal = journal
        elif arm == "A" and self._journal is not None:
            await self._dirtune("rollback", self._journal)
            self._journal = None

    async def leave(self, arm: str, why: str) -> None:
        """Leave the director in *arm*, and say so in the run; `TrialError` if it is not."""
        try:
            await self(arm)
        except DirtuneError as error:
            raise TrialError(f"{error}; {self.stands}") from error
        said = "kept the fix" if arm == "B" else "took the fix back"
        step(self._kept, f"# {said}", why)
        save(self._kept, journal=self._journal)

    async def abandon(self) -> None:
        """Leave it in arm A after a failure; `TrialError` says how to take the fix back."""
        try:
            await self.look()  # an answer may have been lost, and not what it told of
        except DirtuneError as error:
            if self._journal is None:
                raise TrialError(f"{error}; {self.stands}") from error
        await self.leave("A", "the run was cut off")

    @property
    def stands(self) -> str:
        """In words: that the fix is in force, as far as is known, and the way out."""
        host, names = self._trying.plan.director.host, ", ".join(self._trying.checks)
        if self._journal is None:
            return f"`dirtune fix verify` on {host} tells whether {names} is in force"
        return f"{names} is still in force on {host}: there, `dirtune rollback {self._journal}`"

    async def _dirtune(self, *words: str) -> dict[str, object]:
        plan = self._trying.plan
        self._say(f"{plan.director.host}: {' '.join(words)}")
        async with await connect(plan) as director:
            answer = await ask(director, plan, *words)
        command = shlex.join((*plan.director.dirtune.split(), *words))
        step(self._kept, f"ssh {plan.director.host} {command}", "switch of the arm")
        return answer


async def in_force(trying: Trying) -> str | None:
    """Return the journal by which the director has the fix; None if only somebody else's."""
    names = map(decide.check_of, trying.checks)
    async with await connect(trying.plan) as director:
        answer = await ask(director, trying.plan, "fix", "verify", *names, ok=(0, 1))
    mine = [name for name in standing(answer) if name not in trying.standing]
    return mine[-1] if mine else None


async def ask(
    director: Node, plan: Plan, *words: str, ok: tuple[int, ...] = (0,)
) -> dict[str, object]:
    """Have the director's own dirtune do it, and return what it says."""
    argv = (*plan.director.dirtune.split(), *words, "--format", "json")
    text = await director.run(argv, timeout_s=_FIX_S, ok=ok)
    return remote.parse_object(director.name, argv, text)


def standing(answer: Mapping[str, object]) -> tuple[str, ...]:
    """Return the journals that `fix verify` tells of, the oldest first, each once."""
    changes = msgspec.convert(answer.get("changes", ()), tuple[dict[str, object], ...])
    return tuple(dict.fromkeys(str(change["journal"]) for change in changes))


async def _before(
    nodes: rig.LiveRig, director: Node, trying: Trying, kept: Store, say: Say
) -> None:
    """Measure one quiet trial, look with the probe, and forecast."""
    say("one trial to warm up, and to know what a connection costs")
    rate = trying.plan.pair_rates[0]
    quiet = await conduct(nodes, trying.plan, Order("first", "A", "baseline", rate))
    kept.keep(quiet)
    if quiet.trial.validity == "setup_error":
        raise TrialError(f"{quiet.trial.reason}; what was measured is in {kept.folder}")
    snapshot, profiled = await _look(nodes, director, trying, kept, say, "before")
    if handlers_of(profiled) is not None:
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
    order = Order(f"profile-{arm}", arm, "profiled", trying.plan.pair_rates[0])
    profiled = await conduct(nodes, trying.plan, order)
    kept.keep(profiled)
    handlers, note = handlers_of(profiled), when
    if handlers is None:
        # Most fixes are judged without it; only the forecast of a shared line needs it.
        note = f"{when}; no handlers were timed: {_why_not(profiled)}"
        say(note)
    snapshot = replace(await snapshot_of(director), handlers=handlers)
    audited(kept, director.name, snapshot, when)
    step(kept, f"dirtune profile --during-bench && dirtune audit --host {director.name}", note)
    return snapshot, profiled


def audited(kept: Store, name: str, snapshot: Snapshot, when: str) -> None:
    """Put into the run what an audit says of *snapshot*, and the handlers that were timed."""
    audit = render_audit.audit(name, snapshot, checks.all_checks())
    timed = {} if snapshot.handlers is None else {when: snapshot.handlers}
    save(
        kept,
        handlers=kept.run.handlers | timed,
        audits=kept.run.audits | {when: render_audit.document(audit)},
    )


def foreseen(snapshot: Snapshot, profiled: Result, quiet: Trial) -> Forecast:
    """Return what separating the shared lines should bring, from the probed trial."""
    handlers = handlers_of(profiled)
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


def handlers_of(profiled: Result) -> HandlerWindow | None:
    """Return the handlers that a profiled trial timed; None if it timed none."""
    own = profiled.profile
    return own.probed.handlers if own and own.probed else None


async def snapshot_of(director: Node) -> Snapshot:
    """Return two samples of the director."""
    return take_all(parse_fetched(await director.run(fetch_script(interval_s=_INTERVAL_S))))


async def inventory(plan: Plan, director: Node) -> dict[str, dict[str, str]]:
    """Return what the nodes are."""
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
        value = "-" if cost is None else f"{cost:.0f} {METRICS[kept.run.primary_metric].unit}"
        why = f": {trial.reason}" if trial.reason else ""
        seen = trial.metrics.get("connections_per_s")
        rate = f"{trial.reply_rate:.0f} replies/s" if seen is None else f"{seen:.0f} connections/s"
        say(f"{trial.id}  {value}  {rate}  {trial.validity}{why}")

    return keep


def step(kept: Store, command: str, note: str) -> None:
    """Add something that was done to the run."""
    save(kept, steps=(*kept.run.steps, Step(now(), command, note)))


def save(kept: Store, **changes: object) -> None:
    """Change fields of the run, on disk as well."""
    kept.save(msgspec.structs.replace(kept.run, **changes))


def now() -> str:
    """Return the time of day in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
