"""Render a session of `dirtune tune` as the blocks of a page."""

from collections.abc import Iterator

from dirtune.render import tune
from dirtune.render.blocks import Block, Commands, Document, Figure, Section, Table, Text
from dirtune.render.report_document import facts


def document(results: tune.Results) -> Document:
    """Return the page of a session: its fixes, each with the verdict, and the next steps."""
    kept = [row.name for row in results.rows if row.outcome == "kept"]
    number = len(results.rows)
    verdict = (
        f"{len(kept)} of {number} {'fix' if number == 1 else 'fixes'} kept"
        f"{': ' if kept else ''}{', '.join(kept)}."
    )
    drawn = any(True for _ in ratio_rows(results))
    return Document(
        title=results.title,
        verdict=verdict if results.rows else "No fix was tried.",
        tone="",
        facts=(),
        byline=f"{results.started} · {results.host} · {results.command}",
        sections=tuple(_sections(results)),
        asked="Which fixes of this director help?",
        picture=Figure("fixes", _CAPTION) if drawn else None,
        to_do=tuple(map(Text, tune.next_steps(results))),
    )


_CAPTION = (
    "Each fix: the value with the fix divided by the value without it, with its interval. The"
    " dashed line at 1 means no change."
)


def ratio_rows(results: tune.Results) -> Iterator[dict[str, object]]:
    """Yield the ratio of each fix that was compared, for the chart."""
    for row in results.rows:
        judged = row.comparison
        if judged is not None and judged.ratio and judged.interval:
            low, high = judged.interval
            yield {"series": row.name, "ratio": judged.ratio, "low": low, "high": high}


def _sections(results: tune.Results) -> Iterator[Section]:
    if results.rows:
        yield Section("Fixes", (Table(tune.headers(results), tuple(tune.rows(results))),))
    for row in results.rows:
        outcome = f"{row.outcome or 'unfinished'}: {row.why or 'the session can go on'}."
        texts = (*row.titles, row.sentence, outcome[:1].upper() + outcome[1:])
        blocks: list[Block] = [Text(text) for text in texts if text]
        if row.comparison is not None:
            blocks.append(Table(("", "value"), tuple(facts(row.comparison, None))))
        if row.run is not None:
            blocks.append(Text("The folder of the run, which has its own report:"))
            blocks.append(Commands((row.run,)))
        yield Section(row.name, tuple(blocks))
    if results.notes:
        yield Section("Notes", tuple(map(Text, results.notes)))
