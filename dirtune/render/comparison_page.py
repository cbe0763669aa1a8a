"""Render a comparison of two sets of trials as the blocks of a page."""

from collections.abc import Sequence

from dirtune.analyse.run import Comparison
from dirtune.analyse.verdict import sentence
from dirtune.render import report_document, report_summary
from dirtune.render.blocks import Document, Section, Table
from dirtune.render.figures import number


def document(comparisons: Sequence[Comparison], names: Sequence[str]) -> Document:
    """Return the page of *comparisons*, the first of which decides; *names* are the two sets."""
    first = comparisons[0]
    verdict = sentence(first)
    trials = tuple((str(n), *values) for n, values in enumerate(_values(first), 1))
    heads = ("pair" if first.pairs else "trial", "before", "after")
    blocks = tuple(report_document.comparison(comparisons, verdict))
    return Document(
        title=f"Comparison of {' and '.join(names)}" if names[1:] else f"The arms of {names[0]}",
        verdict=verdict,
        tone=first.verdict,
        facts=tuple(report_document.facts(first, None)),
        byline="dirtune compare",
        sections=(
            Section("Comparison", blocks),
            Section("Values", (Table(heads, trials, frozenset(heads)),)),
        ),
        asked=report_summary.question(first),
        picture=report_summary.picture(comparisons),
    )


def _values(comparison: Comparison) -> list[tuple[str, str]]:
    before, after = ([number(v) for v in arm] for arm in (comparison.before, comparison.after))
    longest = max(len(before), len(after))
    padded = (arm + [""] * (longest - len(arm)) for arm in (before, after))
    return list(zip(*padded, strict=True))
