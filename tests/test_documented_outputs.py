"""The outputs in README.md and docs are those of the commands above them, at 80 columns.

`UPDATE_GOLDEN=1 pytest tests/test_documented_outputs.py` writes them again.
"""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from dirtune.cli import _output, main
from tests.golden import same

pytest.importorskip("scipy", reason="compare needs the extra `bench`")

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```console\n\$ dirtune (.*)\n(?:.*\n)*?```$", re.MULTILINE)
WITH_OUTPUT = [page for page in PAGES if _BLOCK.search(page.read_text())]


def shown(words):
    result = CliRunner().invoke(main, shlex.split(words), env={"COLUMNS": "80"})
    return f"```console\n$ dirtune {words}\n{result.stdout.rstrip()}\n```"


@pytest.mark.parametrize("page", WITH_OUTPUT, ids=lambda page: page.name)
def test_the_page_shows_what_the_command_prints(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(_output, "columns", lambda: 80)

    same(page, _BLOCK.sub(lambda block: shown(block[1]), page.read_text()))


def test_the_readme_and_the_tutorial_show_outputs():
    assert {page.name for page in WITH_OUTPUT} >= {"README.md", "tutorial.md"}
