"""Read the plan of an `lvs` command, and the table that the plan describes."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import msgspec

from dirtune import plan as plans
from dirtune.errors import ParseError, PlanError
from dirtune.jobs import plan_files
from dirtune.lvs import ipvsadm
from dirtune.lvs.model import Table
from dirtune.plan import services
from dirtune.plan.configuration import Configuration
from dirtune.ssh_names import LOCAL

_LARGEST_TEXT = 4 << 20
"""The largest output of `ipvsadm -Sn` in characters; 10,000 destinations have half a million."""


@dataclass(frozen=True, slots=True)
class PlanSource:
    """A plan, and the file it was read from."""

    configuration: Configuration
    path: Path | None
    """Path of the plan file; None for standard input."""

    @property
    def where(self) -> str:
        """The name of the plan for messages."""
        return "standard input" if self.path is None else str(self.path)


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """The options of `dirtune lvs apply`."""

    drain_s: float | None = None
    """Seconds to wait for connections to removed real servers to end; None means no wait."""
    load: bool = False
    """Whether ip_vs may be loaded."""
    expect: str | None = None
    """The digest that the current IPVS table must have; None accepts any table."""
    force: tuple[str, ...] = ()
    """Names of refusals to overrule."""
    confirm_s: float = 0


def read(given: str | None) -> PlanSource:
    """Return the plan *given*, else ./dirtune.toml, else the plan of a running lab.

    `-` reads a plan from standard input, as one line of JSON that a dirtune on another host sends;
    a line that was cut off on the way is refused.
    """
    if given == "-":
        try:
            return PlanSource(plans.parse_json(sys.stdin.readline()), None)
        except PlanError as error:
            raise PlanError(f"Cannot use the plan on standard input. {error}") from error
    path = plan_files.locate(given)
    return PlanSource(plans.read_configuration(path), path)


def desired_table(source: PlanSource) -> Table:
    """Return the IPVS table that a plan describes; a `PlanError` names the file and the key."""
    try:
        return services.table(source.configuration)
    except PlanError as error:
        raise PlanError(f"{source.where}: {error}") from error


def is_here(source: PlanSource, *, here: bool) -> bool:
    """Return whether this machine is the plan's director."""
    return here or source.configuration.director.host == LOCAL


def sent(configuration: Configuration) -> str:
    """Return a plan as the line of JSON that a dirtune on another host reads."""
    return f"{msgspec.json.encode(configuration).decode()}\n"


def imported(text: TextIO) -> Table:
    """Return the table that a text of ipvsadm(8) describes; `ParseError` names file and line."""
    try:
        content = text.read(_LARGEST_TEXT + 1)
        table = ipvsadm.parse(content) if len(content) <= _LARGEST_TEXT else None
    except (ParseError, UnicodeDecodeError) as error:
        raise ParseError(text.name, str(error)) from error
    if table is None:
        raise ParseError(text.name, f"the text is longer than {_LARGEST_TEXT >> 20} MiB")
    if not table.services:
        # A failed `ipvsadm -Sn` prints nothing, and its plan would remove every service.
        raise ParseError(
            text.name, "the text contains no service. Check the output of ipvsadm -Sn."
        )
    return table
