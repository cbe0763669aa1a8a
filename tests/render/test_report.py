"""The report says what the run holds, in order, and lets nothing of the run become markup."""

import re
from html.parser import HTMLParser

import msgspec
import pytest

pytest.importorskip("altair", reason="charts need the extra `report`")

from dirtune.analyse.run import Run
from dirtune.bench import store
from dirtune.render import paper_document, sweep
from dirtune.render.blocks import Table
from dirtune.render.figures import number
from dirtune.render.report import files, html, markdown
from dirtune.render.report_document import document
from tests.render.crowded import crowded
from tests.render.inputs import UNFINISHED


def table(run, title):
    (section,) = (s for s in document(run).sections if s.title == title)
    return next(b for b in section.blocks if isinstance(b, Table))


def texts(run, title):
    (section,) = (s for s in document(run).sections if s.title == title)
    return " ".join(b.text for b in section.blocks if b.kind == "text")


def with_(run, **changes):
    return msgspec.structs.replace(run, **changes)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [v for k, v in attrs if k in {"src", "href"} and v]

    def handle_data(self, data):
        self.words.append(data)


def test_page_opens_without_a_network(run):
    page = Page(html(run))

    assert page.tags.count("svg") == 3
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(source.startswith("#") for source in page.sources)


def test_text_of_the_run_does_not_become_markup(run):
    page = Page(html(with_(run, title="<script>alert(1)</script>")))

    assert "script" not in page.tags
    assert "five" not in page.tags
    assert any("<five> handlers run" in words for words in page.words)


def test_pipes_do_not_break_a_markdown_table(run):
    (row,) = (line for line in markdown(run).splitlines() if "&lt;five&gt;" in line)

    assert len(re.findall(r"(?<!\\)\|", row)) == 6


def test_markdown_shows_only_charts_that_lie_beside_it(run):
    made = files(run)

    assert re.findall(r"!\[.*\]\((.+)\)", made["report.md"]) == [
        "handlers.svg",
        "ratio.svg",
        "pairs.svg",
    ]
    assert {"handlers.svg", "ratio.svg", "pairs.svg"} <= made.keys()
    assert "![" not in markdown(run)


def test_handler_cost_before_and_after(run):
    # 48000 calls for 12000 interrupts: four controllers of one name.
    assert table(run, "Handler cost").rows == (
        ("before", "irq 10", "enp0s16", "12,000", "0", "11.9", "310", "1"),
        ("before", "irq 10", "i801_smbus", "12,000", "12,000", "42.1", "750", "1"),
        ("before", "irq 10", "sym53c8xx", "48,000", "48,000", "13.4", "190", "4"),
        ("after", "irq 10", "enp0s16", "11,700", "0", "12.3", "290", "1"),
    )
    # 105 ms over 144000 events in 10 s
    assert {"729", "1.05"} <= set(texts(run, "Handler cost").split())


def test_cpu_per_node_is_the_table_of_the_paper(run):
    header, rows = table(run, "CPU per node").header, table(run, "CPU per node").rows

    assert header[:7] == ("arm", "offered/s", "replies/s", "node", "user", "system", "idle")
    assert rows[0][:7] == (
        "before", "150", "149.9", "director", "0.00 (0.00)", "54.14 (20.30)", "45.83 (20.33)",
    )  # fmt: skip
    # A node that has no softirq column shows that it is missing, not zero.
    assert rows[1][:4] == ("", "", "", "rs1")
    assert rows[1][7] == "-"


def test_every_trial_is_shown_and_the_invalid_one_says_why(run):
    shown = table(run, "Trials").rows

    assert len(shown) == len(run.trials) == 19
    assert [row[3] for row in shown].count("noisy") == 1
    assert next(t.reason for t in run.trials if t.reason) in texts(run, "Trials")


def marked_777(run):
    """Return *run* with trials that do not count, and that all have 777 in their numbers."""
    trials = (
        with_(
            trial,
            validity="noisy",
            reason="others used the director",
            reply_rate=777.77,
            metrics=dict.fromkeys(trial.metrics, 777.77) | {"network_bytes_per_s": 777.77e6},
        )
        for trial in run.trials
    )
    return with_(run, trials=tuple(trials))


def shown(run, of):
    """Return each line of text of a document: the cells of a row, or a paragraph."""
    for section in of(run).sections:
        for block in section.blocks:
            if isinstance(block, Table):
                yield from (" | ".join(row) for row in block.rows)
            elif block.kind == "text":
                yield block.text


@pytest.mark.parametrize("of", [document, paper_document.document])
@pytest.mark.parametrize("made", [crowded, lambda: store.example("paper")])
def test_the_number_of_a_trial_that_does_not_count_is_never_shown_without_a_mark(made, of):
    lines = [line for line in shown(marked_777(made()), of) if re.search(r"\b77[78]\b", line)]

    assert lines or of is paper_document.document
    assert [line for line in lines if not re.search("not valid|noisy", line)] == []


@pytest.mark.parametrize("of", [sweep.table, sweep.markdown])
def test_a_sweep_marks_the_numbers_of_trials_that_do_not_count(of):
    found = marked_777(store.example("paper"))
    rows = [row for row in of(found).splitlines() if re.search(r"\b77[78]\b", row)]

    assert rows
    assert [row for row in rows if not re.search("not valid|noisy", row)] == []


def test_handlers_and_a_forecast_of_a_trial_that_does_not_count_say_so():
    found = marked_777(crowded())

    assert {row[0] for row in table(found, "Handler cost").rows} == {
        "before (not valid)",
        "after (not valid)",
    }
    told = (
        "The forecast uses a profiled trial that is not valid (noisy): others used the director."
    )
    assert told in texts(found, "Forecast and outcome")


def test_counters_leave_out_trials_that_did_not_count(run):
    # 8 valid trials an arm: 8 x 18000 and 8 x 17550 interrupts, 8 x 2250 connections.
    assert table(run, "Counters").rows[1] == ("irq 10", "144,000", "140,400", "8", "7.8")


def test_an_unfinished_run_has_no_charts():
    assert set(files(UNFINISHED)) == {"report.html", "report.md"}


def test_report_of_a_run_read_back_from_disk_is_the_same(run):
    again = msgspec.json.decode(msgspec.json.encode(run), type=Run)

    assert markdown(again) == markdown(run)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0, "0"),
        (12_000, "12,000"),
        (2232.99, "2,233"),
        (0.0078, "0.0078"),
        (9.0, "9"),
    ],
)
def test_number(value, shown):
    assert number(value) == shown
