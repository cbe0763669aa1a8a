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


@dataclass(frozen=True, slots=True)
class Entry:
    """One finding: a coloured word, the check, a sentence, and the fixes to choose from."""

    word: str
    """The severity, which decides the colour."""
    title: str
    text: str
    fixes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What each fix does, and its commands, which are copied together."""
    kind: str = "entry"


Block = Text | Table | Commands | Figure | Entry


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and the blocks below it."""

    title: str
    blocks: tuple[Block, ...]

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
    """The evidence; HTML shows only the headings until the reader opens a section."""
    remark: str = ""
    """What a long verdict says after its first sentence."""
    asked: str = ""
    """The question that the run was to answer."""
    picture: Figure | None = None
    """The verdict as a chart."""
    cause: str = ""
    """The cause of the problem in one sentence."""
    to_do: tuple[Text | Commands, ...] = ()
    """The next step, with the command for it."""
