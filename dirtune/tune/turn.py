"""Try one fix: measure with and without it, judge the effect, and keep it or roll it back.

The order of the steps makes the result credible. The forecast is made before the first pair of
trials. No probe runs during judged trials. Each trial waits for an idle director, so that applying
the fix, or rolling it back, is not measured. A final audit of the director shows what the fix
changed.
"""

import itertools
import shlex
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from dirtune import remote
from dirtune.analyse import compare, lines, looks
from dirtune.analyse.arms import arms_of
from dirtune.analyse.forecast import forecast
from dirtune.analyse.handlers import HandlerWindow
from dirtune.analyse.peaks import sentences as peaks_of
from dirtune.analyse.run import Comparison, Forecast, Role, Run, Trial, TrialKind, Validity
from dirtune.analyse.verdict import sentence
from dirtune.bench import campaign, looking, rig, store
from dirtune.bench.outcome import Order
from dirtune.bench.protocols import Rig
from dirtune.bench.store import Store
from dirtune.bench.trial import Result, conduct
from dirtune.checks import audits, discovery, documents
from dirtune.collect.interrupts import Interrupts
from dirtune.errors import NoVerdict, TrialError
from dirtune.fetch import ANSWER_S, fetch_script, parse_fetched
from dirtune.plan.metrics import METRICS
from dirtune.plan.tables import Plan
from dirtune.remote import Node
from dirtune.signals import to_the_end
from dirtune.snapshot import Snapshot, take_all
from dirtune.tune import decide, director, peaks
from dirtune.tune.decide import Trying
from dirtune.tune.director import Say, Switch
from dirtune.tune.live import window
from dirtune.tune.record import now, save, step

_INTERVAL_S = 2
Take = Callable[[], Awaitable[Snapshot]]
"""A function that returns a snapshot of the director."""


def begin(trying: Trying, out: Path, *, paired: bool = True) -> Store:
    """Create the folder of the run, to which steps and trials are added as they happen.

    If the trials are *paired*, the run records the looks (interim tests) that the plan asks for. A
    comparison of boots has none.
    """
    load = trying.plan.load
    return store.begin(
        out,
        trying.plan,
        title=trying.title,
        command=trying.command,
        scenario=trying.scenario,
        looks=looks.planned(load.pairs, load.at_most) if paired else None,
    )


async def turn(
    trying: Trying,
    kept: Store,
    say: Say,
    *,
    live: bool = False,
    snapshot: Snapshot | None = None,
) -> Run:
    """Measure one fix, or continue an interrupted run, and return the finished run.

    If *live* is True, dirtune measures real traffic, sends no load, and loads no probe. At the
    end, the director has the fix if `decide.keeps` says so, and the run records this outcome. A
    *snapshot* of the director that was taken just before saves another one.
    """
    plan = trying.plan
    measure = window if live else conduct
    async with rig.opened(plan, alone=live) as nodes, director.opened(plan) as far:
        switch = Switch(trying, kept, say, far)

        async def leased(nodes: Rig, plan: Plan, order: Order) -> Result:
            result = await measure(nodes, plan, order)
            await switch.renew()
            return result

        try:
            if kept.resumed:
                await switch.look()
                await switch("A")
            if "before" not in kept.run.audits:
                async with await director.connect(plan) as node:
                    save(kept, inventory=await inventory(plan, node, await far.version()))
                    if live:
                        await _audit(node, kept, "before")
                    else:
                        take = _taken(node, snapshot)
                        await _before(nodes, take, trying, kept, say)
            if not live:
                await _peak(nodes, plan, kept, "A", say)
            await run_pairs(trying, kept, nodes, switch, say, leased)
            await switch("B")
            if not live:
                await _peak(nodes, plan, kept, "B", say)
            async with await director.connect(plan) as node:
                if live:
                    await _audit(node, kept, "after")
                else:
                    await _look(nodes, _taken(node), trying, kept, say, "after")
            judged(trying, kept)
            await to_the_end(switch.leave(*verdict_of(trying, kept.run)))
        except BaseException:  # Ctrl-C too: the director must not keep a half-applied fix
            await to_the_end(switch.abandon())
            raise
    save(kept, finished=now())
    return kept.run


async def _peak(nodes: rig.LiveRig, plan: Plan, kept: Store, arm: str, say: Say) -> None:
    """Measure the peak in *arm*, if the plan asks for it; the peak decides nothing.

    The peak without the fix comes before the pairs and the peak with it after them, so that no
    further switch is needed.
    """
    if plan.compare.peak_trials:
        with_ = {"A": "without", "B": "with"}[arm]
        say(f"measuring the peak {with_} the fix, with {peaks.GENERATOR}")
        await peaks.measure(nodes, plan, kept, arm, keeping(kept, say))


