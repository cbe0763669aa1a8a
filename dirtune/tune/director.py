"""Run commands of the dirtune that is installed on the director."""

import shlex
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from dirtune import remote
from dirtune.analyse.run import Validity
from dirtune.bench.store import Store
from dirtune.bench.trial import Result
from dirtune.change.documents import AppliedDocument, SettledDocument, VerifyDocument
from dirtune.errors import DirtuneError, NotPossible, TrialError
from dirtune.plan.tables import Plan
from dirtune.remote import Node, staying
from dirtune.remote.far_dirtune import FarDirtune
from dirtune.remote.staying import Staying
from dirtune.signals import to_the_end
from dirtune.tune.decide import Trying, check_of, lease_s, trial_s
from dirtune.tune.record import save, step

Say = Callable[[str], None]

T = TypeVar("T")

_FIX_S = 300
_RESUME = "To continue, run the same command with --resume."


async def connect(plan: Plan) -> Node:
    """Connect to the director of *plan*."""
    config = None if plan.ssh_config is None else Path(plan.ssh_config)
    return await remote.connect(plan.director.host, ssh_config=config, become=plan.director.become)


async def in_force(trying: Trying, run: str) -> str | None:
    """Return the director's journal for the fix that *run* tries; None if the fix is not active.

    A fix of the same check that somebody else applied, at whatever time, does not count.
    """
    async with await connect(trying.plan) as director:
        answer = await ask(director, trying.plan, _verify(trying), VerifyDocument, ok=(0, 1))
    return _journal_of(run, answer)


def _verify(trying: Trying) -> tuple[str, ...]:
    return ("fix", "verify", *map(check_of, trying.checks))


def _journal_of(run: str, answer: VerifyDocument) -> str | None:
    mine = [change.journal for change in answer.changes if change.on_trial == run]
    return mine[-1] if mine else None


async def ask(
    director: Node, plan: Plan, words: Sequence[str], kind: type[T], *, ok: tuple[int, ...] = (0,)
) -> T:
    """Run a dirtune command on the director, and return the JSON document that it printed.

    *words* are the arguments of the command, *kind* is the type of the document, and *ok* holds
    the accepted exit statuses.
    """
    far = FarDirtune(director, plan.director.dirtune)
    return (await far.ask(words, kind, timeout_s=_FIX_S, ok=ok)).document


class Director:
    """The director's dirtune, which stays there between the commands of a run.

    A lost connection does not keep a fix active: the next command makes a new one.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._node: Node | None = None
        self._dirtune: Staying | None = None

    async def version(self) -> str:
        """Return the version of the director's dirtune."""
        return (await self._ready()).version

    async def ask(self, words: Sequence[str], kind: type[T], *, ok: tuple[int, ...] = (0,)) -> T:
        """Run a dirtune command on the director, and return the JSON document that it printed."""
        dirtune = await self._ready()
        return (await dirtune.ask(words, kind, timeout_s=_FIX_S, ok=ok)).document

    async def _ready(self) -> Staying:
        if self._dirtune is None or not self._dirtune.alive:
            await self.close()
            self._node = await connect(self._plan)
            far = FarDirtune(self._node, self._plan.director.dirtune)
            self._dirtune = await staying.start(far)
        return self._dirtune

    async def close(self) -> None:
        """End the director's dirtune, and close the connection."""
        node, dirtune = self._node, self._dirtune
        self._node = self._dirtune = None
        try:
            if dirtune is not None:
                await dirtune.end()
        finally:
            if node is not None:
                await node.close()


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Director]:
    """Return the director's dirtune, and end it after the context."""
    director = Director(plan)
    try:
        yield director
    finally:
        await to_the_end(director.close())


