"""Change this host so that it can be rolled back: lock, journal, watchdog, apply, confirm.

Only one set of changes is open at a time. It is settled when the user confirms it or rolls it
back. The watchdog rolls it back when the time to confirm is over, or immediately if the process
that applies the changes dies halfway.
"""

import os
import shlex
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dirtune import __version__
from dirtune.change import journal, network, origin
from dirtune.change.action import Action, Saved
from dirtune.change.apply import ON_THE_WAY, apply, carry_through, roll_back, undo_each
from dirtune.change.interfaces import BOOT_ID
from dirtune.change.origin import Origin
from dirtune.change.plan import Plan
from dirtune.change.record import (
    ASKED,
    Applied,
    Begun,
    Confirmed,
    Entry,
    Planned,
    RolledBack,
    State,
    Stuck,
)
from dirtune.errors import ApplyError, NotPossible, NotRecorded
from dirtune.host import Host, WritableHost
from dirtune.signals import undisturbed


@dataclass(frozen=True, slots=True)
class Place:
    """The folders in which dirtune records its changes to this host."""

    state: Path
    """The folder of the journals, which survives a reboot."""
    run: Path
    """The folder of the lock, which need not survive a reboot."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A journal's state after a command such as confirm."""

    journal: str
    state: State
    already: bool
    """Whether the journal already had this state before the command."""
    note: str = ""
    """A sentence if changes could not be undone, because their network namespace is gone."""


@dataclass(frozen=True, slots=True)
class _Kept:
    path: Path
    why: str = "the apply failed"

    def begun(self, index: int, saved: Saved) -> None:
        journal.append(self.path, Begun(index, saved))

    def applied(self) -> None:
        journal.append(self.path, Applied(journal.boot_clock_s()))

    def undone(self, stuck: tuple[str, ...], left: tuple[int, ...] | None = None) -> None:
        remain = msgspec.UNSET if left is None else left
        journal.append(self.path, Stuck(stuck, remain) if stuck else RolledBack(self.why))


def place(environ: Mapping[str, str] = os.environ) -> Place:
    """Return $DIRTUNE_STATE or /var/lib/dirtune, and $DIRTUNE_RUN or /run/dirtune."""
    state = environ.get("DIRTUNE_STATE") or "/var/lib/dirtune"
    run = environ.get("DIRTUNE_RUN") or "/run/dirtune"
    return Place(Path(state).absolute(), Path(run).absolute())


def carry_out(
    plan: Plan,
    host: WritableHost,
    at: Place,
    *,
    confirm_s: float = 0,
    forced: str | None = None,
    on_trial: str = "",
) -> str:
    """Apply *plan* and return the name of its journal, which records *forced* and *on_trial*.

    If *confirm_s* is above 0, unconfirmed changes are rolled back after that many seconds, and all
    changes immediately if this process dies halfway. Raises `ApplyError` if a change fails. All
    changes are then undone; the message names those for which the undo failed.
    """
    from dirtune.change.watchdog import arm  # noqa: PLC0415  (it imports this module)

    with journal.lock(at.run):
        _require_settled(at)
        planned = _planned(plan, host, at, confirm_s, forced, on_trial)
        path = journal.path_of(at.state, planned.journal)
        if confirm_s:
            # The watchdog must be there before the first change, in case this process dies.
            arm(path, at, sorted(_late_imports(plan)))
        journal.create(path, planned)
        count = _runtime(planned) if confirm_s else len(planned.changes)
        apply(_actions(planned)[:count], host, _Kept(path))
    return planned.journal


def confirm(at: Place, host: WritableHost, name: str | None = None) -> Settled:
    """Keep the applied changes, and make those that outlive a reboot.

    Raises `ApplyError` if the time to confirm is over, or if a change fails. All changes are
    rolled back then.
    """
    with journal.lock(at.run):
        path, entry = _in_time(at, host, name)
        already = entry.state is State.CONFIRMED
        if not already:
            _make_lasting(path, entry, host)
        return Settled(path.stem, State.CONFIRMED, already=already)


def renew(at: Place, host: WritableHost, name: str | None = None) -> Settled:
    """Restart the time to confirm; raises `ApplyError` if it is over."""
    with journal.lock(at.run):
        path, entry = _in_time(at, host, name)
        already = entry.state is State.CONFIRMED
        if not already:
            journal.append(path, Applied(journal.boot_clock_s()))
        return Settled(path.stem, entry.state, already=already)


