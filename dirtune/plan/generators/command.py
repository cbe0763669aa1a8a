"""Any other generator: the plan says how it is called and where its two numbers stand."""

import re
import shlex
from collections.abc import Iterable

from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.plan.generators import Abilities, Part, Report, Schedule
from dirtune.plan.load import Load

PACKAGE = ""
ABILITIES = Abilities(open_loop=None, of_plan=True)
_LONG_WORD = re.compile(r"\S{201,}|\s{201,}")


def parts(load: Load, ticks: Schedule) -> tuple[Part, ...]:
    """Return one process."""
    del load
    return (Part(ticks),)


def command(load: Load, url: str, part: Part) -> tuple[str, ...]:
    """Return the plan's command with its numbers filled in."""
    assert load.command is not None
    filled = load.command.run.format(
        url=url,
        rate=f"{part.ticks.rate:g}",
        connections=part.ticks.connections if load.open_loop else load.connections,
        seconds=f"{load.load_s:g}",
        timeout=f"{load.timeout_s:g}",
    )
    return tuple(shlex.split(filled))


@parsing("command")
def parse(text: str, log: Iterable[str], load: Load) -> Report:
    """Find the plan's two numbers in what one process printed; the last place of each counts.

    What was attempted and did not come back is not known by kind: the director's count of
    connections tells how many.
    """
    del log
    assert load.command is not None
    replied = _last(load.command.replies, text, "replies")
    return Report(
        attempted=None,
        replied=round(replied),
        failed={},
        elapsed_s=_last(load.command.elapsed, text, "elapsed"),
    )


def _last(pattern: str, text: str, key: str) -> float:
    # The pattern is the plan's and the text a client's: one long word could cost it minutes.
    short = _LONG_WORD.sub(" ", text)
    found = [match[1] for match in re.finditer(pattern, short, re.MULTILINE)]
    try:
        return float(found[-1])
    except (IndexError, TypeError, ValueError) as error:
        last = "nothing" if not found else repr(found[-1])
        raise ParseError("command", f"load.command.{key} found {last}, not a number") from error
