"""What `dirtune tune` is made of: the plan, how the director is booted, and the report."""

from pathlib import Path

import msgspec

from dirtune import plan as plans
from dirtune import signals
from dirtune.analyse import compare
from dirtune.analyse.run import Run, Trial, Verdict
from dirtune.bench import relative, store
from dirtune.checks import Risk
from dirtune.errors import PlanError
from dirtune.jobs import booting, notes, reports
from dirtune.plan.tables import Plan
from dirtune.render import tune as render
from dirtune.signals import Ended
from dirtune.tune import decide, live, session
from dirtune.tune.decide import Session
from dirtune.tune.session import Kept, Request, Tune

_LIVE_PAIRS = 8


def plan(path: Path, live_s: float | None, pairs: int | None) -> Plan:
    """Return the plan at *path*, or what is made of it to measure live traffic."""
    if live_s is not None:
        return live.plan(plans.read_traffic(path), live_s, pairs or _LIVE_PAIRS)
    found = plans.read(path)
    load = found.load if pairs is None else msgspec.structs.replace(found.load, pairs=pairs)
    return msgspec.structs.replace(found, load=load)


def tune(found: Plan, out: Path, boots: int, noise: Path | None) -> Tune:
    """Return what stays the same over the session; a lab is booted without being asked."""
    still: tuple[Trial, ...] = ()
    if noise is not None:
        still = store.load(noise).trials
        try:
            _require_noise_floors(found, still)
        except PlanError as error:
            remedy = "`dirtune bench run --aa` of this plan has them"
            raise PlanError(f"{noise}: {error}; {remedy}") from error
        found = relative.calibrated(found, still)
    return Tune(
        plan=found,
        out=out,
        say=_say,
        finished=_reported,
        boot=_reboot if booting.possible(found) else None,
        boots=boots,
        still=still,
    )


def _require_noise_floors(plan: Plan, still: tuple[Trial, ...]) -> None:
    primary = plan.compare.primary
    for rate in plan.compared_at:
        if compare.floor_of(still, primary, rate or plan.pair_rates[0]) is None:
            raise PlanError(compare.no_noise_floor(primary))


def run(tune: Tune, asked: Request | None) -> tuple[Kept, str | None]:
    """Begin a session, or go on with the last one for None; return it and what it waits for."""
    reports.renderer()  # hours later is no time to miss it
    if asked is None:
        kept = session.resume(tune.out, tune.plan, _say)
    else:
        kept = signals.run(session.begin(tune, asked))
    _say(f"session {kept.folder}")
    try:
        done = signals.run(session.go_on(tune, kept))
    except Ended as error:
        raise Ended(error.number, _left_as(kept, tune.plan.director.host)) from error
    host = tune.plan.director.host
    waits = None if done else f"boot {host}, then run the same command with --resume"
    text = render.markdown(results(tune, kept.session, waits))
    store.write(kept.folder / "report.md", text.encode())
    return kept, waits


def _left_as(kept: Kept, host: str) -> str:
    """Say how the director is left by a session that a signal ended."""
    number = decide.upcoming(kept.session)
    attempt = None if number is None else kept.session.attempts[number]
    on = f"the same command with --resume goes on with {kept.folder}"
    if attempt is None or attempt.risk is Risk.REBOOT:  # of boots, the loop has said it
        return on
    # A run may be over, and its fix kept, before the session tells of it.
    run = None if attempt.run is None else store.load(kept.folder.parent / attempt.run)
    if run is not None and run.journal is not None:
        return f"{attempt.name} is kept on {host}, journal {run.journal}; {on}"
    return f"{attempt.name} is not in force on {host}; {on}"


def status(found: Session) -> int:
    """Return the exit status: 2 if an attempt failed, else 1 if a fix made it worse."""
    if any(each.outcome == "failed" for each in found.attempts):
        return 2
    verdicts = (each.comparison.verdict for each in found.attempts if each.comparison)
    return 1 if Verdict.REGRESSED in verdicts else 0


def results(tune: Tune, found: Session, waits: str | None) -> render.Results:
    """Return the results of a session; *waits* is what it waits for, if anything."""
    rows = tuple(
        render.Row(
            name=each.name,
            risk=each.risk,
            outcome=each.outcome,
            why=each.why,
            journal=each.journal,
            run=None if each.run is None else f"../{each.run}",
            titles=each.titles,
            comparison=each.comparison,
            sentence=each.sentence,
        )
        for each in found.attempts
    )
    return render.Results(
        title=found.title,
        host=tune.plan.director.host,
        started=found.started,
        command=found.command,
        finished=found.finished,
        rows=rows,
        notes=found.notes,
        waits=waits,
    )


def _reported(run: Run, folder: Path) -> None:
    reports.write(run, folder)


def _reboot() -> None:
    from dirtune.lab import lifecycle

    lifecycle.reboot(_say)


def _say(text: str) -> None:
    notes.progress(f"  {text}")
