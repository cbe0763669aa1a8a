"""A report as blocks, before it becomes HTML or Markdown. Data only."""

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
    """A chart by its name; `caption` says what to see in it."""

    name: str
    caption: str
    kind: str = "figure"


Block = Text | Table | Commands | Figure


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]
    folded: bool = False
    """Long material that HTML shows only when asked."""

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
    """improved, regressed, equivalent or inconclusive: how the verdict is coloured; else empty."""
    facts: tuple[tuple[str, str], ...]
    """What is told at a glance, under the verdict: (name, value)."""
    byline: str
    sections: tuple[Section, ...]
