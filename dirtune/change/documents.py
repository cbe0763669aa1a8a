"""JSON documents that one dirtune prints and another reads, about changes. Pure data."""

from typing import Literal

import msgspec

from dirtune.change.plan import Change, Refusal
from dirtune.settings import Risk


class ShownChange(Change, frozen=True, kw_only=True):
    """A change, the equivalent shell commands, and the file that keeps it over a reboot."""

    commands: tuple[str, ...]
    persisted_by: str | None


class HeldChange(ShownChange, frozen=True, kw_only=True):
    """A change in a journal, and whether it is still in effect."""

    journal: str
    holds: bool
    by: tuple[str, ...]
    """Programs and files that may have undone the change."""
    on_trial: str = ""
    """The run of `dirtune tune` that tries the change; empty if no run does."""


class PlanDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The changes that `fix plan` proposes."""

    schema: Literal["dirtune/plan/1"] = "dirtune/plan/1"
    risk: Risk | None
    changes: tuple[ShownChange, ...]
    refusals: tuple[Refusal, ...]


class AppliedDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The changes that `fix apply` made; `journal` and `state` are null if it made none."""

    schema: Literal["dirtune/applied/1"] = "dirtune/applied/1"
    journal: str | None
    state: Literal["applied", "confirmed"] | None
    confirm_s: float
    risk: Risk | None
    changes: tuple[ShownChange, ...]
    refusals: tuple[Refusal, ...]
    left_out: tuple[str, ...]


class SettledDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a journal after `confirm` or `rollback`."""

    schema: Literal["dirtune/settled/1"] = "dirtune/settled/1"
    journal: str
    state: str
    already: bool


class VerifyDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The changes that dirtune made, and whether each is still in effect."""

    schema: Literal["dirtune/verify/1"] = "dirtune/verify/1"
    changes: tuple[HeldChange, ...]


class HelloDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of `dirtune stay`, which then waits for commands."""

    schema: Literal["dirtune/stay/1"] = "dirtune/stay/1"
    version: str


class ResultDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one command of `dirtune stay`."""

    schema: Literal["dirtune/stay-result/1"] = "dirtune/stay-result/1"
    status: int
    """Exit status."""
    stdout: str
    stderr: str
