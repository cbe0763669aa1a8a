"""Links between the files of the project lead somewhere, and the README stays short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "reports/README.md")
    if page.name != "CHANGELOG.md"
)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(text):
    """Return the anchors that GitHub gives to the headings of a page."""
    titles = (re.sub(r"[^\w\- ]", "", title.lower()) for title in _HEADING.findall(text))
    return {title.replace(" ", "-") for title in titles}


def dead(page, text):
    for target in _LINK.findall(_FENCED.sub("", text)):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        if "://" in path:
            continue
        if not there.exists() or (anchor and anchor not in anchors(there.read_text())):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    assert list(dead(page, page.read_text())) == []


def test_a_link_to_a_missing_file_or_heading_is_dead(tmp_path):
    page = tmp_path / "page.md"
    text = "[a](page.md) [b](no.md) [c](page.md#no) [d](#a-word)\n# A `word`\n```\n[e](f)\n```\n"
    page.write_text(text)

    assert list(dead(page, text)) == ["no.md", "page.md#no"]


def test_every_page_of_the_documentation_is_in_its_index():
    index = (ROOT / "docs/README.md").read_text()
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}

    assert pages == {name for name in _LINK.findall(index) if "/" not in name}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 120
