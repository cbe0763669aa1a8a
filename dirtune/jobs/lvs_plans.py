"""Read the plan of an `lvs` command, and the table that the plan describes."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import msgspec

from dirtune import plan as plans
from dirtune.errors import ParseError, PlanError, SourceMissing, SourceRefused
from dirtune.host import LiveHost
from dirtune.jobs import notes, plan_files
from dirtune.keepalived import reading
from dirtune.keepalived.overlaid import Overlaid
from dirtune.lvs import ipvsadm, keepalived_conf, listing
from dirtune.lvs.keepalived_text import Checker
from dirtune.lvs.model import Table
from dirtune.plan import services
from dirtune.plan.configuration import Configuration
from dirtune.ssh_names import LOCAL

_LARGEST_TEXT = 16 << 20
"""The largest output of `ipvsadm -Sn` in characters; 100,000 destinations have 7 million."""
_LARGEST_CONF = 64 << 20
"""The largest keepalived.conf in characters; 40,000 real servers have some 15 million."""
_MOST_NOTES = 20
_NO_THRESHOLDS = (
    "ipvsadm writes no connection thresholds with -S or -L, so the plan has none, and `lvs apply` "
    "would remove those of the director. If `ipvsadm -Ln --thresholds` shows any, add them to the "
    "plan as upper_threshold and lower_threshold."
)


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
    checker: Checker | None = None
    """The health check to write if keepalived sets up the table; None to set it up directly."""


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


def imported(text: TextIO, config_id: str | None = None) -> Table:
    """Return the table that a text of ipvsadm(8) or a keepalived.conf(5) describes.

    *config_id* is the name that keepalived's lines with @ are for; None is this host's name.
    `ParseError` names file and line. What keepalived corrects in its configuration is a warning.
    """
    content = _content(text)
    if listing.is_keepalived(content):
        return _from_keepalived(getattr(text, "name", "<stdin>"), content, config_id)
    try:
        table = ipvsadm.parse(content) if len(content) <= _LARGEST_TEXT else None
    except ParseError as error:
        raise ParseError(text.name, str(error)) from error
    if table is None:
        raise ParseError(text.name, f"the text is longer than {_LARGEST_TEXT >> 20} MiB")
    if not table.services:
        # A failed `ipvsadm -Sn` prints nothing, and its plan would remove every service.
        raise ParseError(
            text.name, "the text contains no service. Check the output of ipvsadm -Sn."
        )
    behind = [real for service in table.services for real in service.destinations]
    if behind and not any(real.upper or real.lower for real in behind):
        notes.warning(_NO_THRESHOLDS)
    return table


def _content(text: TextIO) -> str:
    try:
        content = text.read(_LARGEST_CONF + 1)
    except UnicodeDecodeError as error:
        raise ParseError(text.name, str(error)) from error
    if len(content) > _LARGEST_CONF:
        raise ParseError(text.name, f"the text is longer than {_LARGEST_CONF >> 20} MiB")
    return content


def _from_keepalived(name: str, content: str, config_id: str | None) -> Table:
    path = str(Path(name).absolute())
    if config_id is None:
        config_id = os.uname().nodename.partition(".")[0]
    try:
        conf = reading.read(Overlaid(LiveHost(), {path: content}), path, config_id)
    except (SourceMissing, SourceRefused) as error:
        raise ParseError(name, str(error)) from error
    derived = keepalived_conf.required(conf)
    for note in derived.notes[:_MOST_NOTES]:
        notes.warning(note)
    if len(derived.notes) > _MOST_NOTES:
        notes.warning(f"{len(derived.notes) - _MOST_NOTES} more notes are not shown.")
    if not derived.table.services:
        raise ParseError(name, "this keepalived.conf has no virtual server with a real server")
    return derived.table
