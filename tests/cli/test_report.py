"""`dirtune report` on run folders as they lie on disk."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from dirtune.analyse.run import Run
from dirtune.cli import main
from tests.tune.test_decide import COMPARISON

pytest.importorskip("altair", reason="charts need the extra `report`")
pytest.importorskip("dirtune.bench.store", reason="runs are read by the bench's store")


@pytest.fixture
def folders(tmp_path):
    made = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run.json").write_bytes(msgspec.json.encode(unfinished(name)))
        made.append(str(folder))
    return made


def unfinished(name):
    return Run(
        id=name,
        started="2026-01-02T10:00:00Z",
        finished=None,
        command="dirtune bench run",
        version="0.1.0",
        title=f"Run {name}",
        plan_document={"rate": 150},
        scenario=None,
        inventory={},
        primary_metric="reply_rate",
        audits={},
        handlers={},
        trials=(),
        forecast=None,
        comparisons=(),
        steps=(),
        verdict=None,
    )


def report(*args):
    return CliRunner().invoke(main, ["report", *args])


@pytest.mark.parametrize(
    ("form", "start"), [("html", "<!doctype html>"), ("markdown", "# Run first\n")]
)
def test_report_is_printed(folders, form, start):
    result = report(folders[0], "--format", form)

    assert result.exit_code == 0, result.output
    assert result.output.startswith(start)


@pytest.mark.parametrize("form", ["html", "markdown"])
@pytest.mark.parametrize("verdict", [None, "Improved. "])
def test_the_planned_looks_stand_in_the_report_once(tmp_path, form, verdict):
    """In the verdict of `tune`, and beside the comparison of an A/A run, which has no verdict."""
    design = "Two looks were planned before the first trial. Stopped after 8 pairs."
    judged = msgspec.structs.replace(COMPARISON, level=0.9706, design=design)
    run = msgspec.structs.replace(
        unfinished("r"),
        comparisons=(judged,),
        verdict=None if verdict is None else verdict + design,
    )
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(run))

    text = report(str(tmp_path), "--format", form).output

    assert text.count(design) == 1
    assert "97.06 % interval" in text
    # A noise floor's interval has a level of its own.
    assert "95 % interval" not in text.replace(
        "95 % interval reaches from 1 for a run without a change", ""
    )


def test_intervals_of_two_levels_say_which_is_which(tmp_path):
    levels = (0.9706, 0.95)
    run = msgspec.structs.replace(
        unfinished("r"),
        comparisons=tuple(
            msgspec.structs.replace(COMPARISON, level=level, interval=(0.5, 0.625))
            for level in levels
        ),
    )
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(run))

    text = report(str(tmp_path), "--format", "markdown").output

    (row,) = (row for row in text.splitlines() if row.startswith("| 97.06 % interval"))
    first, second = (cell.strip() for cell in row.split("|")[2:4])
    assert second == f"{first} (95 % interval)"


def test_json_is_the_run(folders):
    assert json.loads(report(folders[0], "--format", "json").output)["id"] == "first"


def test_one_run_is_written_into_the_directory(folders, tmp_path):
    out = tmp_path / "out"
    result = report(folders[0], "-o", str(out))

    assert result.output == f"{out / 'report.html'}\n"
    assert {path.name for path in out.iterdir()} == {"report.html", "report.md"}


def test_several_runs_get_a_directory_each(folders, tmp_path):
    report(*folders, "-o", str(tmp_path / "out"))

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["first", "second"]


@pytest.mark.parametrize(
    "name", ["../theirs", "/", "..", "", "a/b", "a\0b", ".hidden", "x" * 300, "first"], ids=ascii
)
def test_a_report_stays_in_the_directory_whatever_its_run_calls_itself(folders, tmp_path, name):
    (tmp_path / "second/run.json").write_bytes(msgspec.json.encode(unfinished(name)))
    before = {*tmp_path.rglob("*")}

    result = report(*folders, "-o", str(tmp_path / "out"))

    assert result.exit_code == 0, result.output
    made = {path.relative_to(tmp_path / "out") for path in {*tmp_path.rglob("*")} - before}
    names = [Path(), Path("first"), Path("run-2")]
    assert made == {f / n for f in names[1:] for n in ("report.html", "report.md")} | {*names}


@pytest.mark.parametrize("args", [("--format", "html"), ("-o", "-")])
def test_several_runs_are_no_single_page(folders, args):
    result = report(*folders, *args)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Give -o DIR" in result.stderr


def test_a_report_is_written_into_the_folder_of_its_run(folders):
    result = report(*folders)

    assert result.exit_code == 0, result.output
    assert result.output == "".join(f"{folder}/report.html\n" for folder in folders)
    for folder in map(Path, folders):
        assert {path.name for path in folder.iterdir()} == {
            *("run.json", "report.html", "report.md")
        }


def test_a_report_of_a_file_gets_a_folder_beside_it(folders, tmp_path):
    own = Path(folders[0]) / "run.json"
    other = tmp_path / "kept.json"
    other.write_bytes(own.read_bytes())

    assert report(str(own)).output == f"{own.parent}/report.html\n"
    assert report(str(other)).output == f"{tmp_path}/kept.json-report/report.html\n"


def test_dash_prints_the_page_and_writes_nothing(folders):
    result = report(folders[0], "-o", "-")

    assert result.output == report(folders[0], "--format", "html").output
    assert [path.name for path in Path(folders[0]).iterdir()] == ["run.json"]


@pytest.mark.parametrize("started", [True, False])
def test_open_starts_the_browser_or_says_that_it_could_not(folders, monkeypatch, started):
    asked = []
    monkeypatch.setattr("click.launch", lambda url: asked.append(url) or (0 if started else 1))

    result = report(folders[0], "--open")

    page = str(Path(folders[0], "report.html"))
    assert (result.exit_code, result.stdout, asked) == (0, f"{page}\n", [page])
    assert result.stderr == (
        "" if started else f"dirtune: No web browser could be started. Open {page} yourself.\n"
    )


@pytest.mark.parametrize("args", [("--format", "markdown"), ("-o", "-")])
def test_open_without_a_file_is_refused(folders, args):
    result = report(folders[0], "--open", *args)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "--open needs a file" in result.stderr


def test_folder_without_a_run_is_one_line_and_exit_2(tmp_path):
    result = report(str(tmp_path))

    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


def test_the_built_in_example_needs_no_run():
    result = report("--example", "paper", "--format", "markdown")

    assert result.exit_code == 0
    assert "## Figure 20, rate at a given loss" in result.stdout


def test_the_papers_figures_of_a_run(folders):
    result = report(folders[0], "--paper", "--format", "markdown")

    assert result.exit_code == 0
    assert "did not search for the rate at a given loss" in result.stdout


def test_no_run_says_what_to_name():
    result = report()

    assert result.exit_code == 2
    assert "Name the folder of a run, or --example paper" in result.stderr
