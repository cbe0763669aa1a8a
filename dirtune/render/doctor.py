"""Render the diagnosis of `dirtune doctor` as text and Markdown."""

from collections.abc import Iterator
from itertools import takewhile

from dirtune.analyse.doctor import Diagnosis, Feature, Ladder, Obstacle, Rung
from dirtune.escape import one_line
from dirtune.render import cells


def table(diagnosis: Diagnosis) -> str:
    """Return one line per feature, and the obstacles and remedies of features that do not work.

    Below the feature `probe` is one line per probe, with the source that the probe uses here.
    """
    width = max(len(feature.name) for feature in diagnosis.features)
    under = " " * (width + 7)
    lines = [f"kernel {diagnosis.kernel}"]
    for feature in diagnosis.features:
        lines.append(f"{feature.name:<{width}}  {_state(feature):<3}  {feature.what}")
        lines += [f"{under}{_line(obstacle)}" for obstacle in feature.obstacles]
        if feature.name == "probe":
            lines += [f"{under}{line}" for line in _probe_lines(diagnosis, feature.obstacles)]
    return "\n".join(map(one_line, lines))


def markdown(diagnosis: Diagnosis) -> str:
    """Return a table with one row for each working feature, and one for each obstacle."""
    rows = [
        (feature.name, _state(feature), o.why, _code(o))
        for feature in diagnosis.features
        for o in feature.obstacles or (Obstacle("", ""),)
    ]
    rows += [
        (
            f"probe {ladder.probe}",
            ladder.uses or "no",
            o.why,
            _code(o),
        )
        for ladder in diagnosis.probes
        for o in [o for rung in _above(ladder) for o in rung.obstacles] or (Obstacle("", ""),)
    ]
    rows += [("probe", "note", note.why, cells.code(note.remedy)) for note in diagnosis.notes]
    return cells.table(rows, ("feature", "works", "why not", "remedy"), "pipe")


def _probe_lines(diagnosis: Diagnosis, shown: tuple[Obstacle, ...]) -> Iterator[str]:
    """Yield each probe's source, and the obstacles to better sources that are not yet *shown*."""
    for ladder in diagnosis.probes:
        used = next((rung for rung in ladder.rungs if rung.source == ladder.uses), None)
        yield f"{ladder.probe:<7}  {ladder.uses or 'no':<11}  {(used or ladder.rungs[0]).gives}"
        for rung in _above(ladder):
            yield from (f"  {rung.source}: {_line(o)}" for o in rung.obstacles if o not in shown)
    yield from map(_line, diagnosis.notes)


def _above(ladder: Ladder) -> tuple[Rung, ...]:
    """Return the sources that are better than the one that the probe uses here."""
    return tuple(takewhile(lambda rung: rung.source != ladder.uses, ladder.rungs))


def _line(obstacle: Obstacle) -> str:
    return f"{obstacle.why}. Remedy: {obstacle.remedy}"


def _code(obstacle: Obstacle) -> str:
    return cells.code(obstacle.remedy) if obstacle.remedy else ""


def _state(feature: Feature) -> str:
    return "yes" if feature.works else "no"
