"""IPVS on another host: the dirtune there answers in JSON."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dirtune import signals
from dirtune.change.documents import AppliedDocument
from dirtune.change.plan import Plan
from dirtune.change.table import FRESH, Changes, edits
from dirtune.errors import NotPossible, ParseError
from dirtune.jobs import notes
from dirtune.jobs.directors import Applied, Planned
from dirtune.jobs.lvs_plans import ApplyOptions, PlanSource, sent
from dirtune.lvs.diff import Step, diff
from dirtune.lvs.documents import DirectorPlanDocument, LvsDocument, LvsPlanDocument, table_of
from dirtune.lvs.model import Seen, Table
from dirtune.plan.configuration import Configuration, Director

if TYPE_CHECKING:
    from dirtune.remote.far_dirtune import Answer, FarDirtune

_T = TypeVar("_T")
_READ_S = 60
_ANSWER_S = 300


def table(host: str, netns: str | None = None) -> tuple[Table, tuple[Seen, ...]]:
    """Return the IPVS table of *host*, with the counters of its services.

    With *netns*, it is the table of that network namespace of the host.
    """

    async def read() -> tuple[Table, tuple[Seen, ...]]:
        async with _director(Director(host, become=True), None) as far:
            return await _table(far, host, netns)

    return signals.run(read())


def planned(
    source: PlanSource, desired: Table, options: ApplyOptions, *, in_full: bool
) -> Planned:
    """Return what `apply` would change on the plan's director.

    Unless *in_full*, dirtune does not read the director's table: the result then has the JSON
    document, but no steps and an empty table.
    """
    configuration = source.configuration

    async def read() -> "tuple[Answer[DirectorPlanDocument], tuple[Step, ...], Table]":
        async with _director(configuration.director, configuration.ssh_config) as far:
            words = (
                "lvs",
                "plan",
                *drain_words(options.drain_s),
                *_through(options),
                "-",
                "--here",
            )
            answer = await far.ask(
                words,
                DirectorPlanDocument,
                ok=(0, 1),
                text=sent(configuration),
                timeout_s=_ANSWER_S,
            )
            if not in_full or options.checker or not answer.document.steps:
                return answer, (), FRESH
            steps, actual = await _steps(far, configuration, answer.document, desired)
            return answer, steps, actual

    answer, steps, actual = signals.run(read())
    _relay(configuration.director, answer.warnings)
    document = answer.document
    edited = edits(actual, desired, drain_s=options.drain_s) if steps else ()
    changes = Changes(document.modules, () if options.checker else edited)
    return Planned(document, changes, steps, actual, pending=answer.status == 1)


def require_ready(source: PlanSource, options: ApplyOptions) -> None:
    """Raise the error that `apply` would raise for the plan's director; change nothing."""
    _ask(source, (*_apply_words(options), "--dry-run"), DirectorPlanDocument, _ANSWER_S)


def apply(source: PlanSource, options: ApplyOptions) -> Applied:
    """Set up the plan's director with the dirtune there, and return the changes."""
    wait_s = (options.drain_s or 0) + _ANSWER_S
    done = _ask(source, _apply_words(options), AppliedDocument, wait_s)
    return Applied(Plan(done.changes, done.refusals), done.journal, done.confirm_s)


def drain_words(drain_s: float | None) -> tuple[str, ...]:
    """Return the option that sets how long connections to removed real servers may last."""
    return ("--no-drain",) if drain_s is None else (f"--drain-wait={drain_s:g}",)


def _through(options: ApplyOptions) -> tuple[str, ...]:
    return ("--through=keepalived", f"--checker={options.checker}") if options.checker else ()


def _apply_words(options: ApplyOptions) -> tuple[str, ...]:
    return (
        *("apply", *drain_words(options.drain_s)),
        *(f"--confirm={options.confirm_s:g}", *(f"--force={name}" for name in options.force)),
        *_through(options),
        *(("--load",) if options.load else ()),
        *((f"--expect={options.expect}",) if options.expect else ()),
    )


def _ask(source: PlanSource, words: Sequence[str], kind: type[_T], wait_s: float) -> _T:
    configuration = source.configuration

    async def ask() -> "Answer[_T]":
        async with _director(configuration.director, configuration.ssh_config) as far:
            return await far.ask(
                ("lvs", *words, "-", "--here"),
                kind,
                ok=(0, 1),
                text=sent(configuration),
                timeout_s=wait_s,
            )

    answer = signals.run(ask())
    _relay(configuration.director, answer.warnings)
    return answer.document


def _director(
    director: Director, ssh_config: str | None
) -> "AbstractAsyncContextManager[FarDirtune]":
    from dirtune.remote.far_dirtune import opened

    config = Path(ssh_config) if ssh_config else None
    return opened(
        director.host, ssh_config=config, become=director.become, program=director.dirtune
    )


async def _table(
    far: "FarDirtune", host: str, netns: str | None = None
) -> tuple[Table, tuple[Seen, ...]]:
    there = () if netns is None else (f"--netns={netns}",)
    answer = await far.ask(("lvs", "show", *there), LvsDocument, timeout_s=_READ_S)
    try:
        return table_of(answer.document)
    except (ParseError, NotPossible) as error:
        raise NotPossible(f"{host}: {error}") from error


async def _steps(
    far: "FarDirtune", configuration: Configuration, document: LvsPlanDocument, desired: Table
) -> tuple[tuple[Step, ...], Table]:
    """Return the steps to *desired*, computed on this host, and the table that they change.

    Raises `NotPossible` if the steps differ from those in *document*.
    """
    host = configuration.director.host
    actual = FRESH if "ip_vs" in document.modules else (await _table(far, host))[0]
    steps = diff(actual, desired)
    if [(step.verb, step.name) for step in steps] != [(s.verb, s.name) for s in document.steps]:
        raise NotPossible(
            f"{host}: the IPVS table changed while it was read. Run the command again."
        )
    return steps, actual


def _relay(director: Director, warnings: Sequence[str]) -> None:
    """Print the warnings of the other host's dirtune, each after the name of that host."""
    for row in warnings:
        notes.warning(f"{director.host}: {row}")
