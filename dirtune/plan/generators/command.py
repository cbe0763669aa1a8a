"""Support any other load generator, whose command line and output format the plan describes."""

import re
import shlex
from collections.abc import Iterable

from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.plan.generators import Abilities, Part, Report, Schedule
from dirtune.plan.load import Load

ABILITIES = Abilities(open_loop=None, of_plan=True)
_LONG_WORD = re.compile(r"\S{201,}|\s{201,}")


def parts(load: Load, ticks: Schedule) -> tuple[Part, ...]:
    """Return the entire schedule *ticks* as the part of a single process."""
    del load
    return (Part(ticks),)


def command(load: Load, url: str, part: Part) -> tuple[str, ...]:
    """Return the command line from the plan, with a value in place of each {name} in braces."""
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
    """Find the number of replies and the duration in the output of the process.

    The plan's regular expressions are used; the last match of each one counts. The output does
    not tell kinds of failures apart; the number of failures is computed elsewhere, from the number
    of connections that the director counted.
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
    # The pattern comes from the plan and the text from a client: on one long word, matching could
    # take minutes.
    short = _LONG_WORD.sub(" ", text)
    values = [match[1] for match in re.finditer(pattern, short, re.MULTILINE)]
    try:
        return float(values[-1])
    except (IndexError, TypeError, ValueError) as error:
        key = f"load.command.{key}"
        problem = (
            f"{key} matched {values[-1]!r}, which is not a number"
            if values
            else f"{key} matched nothing in the output"
        )
        raise ParseError("command", problem) from error
