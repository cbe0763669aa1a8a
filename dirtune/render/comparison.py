"""Render a comparison as text: the verdict first, then its figures."""

from typing import Literal, TypedDict

from dirtune.analyse.run import Comparison
from dirtune.analyse.verdict import sentence
from dirtune.analyse.words import named_p
from dirtune.escape import one_line
from dirtune.render import cells
from dirtune.render.figures import in_percent
from dirtune.render.markdown import escaped


class ComparisonsDocument(TypedDict):
    """Comparisons of two arms by each metric; the primary metric comes first."""

    schema: Literal["dirtune/comparisons/1"]
    comparisons: tuple[Comparison, ...]


def table(comparison: Comparison) -> str:
    """Return the comparison for a terminal."""
    width = max(len(name) for name, _ in _facts(comparison))
    rule = f"\n{one_line(comparison.design)}" if comparison.design else ""
    facts = "\n".join(f"  {name:{width}}  {one_line(value)}" for name, value in _facts(comparison))
    return f"{one_line(sentence(comparison))}{rule}\n\n{facts}\n"


def markdown(comparison: Comparison) -> str:
    """Return the comparison as Markdown."""
    facts = cells.table(_facts(comparison), ("", ""), "github")
    rule = f"\n\n{escaped(comparison.design)}" if comparison.design else ""
    return f"**{escaped(sentence(comparison))}**{rule}\n\n{facts}\n"


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    c = comparison
    return [
        ("before", _values(c.before, c.unit)),
        ("after", _values(c.after, c.unit)),
        ("better when", c.better),
        ("ratio", "unknown" if c.ratio is None else f"{c.ratio:.4f}"),
        ("test", c.test if c.p is None else f"{c.test}, {named_p(c.p)}"),
        *([] if c.p_holm is None else [("after Holm's correction", named_p(c.p_holm))]),
        ("pairs", str(c.pairs) if c.pairs else "not paired"),
        ("invalid trials", str(c.invalid)),
        ("noise floor " + ("(this run)" if c.own_floor else "(A/A)"), _percent(c.noise_floor)),
        ("detectable effect", _percent(c.minimum_detectable_effect)),
    ]


def _values(values: tuple[float, ...], unit: str) -> str:
    return " ".join(f"{value:.5g}" for value in values) + f" {unit}" if values else "none"


def _percent(share: float | None) -> str:
    return "not measured" if share is None else in_percent(share)
