"""Carry out a plan: save, journal, make, read back; undo everything if one step does not take."""

from collections.abc import Callable, Sequence

from dirtune.errors import ApplyError, DirtuneError
from dirtune.host import WritableHost
from dirtune.tune.plan import Action
from dirtune.tune.steps import Saved, make, require_made, save, undo

Done = tuple[Action, Saved]


def apply(
    actions: Sequence[Action], host: WritableHost, journal: Callable[[int, Saved], None]
) -> None:
    """Carry out *actions* in order, having *journal* keep what was there before each.

    On any failure, Ctrl-C included, what was done is undone, last first, and the failure is
    raised again. `ApplyError` then also names what could not be undone.
    """
    done: list[Done] = []
    try:
        for index, action in enumerate(actions):
            saved = save(action, host)
            journal(index, saved)
            done.append((action, saved))
            make(action, host)
            require_made(action, saved, host)
    except BaseException as error:  # Ctrl-C too: half a plan is worse than none
        stuck = roll_back(done, host)
        if stuck:
            raise ApplyError(f"{error}; could not undo: {'; '.join(stuck)}") from error
        raise


def roll_back(done: Sequence[Done], host: WritableHost) -> tuple[str, ...]:
    """Undo *done*, last first, trying every one; return what could not be undone and why."""
    stuck: list[str] = []
    for action, saved in reversed(done):
        try:
            undo(action, saved, host)
        except DirtuneError as error:
            stuck.append(str(error))
    return tuple(stuck)
