"""The figures of the 2001 paper: of its own numbers, and of a run that has only some of them."""

import re

import msgspec
import pytest

pytest.importorskip("altair", reason="charts need the extra `report`")

from dirtune.analyse.run import LinkPoint, Run
from dirtune.bench import store
from dirtune.render import paper_charts
from dirtune.render.blocks import Figure, Table, Text
from dirtune.render.paper_document import document
from dirtune.render.report import files, html
from tests.render.inputs import WITHOUT_TRIALS


@pytest.fixture(scope="module")
def paper():
    return store.example("paper")


def section(run, start):
    (found,) = (
        s for s in document(run).sections if s.title.startswith(f"{start},") or s.title == start
    )
    return found


def table(run, start):
    return next(b for b in section(run, start).blocks if isinstance(b, Table))


def words(run, start):
    return " ".join(b.text for b in section(run, start).blocks if isinstance(b, Text))


def test_every_figure_has_its_place(paper):
    titles = [section.title for section in document(paper).sections]

    numbers = [int(n) for n in re.findall(r"^Figure (\d+),", "\n".join(titles), re.MULTILINE)]
    assert numbers == [3, *range(5, 21)]


def test_one_section_lists_what_is_not_drawn(paper):
    """The text of the paper gives single points of these curves, and no rates for Figure 7."""
    rows = table(paper, "Figures that are not drawn").rows

    assert [row[0].partition(",")[0] for row in rows] == [f"Figure {n}" for n in (6, 7, 8, 9, 12)]
    for shown in (section for section in document(paper).sections):
        assert not any(b.text.startswith("Not ") for b in shown.blocks if isinstance(b, Text))


def test_of_a_run_without_trials_every_figure_but_the_matrix_is_in_that_section():
    titles = [section.title for section in document(WITHOUT_TRIALS).sections]

    assert titles == ["Figure 5, test matrix", "Figures that are not drawn", "Notes"]
    assert len(table(WITHOUT_TRIALS, "Figures that are not drawn").rows) == 17


def test_figure_15_has_its_unit_right(paper):
    # 3.8 thousand KB of 1,024 bytes: 3.89 MB/s, 31.1 Mbit/s; and 982 bytes for each reply.
    rows = table(paper, "Figure 15").rows

    assert rows[0] == ("direct", "4340", "3962.93", "3.89", "31.1", "-")
    assert rows[3][2:5] == ("13019.30", "12.80", "102.4")
    assert float(rows[0][3]) * 1e6 / 3962.93 == pytest.approx(982, abs=1)


def test_figures_16_to_18_are_the_papers(paper):
    first = table(paper, "Figure 16").rows
    last = table(paper, "Figure 18").rows

    assert first[0] == (
        *("2.4.0, 1 CPU, dr, 1 real server", "4,200", "3,898", "director"),
        *("0.00 (0.00)", "11.04 (5.81)", "85.04 (17.43)"),
    )
    assert last[-1][3:] == ("rs4", "25.91 (4.91)", "70.24 (11.52)", "3.76 (15.82)")
    assert [len(table(paper, f"Figure {n}").rows) for n in (16, 17, 18)] == [10, 8, 8]


def test_rows_that_do_not_sum_to_100_are_told(paper):
    # 0.00 + 11.04 + 85.04, and 25.34 + 53.77 + 18.66
    assert {"96.08", "97.77"} <= set(words(paper, "Figure 16").split())


@pytest.mark.parametrize(
    ("figure", "costs"),
    # Worked out by hand in the paper's checklist, 9.8.
    [(16, ["38.4", "78.7", "83.8"]), (17, ["134.9", "177.3"]), (18, ["167.4", "198.9"])],
)
def test_cpu_time_per_connection(paper, figure, costs):
    assert re.findall(r"(\d+\.\d) us", words(paper, f"Figure {figure}")) == costs


def test_losses_are_named(paper):
    # 1 - 6466.2 / 7000 and 1 - 12296.5 / 14000.
    assert "7.6 %" in words(paper, "Figure 16")
    assert "12.2 %" in words(paper, "Figure 18")


def test_what_the_clients_limited_is_no_row(paper):
    assert [row[0] for row in table(paper, "Figure 13").rows] == ["2 real servers"]
    assert "client-limited" in words(paper, "Figure 13")


def test_figures_19_and_20(paper):
    assert [row[1:5] for row in table(paper, "Figure 19").rows] == [
        ("6,600", "7,400", "1.121", "inconclusive"),
        ("7,200", "8,300", "1.153", "inconclusive"),
    ]
    assert table(paper, "Figure 20").rows == (
        ("2.2.17, 1 CPU, nat, 4 real servers", "0.01 %", "3,640", "3639.77", "2.11"),
    )


def test_the_price_of_one_configuration_is_not_divided_by_the_rate_of_another(paper):
    rows = table(paper, "Price").rows

    # 7500 / 8072.3 and 7500 / 6478: four CPUs; what the clients limited is no rate of it.
    assert {(row[0], row[5]) for row in rows} == {
        ("2.2.17, 4 CPUs, dr, 4 real servers", "0.929"),
        ("2.4.0, 4 CPUs, dr, 2 real servers", "1.158"),
    }


def test_only_what_has_points_is_drawn(paper):
    drawn = set(paper_charts.charts(paper))
    named = {
        block.name
        for section in document(paper).sections
        for block in section.blocks
        if isinstance(block, Figure)
    }

    assert drawn == named == {f"figure-{n}" for n in (10, 11, 13, 14)}


def test_a_page_of_it_opens_without_a_network(paper):
    page = html(paper, paper=True)

    assert page.count('data-chart="') == 4
    # The script of Vega has such texts; tests/render/test_browser.py sees that nothing is loaded.
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(src|href)=\"(?!#)", markup)
    assert set(files(paper, paper=True)) == {
        *("report.html", "report.md"),
        *(f"figure-{n}.svg" for n in (10, 11, 13, 14)),
    }


def test_a_run_of_today_without_trials_draws_nothing():
    assert paper_charts.charts(WITHOUT_TRIALS) == {}


def test_the_link_that_was_measured_is_drawn(run):
    points = (LinkPoint(1, 1.25e6, 6.4e-6), LinkPoint(1500, 940e6, 12.8e-6))
    linked = msgspec.structs.replace(run, link=points)

    # 940 / 8, and the time of the smallest message
    assert all(
        each in words(linked, "Figure 3") for each in ("940.0 ", "117.5 ", "1,500 ", "6.4 ")
    )
    assert "figure-3" in paper_charts.charts(linked)


def test_the_example_is_a_run_like_any_other(paper):
    assert msgspec.json.decode(msgspec.json.encode(paper), type=Run) == paper
    assert paper.schema == "dirtune/run/1"
