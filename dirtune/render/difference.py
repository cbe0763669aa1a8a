"""Render the differences between two directors as text, Markdown or JSON."""

from collections.abc import Sequence

from dirtune.analyse.words import counted
from dirtune.checks.difference import Comparison
from dirtune.render import cells
from dirtune.render.json_documents import DifferencesDocument

_NONE = "-"


def document(compared: Comparison, names: Sequence[str]) -> DifferencesDocument:
    """Return the differences between two hosts, *names*, in the schema `dirtune/difference/1`."""
    return {
        "schema": "dirtune/difference/1",
        "a": names[0],
        "b": names[1],
        "differences": [
            {"section": d.section, "name": d.name, "a": d.a, "b": d.b}
            for d in compared.differences
        ],
        "unknown": [*compared.unknown, *compared.untold],
    }


def text(compared: Comparison, names: Sequence[str]) -> str:
    """Return a table of the differences, then the sections that could not be compared."""
    return _page(compared, names, "simple")


def markdown(compared: Comparison, names: Sequence[str]) -> str:
    """Return the differences as a Markdown table, then the sections that were not compared."""
    return _page(compared, names, "github")


def _page(compared: Comparison, names: Sequence[str], tablefmt: str) -> str:
    rows = [(_name(d.section), d.name, _shown(d.a), _shown(d.b)) for d in compared.differences]
    table = cells.table(rows, ("section", "name", *names), tablefmt)
    blocks = [table] if rows else []
    number = counted(len(rows), "difference") if rows else "no difference"
    be = "is" if len(rows) < 2 else "are"
    sentences = [f"There {be} {number} in these sections: {_listed(compared.compared)}."]
    if compared.unknown:
        sections = _listed(compared.unknown)
        sentences.append(f"These sections could be read on one host only: {sections}.")
    if compared.untold:
        sections = _listed(compared.untold)
        sentences.append(
            f"These sections could be read on neither host and were not compared: {sections}."
        )
    return "\n\n".join((*blocks, " ".join(sentences)))


def _listed(sections: Sequence[str]) -> str:
    return ", ".join(map(_name, sections))


def _name(section: str) -> str:
    return "NIC" if section == "card" else section


def _shown(value: str | None) -> str:
    return _NONE if value is None else value or '""'
