"""The blocks of a report, as data, from which HTML and Markdown are made."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """One paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose cells are already text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[str] = frozenset()
    """Headings of the right-aligned columns."""
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class Commands:
    """Shell commands to type."""

    lines: tuple[str, ...]
    kind: str = "commands"


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart, referred to by its name, and a caption that describes the chart."""

    name: str
    caption: str
    kind: str = "figure"


Block = Text | Table | Commands | Figure


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and the blocks below it."""

    title: str
    blocks: tuple[Block, ...]
    folded: bool = False
    """Whether HTML shows only the heading until the reader opens the section."""

    @property
    def anchor(self) -> str:
        """The name of the link target for the heading."""
        return self.title.lower().replace(" ", "-").replace(",", "")


@dataclass(frozen=True, slots=True)
class Document:
    """A complete report."""

    title: str
    verdict: str
    tone: str
    """The verdict (improved, regressed, ...), which decides the colour; empty without a
    verdict."""
    facts: tuple[tuple[str, str], ...]
    """The main figures below the verdict, as (name, value)."""
    byline: str
    sections: tuple[Section, ...]
