"""A comparison as text: the verdict first, then what it rests on."""

from typing import Literal, TypedDict

from dirtune.analyse.run import Comparison
from dirtune.analyse.verdict import sentence
from dirtune.escape import markdown as escaped
from dirtune.escape import one_line
from dirtune.render import cells


class ComparisonsDocument(TypedDict):
    """Comparisons of all metrics of two arms, the primary one first."""

    schema: Literal["dirtune/comparisons/1"]
    comparisons: tuple[Comparison, ...]


def table(comparison: Comparison) -> str:
    """Return the comparison for a terminal."""
    width = max(len(name) for name, _ in _facts(comparison))
    facts = "\n".join(f"  {name:{width}}  {one_line(value)}" for name, value in _facts(comparison))
    return f"{one_line(sentence(comparison))}\n\n{facts}\n"


def markdown(comparison: Comparison) -> str:
    """Return the comparison as Markdown."""
    facts = cells.table(_facts(comparison), ("", ""), "github")
    return f"**{escaped(sentence(comparison))}**\n\n{facts}\n"


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    c = comparison
    return [
        ("before", _values(c.before, c.unit)),
        ("after", _values(c.after, c.unit)),
        ("better", c.better),
        ("ratio", _number(c.ratio, ".4f")),
        ("test", c.test if c.p is None else f"{c.test}, p = {c.p:.4f}"),
        *([] if c.p_holm is None else [("after Holm's correction", f"p = {c.p_holm:.4f}")]),
        ("pairs", str(c.pairs) if c.pairs else "not paired"),
        ("did not count", f"{c.invalid} trials"),
        ("noise floor (A/A)", _number(c.noise_floor, ".1%")),
        ("detectable effect", _number(c.minimum_detectable_effect, ".1%")),
    ]


def _values(values: tuple[float, ...], unit: str) -> str:
    return " ".join(f"{value:.5g}" for value in values) + f" {unit}" if values else "none"


def _number(value: float | None, form: str) -> str:
    return "not measured" if value is None else format(value, form)