class Switch:
    """A callable that applies a fix on the director (arm B) or rolls it back (arm A).

    A fix on trial has a lease: if dirtune does not renew the lease in time, the director rolls the
    fix back by itself. A command costs the director CPU time, so the lease is renewed only when it
    might end during the next trial. Whether the fix was in force in a trial is known when the next
    command finds it so; if it was not, the trials since the last command no longer count.
    """

    def __init__(self, trying: Trying, kept: Store, say: Say, director: Director) -> None:
        self._trying = trying
        self._director = director
        self._kept = kept
        self._say = say
        self._journal: str | None = None
        self._last: str | None = None
        """The journal that this run rolled back last."""
        self._lease_s = lease_s(trying.plan)
        self._trial_s = trial_s(trying.plan)
        self._until_s = 0.0
        """The end of the lease, by this machine's monotonic clock."""
        self._proven = frozenset(trial.id for trial in kept.run.trials)
        """The ids of the trials up to the last command that found the fix in force."""

    async def look(self) -> None:
        """Read from the director whether the run, if interrupted, left the fix in force there."""
        answer = await self._director.ask(_verify(self._trying), VerifyDocument, ok=(0, 1))
        self._journal = _journal_of(self._kept.run.id, answer)

    async def __call__(self, arm: str) -> None:
        """Apply the fix if *arm* is B, or roll it back if *arm* is A.

        Raises `TrialError` if the fix was no longer in force.
        """
        if arm == "B" and self._journal is None:
            began_s = time.monotonic()
            fix = (
                ("apply", *self._trying.checks) if self._last is None else ("reapply", self._last)
            )
            options = ("--confirm", f"{self._lease_s}", "--on-trial", self._kept.run.id)
            words = ("fix", *fix, *options)
            journal = (await self._dirtune(words, AppliedDocument)).journal
            if journal is None:
                names = ", ".join(self._trying.checks)
                raise NotPossible(
                    f"{names}: `dirtune fix apply` found nothing to change on the director, so "
                    "somebody else has fixed the finding there, and the fix cannot be measured"
                )
            self._journal, self._until_s = journal, began_s + self._lease_s
            self._in_force()
        elif arm == "B":
            await self._renew()
        elif self._journal is not None:
            undone = await self._dirtune(("rollback", self._journal), SettledDocument)
            self._journal, self._last = None, self._journal
            if undone.already:
                raise self._not_in_force(f"{undone.journal} was rolled back already")
            self._in_force()

    async def renew(self) -> None:
        """Renew the lease of the fix if it might end during the next trial.

        Do nothing if no fix is active. Raises `TrialError` if the lease has already ended.
        """
        if self._journal is not None and self._until_s - time.monotonic() < self._trial_s:
            await self._renew()

    async def _renew(self) -> None:
        began_s = time.monotonic()
        words = ("confirm", "--renew", str(self._journal))
        try:
            await self._director.ask(words, SettledDocument)
        except NotPossible as error:
            raise self._not_in_force(str(error)) from error
        self._until_s = began_s + self._lease_s
        self._in_force()

    def _in_force(self) -> None:
        self._proven = frozenset(trial.id for trial in self._kept.run.trials)

    def _not_in_force(self, why: str) -> TrialError:
        """Invalidate the trials with the fix since it was last found in force."""
        for trial in self._kept.run.trials:
            if trial.arm == "B" and trial.valid and trial.id not in self._proven:
                void = msgspec.structs.replace(
                    trial, validity=Validity.SETUP_ERROR, reason="the fix was not in force"
                )
                self._kept.keep(Result(void, {}))
        return TrialError(f"{why}. The last trials with the fix do not count. {_RESUME}")

    async def settle(self, arm: str) -> None:
        """Switch the director to *arm* permanently, without a lease."""
        if arm == "A" or self._journal is None:
            await self(arm)
        if self._journal is not None:
            try:
                await self._dirtune(("confirm", self._journal), SettledDocument)
            except NotPossible as error:
                raise self._not_in_force(str(error)) from error

    async def leave(self, arm: str, why: str) -> None:
        """Leave the director in *arm* permanently, and record this step in the run.

        If this fails, raises `TrialError` with the command that rolls the fix back.
        """
        try:
            await self.settle(arm)
        except DirtuneError as error:
            raise TrialError(f"{error}. {self.way_out}") from error
        words = "kept the fix" if arm == "B" else "rolled the fix back"
        step(self._kept, f"# {words}", why)
        save(self._kept, journal=self._journal)

    async def abandon(self) -> None:
        """Leave the director in arm A, without the fix, after a failure.

        If this fails, raises `TrialError` with the command that rolls the fix back.
        """
        try:
            await self.look()  # the fix may be active even if the answer to `fix apply` was lost
        except DirtuneError as error:
            if self._journal is None:
                raise TrialError(f"{error}. {self.way_out}") from error
        await self.leave("A", "the run was interrupted")

    @property
    def way_out(self) -> str:
        """A message that says if the fix is still active, and how to roll it back."""
        host, names = self._trying.plan.director.host, ", ".join(self._trying.checks)
        if self._journal is None:
            return (
                f"The fix for {names} may still be in force on {host}. To check, run "
                "`dirtune fix verify` there."
            )
        undo = shlex.join(("dirtune", "rollback", self._journal))
        return (
            f"The fix for {names} stays in force on {host} for up to {self._lease_s} s. "
            f"To roll it back now, run there: {undo}"
        )

    async def _dirtune(self, words: Sequence[str], kind: type[T]) -> T:
        plan = self._trying.plan
        self._say(f"{plan.director.host}: {' '.join(words)}")
        answer = await self._director.ask(words, kind)
        # The shell on the director splits the command once more.
        there = shlex.join((*plan.director.dirtune.split(), *words))
        command = shlex.join(("ssh", plan.director.host, there))
        step(self._kept, command, "switches the arm")
        return answer
