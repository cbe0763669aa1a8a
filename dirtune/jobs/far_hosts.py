"""Changes and profiles on another host, made by a dirtune there."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from dirtune import signals
from dirtune.analyse.profile import Profile
from dirtune.change.documents import (
    AppliedDocument,
    PlanDocument,
    SettledDocument,
    VerifyDocument,
)
from dirtune.jobs import notes

if TYPE_CHECKING:
    from dirtune.remote.far_dirtune import Answer

_T = TypeVar("_T")
_FIX_S = 300
_PROBE_MORE_S = 180


def planned(host: str, checks: Sequence[str]) -> PlanDocument:
    """Return the changes that `fix apply` would make on *host*."""
    return _relayed(host, ("fix", "plan", *checks), PlanDocument).document


def applied(host: str, words: Sequence[str]) -> AppliedDocument:
    """Run `fix` with *words*, which apply changes on *host*, and return the changes."""
    return _relayed(host, ("fix", *words), AppliedDocument).document


def verified(host: str, checks: Sequence[str]) -> tuple[VerifyDocument, int]:
    """Return whether each change on *host* is still in effect, and the exit status."""
    answer = _relayed(host, ("fix", "verify", *checks), VerifyDocument, ok=(0, 1))
    return answer.document, answer.status


def settled(host: str, command: str, journal: str | None) -> SettledDocument:
    """Run *command*, `confirm` or `rollback`, on *host*: for *journal*, or the last changes."""
    return _relayed(host, (command, *((journal,) if journal else ())), SettledDocument).document


def profile(host: str, seconds: float, probes: Sequence[str], max_overhead: float) -> Profile:
    """Return the profile of *host* for *seconds*; *max_overhead* is in per cent of one CPU."""
    words = (
        *("profile", f"--duration={seconds:g}", f"--probes={','.join(probes) or 'none'}"),
        f"--max-overhead={max_overhead:g}",
    )
    return _asked(host, words, Profile, (0,), seconds + _PROBE_MORE_S).document


def _relayed(
    host: str, words: Sequence[str], kind: type[_T], ok: tuple[int, ...] = (0,)
) -> "Answer[_T]":
    answer = _asked(host, words, kind, ok, _FIX_S)
    for row in answer.warnings:
        notes.warning(f"{host}: {row}")
    return answer


def _asked(
    host: str, words: Sequence[str], kind: type[_T], ok: tuple[int, ...], timeout_s: float
) -> "Answer[_T]":
    from dirtune.remote.far_dirtune import opened

    async def ask() -> "Answer[_T]":
        async with opened(host) as far:
            return await far.ask(words, kind, ok=ok, timeout_s=timeout_s)

    return signals.run(ask())
