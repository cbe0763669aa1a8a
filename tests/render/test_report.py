"""The report says what the run holds, in order, and lets nothing of the run become markup."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import msgspec
import pytest

pytest.importorskip("altair", reason="charts need the extra `report`")

from dirtune.analyse.run import Run
from dirtune.bench import store
from dirtune.render import paper_document, report, sweep
from dirtune.render.blocks import Commands, Table
from dirtune.render.chart_style import MOST_MARKS, Picture, thinned
from dirtune.render.figures import number
from dirtune.render.report import files, html, markdown
from dirtune.render.report_document import document
from tests.render.crowded import FINDING, crowded
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
    text = html(run)
    page = Page(text)

    # The cost of the handlers, the pairs, the ratio, the latencies, and the nodes' CPU time.
    assert page.tags.count("svg") == 5
    assert "link" not in page.tags
    assert all(source.startswith("#") for source in page.sources)
    assert "default-src 'none'" in text


def scripts(text):
    return re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL)


def test_a_page_runs_only_scripts_of_its_own(run):
    """They are those whose hashes the page's policy names, and none holds a text of the run."""
    text = html(with_(run, title="</script><script>alert(1)</script>\u2028<!--"))
    (data, first, second) = scripts(text)

    assert data[0] == ' type="application/json" id="charts"'
    assert "<" not in data[1]
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for _, script in (first, second)
    ]
    assert re.findall(r"'sha256-([^']+)'", text) == hashes
    assert [text for _, text in scripts(html(run))[1:]] == [first[1], second[1]]


def test_text_of_the_run_does_not_become_markup(run):
    page = Page(html(with_(run, title="<iframe>alert(1)</iframe>")))

    assert "iframe" not in page.tags
    assert "five" not in page.tags
    assert any("<five> handlers run" in words for words in page.words)


def test_pipes_do_not_break_a_markdown_table(run):
    piped = with_(run, inventory={"director": {"kernel": "a|b <five>"}})
    (row,) = (line for line in markdown(piped).splitlines() if "b &lt;five&gt;" in line)

    assert len(re.findall(r"(?<!\\)\|", row)) == 4


def test_markdown_shows_only_charts_that_lie_beside_it(run):
    made = files(run)

    assert re.findall(r"!\[.*\]\((.+)\)", made["report.md"]) == [
        "ratio.svg",
        "handlers.svg",
        "pairs.svg",
        "cpu-states.svg",
        "latency.svg",
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


def test_the_first_screen_answers_in_this_order(run):
    """It says what was asked, the verdict, the cause and what to do, and then the evidence."""
    doc = document(with_(run, scenario=run.scenario | {"experiment": {"question": "Why?"}}))
    text = html(with_(run, scenario=run.scenario | {"experiment": {"question": "Why?"}}))
    order = [doc.asked, doc.verdict, 'data-chart="ratio"', "Cause", "What to do now", "Evidence"]

    assert doc.asked == "Why?"
    places = [text.index(part, text.index("<header>")) for part in order]
    assert places == sorted(places)
    assert "2.1 % around 1" in doc.picture.caption
    assert doc.cause == f"{FINDING['message']}."
    assert doc.to_do[1] == Commands(("dirtune fix apply irq/shared-with-nic --confirm 120",))


@pytest.mark.parametrize(
    ("verdict", "command"),
    [
        ("regressed", "dirtune audit --probe"),
        ("equivalent", "dirtune audit --probe"),
        ("inconclusive", "dirtune tune --check irq/shared-with-nic --pairs 16"),
    ],
)
def test_the_next_step_follows_from_the_verdict(run, verdict, command):
    judged = msgspec.structs.replace(run.comparisons[0], verdict=verdict)

    assert document(with_(run, comparisons=(judged,))).to_do[-1] == Commands((command,))


@pytest.mark.parametrize("check", ["x; reboot", "a/b\nreboot", "$(reboot)/x", "../b c"])
def test_no_name_of_a_run_becomes_part_of_a_command(run, check):
    finding = {"check": check, "findings": [FINDING]}
    made = document(with_(run, audits={"before": {"outcomes": [finding]}}))

    assert made.to_do == ()


def test_a_long_table_says_that_it_is_cut(run):
    step = run.steps[0]
    text = html(with_(run, steps=(step,) * 2001))

    assert "The table has 2001 rows; this page shows the first 2000." in text


@pytest.mark.parametrize(("points", "thin"), [(MOST_MARKS, False), (MOST_MARKS + 1, True)])
def test_a_thinned_chart_says_so(run, points, thin):
    made = Picture({}, Table(("n",), (("1",),) * points))
    text = report.page(document(run), {"ratio": made}, {"ratio": "<svg></svg>"})

    assert (f"Of its {points} points, the chart shows" in text) is thin


def test_a_thinned_chart_keeps_the_extremes():
    rows = [{"value": float(n % 97), "n": n} for n in range(1_000_000)]
    rows[777_777] = {"value": 1e6, "n": 777_777}
    rows[5] = {"value": -1e6, "n": 5}

    kept = thinned(rows, lambda row: row["value"])

    assert len(kept) <= MOST_MARKS
    assert {5, 777_777} <= {row["n"] for row in kept}
    assert [row["n"] for row in kept] == sorted(row["n"] for row in kept)
