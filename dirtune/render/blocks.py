"""The blocks of a report before it becomes HTML or Markdown. Data only."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """One paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of cells that are text already."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[str] = frozenset()
    """Headings of columns that are aligned to the right."""
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class Commands:
    """Lines to type."""

    lines: tuple[str, ...]
    kind: str = "commands"


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart by its name; `caption` says what it shows."""

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
    """Whether HTML shows only the heading until a reader opens it."""

    @property
    def anchor(self) -> str:
        """The heading as the target of a link."""
        return self.title.lower().replace(" ", "-").replace(",", "")


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report."""

    title: str
    verdict: str
    tone: str
    """The verdict that gives the colour: improved, regressed, ...; empty without a verdict."""
    facts: tuple[tuple[str, str], ...]
    """The main figures under the verdict: (name, value)."""
    byline: str
    sections: tuple[Section, ...]