def _in_time(at: Place, host: Host, name: str | None) -> tuple[Path, Entry]:
    """Return the journal *name*; raises `ApplyError` if it is too late to confirm it."""
    path = journal.find(at.state, name)
    entry = journal.load(path)
    if entry.state is State.ROLLED_BACK:
        raise ApplyError(f"{path.stem} was rolled back already. Apply the changes again.")
    _require_its_network(entry, host)
    if origin.lost(entry, boot_id(host)):
        raise ApplyError(f"{origin.gone(entry)} Run: dirtune rollback {shlex.quote(path.stem)}")
    left = entry.seconds_left(boot_id(host), journal.boot_clock_s())
    if entry.state is not State.CONFIRMED and (left is None or left <= 0):
        raise ApplyError(f"{path.stem} was not confirmed in time. Run: dirtune rollback")
    return path, entry


def _make_lasting(path: Path, entry: Entry, host: WritableHost) -> None:
    first = _runtime(entry.planned)
    again = [done for index, done in entry.begun if index >= first]
    with undisturbed() as section:
        try:
            with section.interruptible():
                # These changes are left from a confirmation that was interrupted.
                if again and (stuck := roll_back(again, host)):
                    raise ApplyError("; ".join(stuck))  # noqa: TRY301  (handled like any other failure)
                carry_through(_actions(entry.planned)[first:], host, _Kept(path), [], first=first)
                journal.append(path, Confirmed())
        except BaseException as error:
            undo_journal(path, host, "the confirmation failed")
            text = str(error).removesuffix(".")
            raise ApplyError(f"{text}. Everything was rolled back.") from error


def take_back(at: Place, host: WritableHost, name: str | None = None, why: str = ASKED) -> Settled:
    """Undo the changes of the journal *name*, or of the last journal if *name* is None.

    Raises `ApplyError`, with the names of the changes, if an undo fails. Raises `NotPossible` if a
    later journal changed the same setting and was not rolled back, because the later journal must
    be undone first. Raises `NotPossible` too if the changes were made in another network namespace
    that still exists. If that namespace is gone, only the changes outside it are undone.
    """
    with journal.lock(at.run):
        path = journal.find(at.state, name)
        entry = journal.load(path)
        if entry.state is State.ROLLED_BACK:
            return Settled(path.stem, State.ROLLED_BACK, already=True)
        _require_its_network(entry, host)
        _require_last(entry, at, host)
        note = origin.gone(entry) if origin.lost(entry, boot_id(host)) else ""
        undo_journal(path, host, why)
        return Settled(path.stem, State.ROLLED_BACK, already=False, note=note)


def undo_journal(path: Path, host: WritableHost, why: str) -> None:
    """Undo one journal; the caller must hold the lock. Signals take effect after the undo.

    Raises `NotRecorded` if everything was undone, but the journal cannot record that. Only
    `record_undo` must follow then, because the host's settings may since have changed.
    """
    with undisturbed():
        _undo(path, host, why)


def record_undo(path: Path, why: str) -> None:
    """Record that the journal *path* was undone; the caller must hold the lock."""
    _Kept(path, why).undone(())


def _undo(path: Path, host: WritableHost, why: str) -> None:
    entry = journal.load(path)
    if entry.state is not State.PLANNED:
        # If it is killed halfway, the journal can be neither kept nor confirmed.
        with suppress(NotPossible):  # a full disk does not prevent the undo
            journal.append(path, Stuck(ON_THE_WAY))
    # Another undo leaves alone what this one undoes, because somebody may set it anew meanwhile.
    done = entry.left
    if origin.of(entry.planned, boot_id(host)) is Origin.GONE:
        # Here, settings with the same names belong to another network.
        done = {number: pair for number, pair in done.items() if not pair[0].in_network}
    failures = undo_each(done, host)
    stuck, left = tuple(failures.values()), tuple(failures)
    # An undo that fails again and again must not fill the disk.
    if not (stuck and entry.rest[-1:] == (Stuck(stuck, left),)):
        try:
            _Kept(path, why).undone(stuck, left)
        except NotPossible as error:
            rest = f", except for these: {'; '.join(stuck)}" if stuck else ""
            raise (NotPossible if stuck else NotRecorded)(
                f"{error}. The changes were undone{rest}, but the journal cannot record that. "
                "Free some space or make the folder writable, then run dirtune rollback again."
            ) from error
    if stuck:
        quoted = shlex.quote(str(path))
        raise ApplyError(
            f"{path.stem}: could not undo: {'; '.join(stuck)}. Remove the cause, then run dirtune "
            "rollback again. Or undo the changes by hand, then move the journal away: "
            f"mv {quoted} {quoted}.damaged"
        )