async def run_pairs(
    trying: Trying,
    kept: Store,
    nodes: Rig,
    switch: campaign.Switch,
    say: Say,
    measure: campaign.Measure = conduct,
) -> None:
    """Run the missing pairs of trials, with the planned looks (interim tests)."""

    async def reach(plan: Plan) -> None:
        done, keep = kept.run.trials, keeping(kept, say, 2 * plan.load.pairs)
        await campaign.pairs(nodes, plan, switch, keep, done=done, measure=measure)

    def judge() -> Comparison:
        return _judged_at(trying, kept, trying.plan.compared_at[0])[0]

    await looking.pairs(trying.plan, kept, reach, judge, say)


def _taken(director: Node, snapshot: Snapshot | None = None) -> Take:
    """Return a function that returns *snapshot*; without it, one that takes a new snapshot."""

    async def take() -> Snapshot:
        return snapshot or await snapshot_of(director)

    return take


async def _audit(director: Node, kept: Store, when: str) -> None:
    """Audit the director without probes, and add the audit to the run."""
    audited(kept, director.name, await snapshot_of(director), when)
    step(kept, f"dirtune audit --host {shlex.quote(director.name)}", when)


def verdict_of(trying: Trying, run: Run) -> tuple[str, str]:
    """Return the arm in which to leave the director (B keeps the fix), and the reason."""
    keep, why = decide.keeps(
        run.comparisons[0].verdict, mends=trying.mends, equivalent=trying.keep_equivalent
    )
    return ("B" if keep else "A"), why


def judged(trying: Trying, kept: Store) -> None:
    """Compare trials with and without the fix at each rate, and write the verdict into the run."""
    plan, primary, trials = trying.plan, kept.run.primary_metric, kept.run.trials
    if not any(primary in trial.metrics for trial in trials):
        raise NoVerdict(f"No trial measured {primary}. The trials are in {kept.folder}.")
    at_rates = [_judged_at(trying, kept, rate) for rate in plan.compared_at]
    first, *others = (comparisons[0] for comparisons in at_rates)
    sentences = [sentence(first, kept.run.forecast), *map(sentence, others)]
    if kept.run.looks is not None:
        sentences.append(looks.described(kept.run.looks))
    sentences += peaks_of(trials, kept.run.forecast)
    comparisons = looks.with_design((*itertools.chain.from_iterable(at_rates),), kept.run.looks)
    save(kept, comparisons=comparisons, verdict=" ".join(sentences))


def _judged_at(trying: Trying, kept: Store, rate: float | None) -> tuple[Comparison, ...]:
    trials, own_floor = kept.run.trials, not trying.still

    def noise_floor(metric: str) -> float | None:
        if own_floor:
            return compare.own_floor_of(trials, metric, rate, trying.covariate(metric))
        return trying.noise_floor(metric, rate, trying.covariate(metric))

    comparisons = compare.compare_all(
        kept.run.primary_metric,
        lambda metric: arms_of(trials, metric, rate, trying.covariate(metric)),
        noise_floor,
        threshold=trying.plan.compare.threshold / 100,
        rate=rate,
        alpha=looks.alpha(kept.run.looks),
    )
    return compare.with_floor(comparisons, own=own_floor)


async def _before(nodes: rig.LiveRig, take: Take, trying: Trying, kept: Store, say: Say) -> None:
    """Run one trial without probes and one with probes, and forecast the effect of the fix."""
    say("running a warm-up trial, which also measures the CPU time per connection")
    rate = trying.plan.pair_rates[0]
    quiet = await conduct(nodes, trying.plan, Order("first", "A", TrialKind.BASELINE, rate))
    kept.keep(quiet)
    if quiet.trial.validity == Validity.SETUP_ERROR:
        raise TrialError(f"{quiet.trial.reason}. The trials so far are in {kept.folder}.")
    snapshot, profiled = await _look(nodes, take, trying, kept, say, "before")
    if snapshot.handlers is not None:
        save(kept, forecast=foreseen(snapshot, snapshot.handlers, profiled.trial, quiet.trial))


async def _look(
    nodes: rig.LiveRig,
    take: Take,
    trying: Trying,
    kept: Store,
    say: Say,
    when: str,
) -> tuple[Snapshot, Result]:
    """Run one trial with probes, then audit the director with the handler times of that trial."""
    say(f"running a trial with probes {when} the fix")
    arm = {"before": "A", "after": "B"}[when]
    order = Order(f"profile-{arm}", arm, TrialKind.PROFILED, trying.plan.pair_rates[0])
    profiled = await conduct(nodes, trying.plan, order)
    kept.keep(profiled)
    handlers, note = handlers_of(profiled), when
    if handlers is None:
        # Only the forecast for a shared interrupt line needs the times of handlers.
        reason = f"no interrupt handlers were timed: {_why_not(profiled)}"
        note = f"{when} the fix; {reason}"
        say(reason)
    host = trying.plan.director.host
    snapshot = replace(await take(), handlers=handlers)
    audited(kept, host, snapshot, when)
    step(kept, f"dirtune profile --during-bench && dirtune audit --host {shlex.quote(host)}", note)
    return snapshot, profiled


