"""The job of `dirtune tune`: read the plan, and run a session."""

from functools import partial
from pathlib import Path

from dirtune import plan as plans
from dirtune import signals
from dirtune.analyse import compare
from dirtune.analyse.run import Trial, Verdict
from dirtune.bench import relative, store
from dirtune.checks import Risk
from dirtune.errors import PlanError
from dirtune.jobs import booting, notes
from dirtune.plan import checking
from dirtune.plan.tables import Plan
from dirtune.remote import far_dirtune
from dirtune.signals import Ended
from dirtune.tune import decide, director, live, session
from dirtune.tune.decide import Session
from dirtune.tune.session import Finished, Kept, Request, Tune

_LIVE_PAIRS = 8


def plan(path: Path, live_s: float | None, pairs: int | None, at_most: int | None = None) -> Plan:
    """Return the plan at *path*, or with *live_s* a plan that measures live traffic.

    *live_s* is the length of a window in seconds. With *pairs* and without *at_most*, the
    results are judged once, after all pairs. Raises `PlanError` if *at_most* is not twice the
    number of pairs.
    """
    if live_s is not None:
        traffic = plans.read_traffic(path)
        whole = live.plan(traffic, live_s, pairs or _LIVE_PAIRS, at_most)
        checking.check_looks(whole.load)
        return whole
    return plans.with_pairs(plans.read(path), pairs, at_most)


def tune(plan: Plan, out: Path, boots: int, noise: Path | None, finished: Finished) -> Tune:
    """Return the settings of a session; dirtune boots only a lab's director by itself.

    *noise* is the folder of an A/A run; raises `PlanError` if that run has no noise floor for a
    compared rate. *finished* writes the report of each run.
    """
    still: tuple[Trial, ...] = ()
    if noise is not None:
        still = store.load(noise).trials
        try:
            _require_noise_floors(plan, still)
        except PlanError as error:
            remedy = "Make an A/A run of this plan with `dirtune bench run --aa`."
            raise PlanError(f"{noise}: {error} {remedy}") from error
        plan = relative.calibrated(plan, still)
    return Tune(
        plan=plan,
        out=out,
        say=_say,
        finished=finished,
        boot=_reboot if booting.possible(plan) else None,
        boots=boots,
        still=still,
    )


def _require_noise_floors(plan: Plan, still: tuple[Trial, ...]) -> None:
    primary, covariate = plan.compare.primary, plan.compare.covariate
    for rate in plan.compared_at:
        if compare.floor_of(still, primary, rate or plan.pair_rates[0], covariate) is None:
            raise PlanError(compare.no_noise_floor(primary))


def run(tune: Tune, request: Request | None) -> tuple[Kept, str | None]:
    """Begin a session, or continue the last one if *request* is None.

    Return the session and the operator's next step; the step is None if the session is
    finished.
    """
    if request is None:
        kept = session.resume(tune.out, tune.plan, _say)
    else:
        kept = signals.run(session.begin(tune, request))
    _say(f"session {kept.folder}")
    try:
        done = signals.run(_go_on(tune, kept))
    except Ended as error:
        raise Ended(error.number, _left_as(kept, tune.plan.director.host)) from error
    host = tune.plan.director.host
    waits = None if done else f"boot {host}, then run the same command with --resume"
    return kept, waits


async def _go_on(tune: Tune, kept: Kept) -> bool:
    """Carry out the remaining attempts, which send dirtune to the director at most once."""
    connect = partial(director.connect, tune.plan)
    async with far_dirtune.lending(tune.plan.director.host, connect):
        return await session.go_on(tune, kept)


def _left_as(kept: Kept, host: str) -> str:
    """Return a clause that says how the director was left when a signal ended the session."""
    number = decide.upcoming(kept.session)
    attempt = None if number is None else kept.session.attempts[number]
    on = f"the same command with --resume continues {kept.folder}"
    if attempt is None or attempt.risk is Risk.REBOOT:  # for boots, the loop has printed the state
        return on
    # A run may be over and its fix kept before the session is written.
    run = None if attempt.run is None else store.load(kept.folder.parent / attempt.run)
    if run is not None and run.journal is not None:
        return f"{attempt.name} is kept on {host}, journal {run.journal}; {on}"
    return f"{attempt.name} is not in force on {host}; {on}"


def status(record: Session) -> int:
    """Return the exit status: 2 if an attempt failed, else 1 if a fix made the director worse."""
    if any(attempt.outcome == "failed" for attempt in record.attempts):
        return 2
    verdicts = (attempt.comparison.verdict for attempt in record.attempts if attempt.comparison)
    return 1 if Verdict.REGRESSED in verdicts else 0


def _reboot() -> None:
    from dirtune.lab import lifecycle

    lifecycle.reboot(_say)


def _say(text: str) -> None:
    notes.progress(f"  {text}")
