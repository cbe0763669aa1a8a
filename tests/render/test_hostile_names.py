"""A run and a profile full of hostile names: no text, table or chart of them is obeyed."""

import re
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

pytest.importorskip("altair", reason="charts need the extra `report`")

from dirtune.checks import audits
from dirtune.checks.discovery import all_checks
from dirtune.lvs.model import Numbers, Seen, Service, Table
from dirtune.render import audit, lvs, profile, sweep, tune
from dirtune.render.each_text import each_text
from dirtune.render.report import files, html
from dirtune.snapshot import Snapshot
from tests.render.inputs import PROFILE, SESSION

EVIL = (
    "\x1b[31m\x1b]52;c;aWQ=\x07\x9b2J\r\u202e\U000e0041<img src=x onerror=alert(1)></script>"
    "<script>x</script>[x](javascript:1)`|**b**\n\n# head\n```\n]]>&lt;"
)
PARSER = MarkdownIt("commonmark").enable(["table"])
NAMES = ("sym53c8xx", "i801_smbus", "enp0s16", "e1000", "eth0", "lb1", "rs1", "c1", "steal", "why")


def hostile(value):
    """Return *value* with every name in it hostile."""

    def change(text):
        for name in NAMES:
            text = text.replace(name, EVIL)
        return text

    return each_text(value, change)


def clean(text):
    bad = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert bad <= {"\n"}


def inert(text):
    every = PARSER.parse(text)
    leaves = [leaf for token in every for leaf in [token, *(token.children or [])]]
    assert not {leaf.type for leaf in leaves} & {"html_inline", "html_block"}
    links = [leaf.attrGet("href") for leaf in leaves if leaf.type == "link_open"]
    images = [leaf.attrGet("src") for leaf in leaves if leaf.type == "image"]
    assert all(link.startswith("../") for link in links)
    assert all(image.endswith(".svg") and "/" not in image for image in images)
    heads = [
        t.content
        for t, before in zip(every[1:], every, strict=False)
        if before.type == "heading_open"
    ]
    assert "head" not in heads
    return every


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = set()
        self.handlers = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.handlers += [name for name, value in attrs if name.startswith("on")]
        self.handlers += [value for _, value in attrs if (value or "").startswith("javascript:")]

    def handle_data(self, data):
        self.text += data


def test_a_page_shows_names_and_runs_none(run):
    page = Tags(html(hostile(run)))

    assert not page.tags & {"img", "iframe"}
    assert html(hostile(run)).count("<script") == html(run).count("<script") == 3
    assert page.handlers == []
    assert "<img src=x onerror=alert(1)>" in page.text, "the name is no longer in the page"
    clean(html(hostile(run)).replace("\t", " "))


def test_no_file_of_a_report_holds_what_is_obeyed(run):
    made = files(hostile(run))

    assert {name.rpartition(".")[2] for name in made} == {"html", "md", "svg"}
    inert(made["report.md"])
    for name, text in made.items():
        clean(text.replace("\t", " "))
        markup = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
        assert name == "report.md" or "<img" not in markup


@pytest.mark.parametrize("verbose", [False, True])
def test_a_profile_shows_names_and_obeys_none(verbose):
    text = profile.table(hostile(PROFILE), verbose=verbose)
    clean(text)
    assert r"\x1b[31m" in text
    # A newline in a name makes no row and no paragraph of its own.
    assert text.count("\n\n") == profile.table(PROFILE, verbose=verbose).count("\n\n")
    assert not [line for line in text.splitlines() if line.startswith("#")]

    shown = profile.markdown(hostile(PROFILE), verbose=verbose)
    clean(shown)
    rows = [token.type for token in inert(shown)].count("tr_open")
    plain = [token.type for token in PARSER.parse(profile.markdown(PROFILE, verbose=verbose))]
    assert rows == plain.count("tr_open")


def test_a_sweep_and_a_session_show_names_and_obey_none(run):
    for text in (sweep.table(hostile(run)), tune.table(hostile(SESSION))):
        clean(text)
    for text in (sweep.markdown(hostile(run)), tune.markdown(hostile(SESSION))):
        clean(text)
        inert(text)


def cells(text):
    """Return what a Markdown viewer shows in each cell of the last row of a table."""
    every = inert(text)
    last = max(n for n, token in enumerate(every) if token.type == "tr_open")
    rows = [token.children for token in every[last:] if token.type == "inline"]
    return ["".join(leaf.content for leaf in row) for row in rows]


@pytest.mark.parametrize("name", ["a`|b`", "a|b", "`|![x](http://e/)`"])
def test_no_name_ends_the_cell_that_it_is_in(name):
    """A code span of Markdown does not keep a `|` from ending a cell of a table."""
    reason = f"the queues of {name} are unknown"
    made = audits.of_snapshot("lb1", Snapshot(), all_checks()[:1])
    outcomes = tuple(replace(each, reason=reason) for each in made.outcomes)
    table = Table((Service("tcp", "198.18.0.1", 80, name),))

    audited = cells(audit.markdown(replace(made, outcomes=outcomes)))
    counted = cells(lvs.markdown(table, (Seen(Numbers(*range(10)), ()),)))

    assert audited[2].replace("`", "") == reason.replace("`", "")
    assert counted[1].replace("`", "") == name.replace("`", "")