def audited(kept: Store, name: str, snapshot: Snapshot, when: str) -> None:
    """Add an audit of *snapshot* to the run, with the handler times that *snapshot* holds."""
    audit = audits.of_snapshot(name, snapshot, discovery.all_checks())
    timed = {} if snapshot.handlers is None else {when: snapshot.handlers}
    save(
        kept,
        handlers=kept.run.handlers | timed,
        audits=kept.run.audits | {when: documents.of_audit(audit)},
    )


def foreseen(
    snapshot: Snapshot, handlers: HandlerWindow, profiled: Trial, quiet: Trial
) -> Forecast:
    """Return the expected gain if NICs no longer share their interrupt lines.

    *handlers* were timed in the trial *profiled*; the CPU time per connection comes from the trial
    *quiet*, in which no probes ran.
    """
    table = snapshot.interrupts or Interrupts((), ())
    cards = lines.nic_actions(table, snapshot.pci, snapshot.interfaces)
    shared = (
        line for line in table.numbered if line.shared and not cards.isdisjoint(line.actions)
    )
    return forecast(
        handlers,
        (int(line.irq) for line in shared),
        cards,
        profiled.counters.get("connections"),
        quiet.metrics.get("cpu_us_per_connection"),
    )


def _why_not(profiled: Result) -> str:
    """Return the reason why the trial *profiled* has no times of interrupt handlers."""
    own = profiled.profile
    missing = own.probed.missing if own and own.probed else ()
    reasons = [": ".join(filter(None, (one.why, one.remedy))) for one in missing]
    return profiled.trial.reason or "; ".join(reasons) or "no handlers were timed"


def handlers_of(profiled: Result) -> HandlerWindow | None:
    """Return the times of interrupt handlers from the trial *profiled*; None if it has none."""
    own = profiled.profile
    return own.probed.handlers if own and own.probed else None


async def snapshot_of(director: Node) -> Snapshot:
    """Return a snapshot of the director, made from two samples some seconds apart."""
    script = fetch_script(interval_s=_INTERVAL_S)
    answer = await director.run(
        script, timeout_s=ANSWER_S + _INTERVAL_S, most_bytes=remote.FETCHED_BYTES
    )
    return take_all(parse_fetched(answer))


async def inventory(plan: Plan, director: Node, version: str) -> dict[str, dict[str, str]]:
    """Return facts about each node, such as its kernel release, by the name of the node.

    *version* is that of the director's dirtune.
    """
    facts = await director.run(
        "uname -r; uname -v; cat /proc/cmdline; grep -m1 'model name' /proc/cpuinfo || echo; "
        "grep -c ^processor /proc/cpuinfo; cat /sys/module/ip_vs/srcversion 2>/dev/null || echo"
    )
    names = ("kernel", "build", "command line", "cpu", "cpus", "ip_vs srcversion")
    known = dict(zip(names, facts.splitlines(), strict=False))
    others = (*plan.real_servers, *plan.clients)
    return {
        director.name: {"role": Role.DIRECTOR, "dirtune": version, **known},
        **{peer.label: {"host": peer.host, "address": peer.address or ""} for peer in others},
    }


def keeping(kept: Store, say: Say, trials: int | None = None) -> Callable[[Result], None]:
    """Return a function that writes a trial to disk, and reports the trial in one line.

    If the number of judged *trials* that the run needs is known, the line also estimates how long
    the rest of them will take.
    """
    began, before = time.monotonic(), _counted(kept.run)

    def keep(result: Result) -> None:
        kept.keep(result)
        trial = result.trial
        cost = trial.metrics.get(kept.run.primary_metric)
        value = "-" if cost is None else f"{cost:.0f} {METRICS[kept.run.primary_metric].unit}"
        why = f": {trial.reason}" if trial.reason else ""
        seen = trial.metrics.get("connections_per_s")
        rate = f"{trial.reply_rate:.0f} replies/s" if seen is None else f"{seen:.0f} connections/s"
        count = _counted(kept.run)
        left = _left(time.monotonic() - began, count - before, (trials or 0) - count)
        say(f"{trial.id}  {value}  {rate}  {trial.validity}{why}{left}")

    return keep


def _counted(run: Run) -> int:
    return sum(trial.kind == TrialKind.JUDGED and trial.valid for trial in run.trials)


def _left(passed_s: float, done: int, missing: int) -> str:
    """Return how long *missing* trials will take, if *done* trials took *passed_s* seconds."""
    if done < 1 or missing < 1:
        return ""
    minutes = passed_s / done * missing / 60
    return f"  (about {minutes:.0f} min left)" if minutes >= 1 else "  (less than 1 min left)"