def notices(at: Place, host: Host, *, settling: bool = False) -> tuple[str, ...]:
    """Return a sentence about open changes, and one about each unreadable journal.

    *settling* leaves out open changes, because the command is about to settle these changes.
    """
    now = journal.survey(at.state)
    first = now.unfinished[:1] if not settling else ()
    return (*(_open_line(path, at, host) for path in first), *now.unreadable)


def _open_line(path: Path, at: Place, host: Host) -> str:
    left = journal.load(path).seconds_left(boot_id(host), journal.boot_clock_s())
    if left is None and journal.locked(at.run):
        return f"{path.stem} is being applied or rolled back now."
    if left is None:
        return f"{path.stem} was not finished. Run: dirtune rollback"
    if left <= 0:
        return f"{path.stem} was not confirmed in time. Run: dirtune rollback"
    return f"{path.stem} will be rolled back in {left:.0f} s unless you run: dirtune confirm"


def unreadable(at: Place) -> tuple[str, ...]:
    """Return a sentence about each unreadable journal."""
    return journal.survey(at.state).unreadable


def boot_id(host: Host) -> str:
    """Return the kernel's identifier of this boot."""
    return host.read(BOOT_ID).strip()


def _runtime(planned: Planned) -> int:
    """Return the number of changes that are made before confirmation."""
    return sum(not change.lasting for change in planned.changes)


def _late_imports(plan: Plan) -> set[str]:
    return {module for change in plan.changes for module in change.action.late_imports}


def _actions(planned: Planned) -> tuple[Action, ...]:
    return tuple(change.action for change in planned.changes)


def _planned(
    plan: Plan, host: Host, at: Place, confirm_s: float, forced: str | None, on_trial: str
) -> Planned:
    seconds, rest_ns = divmod(time.time_ns(), 1_000_000_000)
    now = time.gmtime(seconds)
    stamp = f"{time.strftime('%Y%m%dT%H%M%S', now)}.{rest_ns // 1000:06d}Z"
    name = journal.next_name(at.state, stamp)
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", now)
    main = network.is_main()
    return Planned(
        journal=name,
        made=made,
        boot=boot_id(host),
        changes=plan.changes,
        confirm_s=confirm_s,
        forced=forced,
        version=__version__,
        on_trial=on_trial or msgspec.UNSET,
        network=network.here(),
        main_network=msgspec.UNSET if main is None else main,
    )


def _require_settled(at: Place) -> None:
    now = journal.survey(at.state)
    if now.unfinished:
        name = now.unfinished[0].stem
        back = shlex.join(("dirtune", "rollback", name))
        raise NotPossible(
            f"{name} was neither confirmed nor rolled back. Run dirtune confirm or {back} first."
        )
    if now.unreadable:
        raise NotPossible(f"{now.unreadable[0]} Until then dirtune changes nothing.")


def _require_its_network(entry: Entry, host: Host) -> None:
    if is_elsewhere(entry, host):
        raise NotPossible(origin.elsewhere(entry.planned, boot_id(host)))


def is_elsewhere(entry: Entry, host: Host) -> bool:
    """Whether the changes were made in another network namespace, which still exists."""
    return origin.of(entry.planned, boot_id(host)) is Origin.ELSEWHERE


def _require_last(entry: Entry, at: Place, host: Host) -> None:
    # The watchdog skips this check: while its journal is open, no later one can begin.
    mine = _set_by(entry, host)
    for later in standing(at):
        name = later.planned.journal
        if journal.is_later(name, entry.planned.journal) and (anew := mine & _set_by(later, host)):
            raise NotPossible(
                f"{entry.planned.journal} cannot be rolled back yet, because {name} set or saved "
                f"{min(anew)} after it. Run dirtune rollback {shlex.quote(name)} first."
            )


def _set_by(entry: Entry, host: Host) -> frozenset[str]:
    return frozenset().union(
        *(
            action.as_now(saved, host).targets | action.restored(saved, host)
            for action, saved in entry.done
        )
    )


def standing(at: Place) -> tuple[Entry, ...]:
    """Return the readable journals that were not rolled back, the oldest first."""
    entries = journal.entries(at.state)
    return tuple(entry for entry in entries if entry.state is not State.ROLLED_BACK)
