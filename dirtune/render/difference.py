"""The difference of two directors as a table, Markdown, or the JSON of `dirtune/difference/1`."""

from collections.abc import Sequence

from dirtune.checks.difference import Comparison
from dirtune.render import cells
from dirtune.render.json_documents import DifferencesDocument

_NONE = "-"


def document(found: Comparison, names: Sequence[str]) -> DifferencesDocument:
    """Return the differences of the two hosts *names* in the schema `dirtune/difference/1`."""
    return {
        "schema": "dirtune/difference/1",
        "a": names[0],
        "b": names[1],
        "differences": [
            {"section": d.section, "name": d.name, "a": d.a, "b": d.b} for d in found.differences
        ],
        "unknown": [*found.unknown, *found.untold],
    }


def text(found: Comparison, names: Sequence[str]) -> str:
    """Return a row per difference, then what could not be compared."""
    return _page(found, names, "simple")


def markdown(found: Comparison, names: Sequence[str]) -> str:
    """Return the same as a Markdown table."""
    return _page(found, names, "github")


def _page(found: Comparison, names: Sequence[str], tablefmt: str) -> str:
    rows = [(d.section, d.name, _shown(d.a), _shown(d.b)) for d in found.differences]
    table = cells.table(rows, ("what", "name", *names), tablefmt)
    blocks = [table] if rows else []
    number = len(rows)
    counted = f"{number} difference{'' if number == 1 else 's'}" if rows else "No difference"
    parts = [f"{counted} in {', '.join(found.compared)}"]
    parts += [f"told by one of them alone: {', '.join(found.unknown)}"] if found.unknown else []
    parts += [f"not compared, neither tells: {', '.join(found.untold)}"] if found.untold else []
    return "\n\n".join((*blocks, f"{'; '.join(parts)}."))


def _shown(value: str | None) -> str:
    return _NONE if value is None else value or '""'
