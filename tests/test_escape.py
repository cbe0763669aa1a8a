"""What a terminal or Markdown obeys never comes out of the functions that make text harmless."""

import json
import unicodedata
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dirtune.checks import Severity
from dirtune.escape import ascii_json, one_line, visible
from dirtune.render.cells import table
from dirtune.render.each_text import each_text
from dirtune.render.markdown import code_block, escaped, inline_code

# What a terminal obeys, by what it does there (ECMA-48, xterm's ctlseqs, Unicode's UAX 9).
OBEYED = {
    "colour": ("\x1b[31mred", r"\x1b[31mred"),
    "title": ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
    "clipboard": ("\x1b]52;c;aWQ=\x1b\\", r"\x1b]52;c;aWQ=\x1b" + "\\"),
    "link": ("\x1b]8;;http://x/\x07a", r"\x1b]8;;http://x/\x07a"),
    "device control": ("\x1bPq\x1b\\", r"\x1bPq\x1b" + "\\"),
    "eight bits": ("\x9b2J\x90q\x9c\x9d0;x\x9c", r"\x9b2J\x90q\x9c\x9d0;x\x9c"),
    "overwrite": ("bad\rgood\x08\x08", r"bad\rgood\x08\x08"),
    "delete": ("a\x7fb\x00", r"a\x7fb\x00"),
    "direction": ("\u202eevil\u2066x\u200f\u061c", r"\u202eevil\u2066x\u200f\u061c"),
    "invisible": ("e\u200bth0\ufeff\u2060\u00ad", r"e\u200bth0\ufeff\u2060\xad"),
    "lines": ("a\u2028b\u2029c\x85d\x0be\x0cf", r"a\u2028b\u2029c\x85d\x0be\x0cf"),
    "tags": ("x\U000e0041", r"x\U000e0041"),
    "surrogate": ("x\udc9b", r"x\udc9b"),
}


@pytest.mark.parametrize(("given_", "shown"), OBEYED.values(), ids=list(OBEYED))
def test_what_a_terminal_obeys_is_shown_instead(given_, shown):
    assert visible(given_) == one_line(given_) == shown


def test_lines_and_tabs_are_ours_to_use_and_no_name_has_them():
    assert visible("a\tb\nc\x1b\td") == "a\tb\nc\\x1b\td"
    assert one_line("a\tb\nc") == r"a\tb\nc"


def test_other_alphabets_stay_readable():
    assert visible("größe µs ± └─ 日本 ö") == "größe µs ± └─ 日本 ö"


@given(st.text(st.characters(codec=None), max_size=60))
def test_nothing_obeyed_is_left_in_any_text(text):
    left = {unicodedata.category(c) for c in visible(text) if c not in "\n\t"}
    assert not left & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert "\n" not in one_line(text)
    assert visible(text).count("\n") == text.count("\n")


@given(st.text(max_size=60))
def test_json_keeps_the_exact_text_in_printable_ascii(text):
    shown = ascii_json(json.dumps(text, ensure_ascii=False))

    assert json.loads(shown) == text
    assert all(" " <= c <= "~" for c in shown)


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("[x](javascript:alert(1))", r"\[x\](javascript:alert(1))"),
        ("![x](http://e/)", r"!\[x\](http://e/)"),
        ("a|b", r"a\|b"),
        ("run `a|b <c>` <d>", "run `a|b <c>` &lt;d&gt;"),
        ("a`b <c>", r"a\`b &lt;c&gt;"),
        ("``b` <c> `d", r"\`\`b` <c> `d"),
        ("`a` b`` <c> `d`", r"`a` b\`\` &lt;c&gt; `d`"),
        ("**bold** ~~gone~~", r"\*\*bold\*\* \~\~gone\~\~"),
        ("__x__ a__b _", r"\_\_x\_\_ a\_\_b \_"),
        ("_x_ net.ipv4.vs.conn_reuse_mode", r"\_x\_ net.ipv4.vs.conn_reuse_mode"),
        ("# head", r"\# head"),
        ("- item", r"\- item"),
        ("a\\|b", r"a\\\|b"),
        ("a\n\n# b", r"a\\n\\n# b"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
    ],
)
def test_markdown_shows_its_own_marks(given_, shown):
    assert escaped(given_) == shown


PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
# What Markdown is made of, and what surrounds it here.
MARKDOWN_TEXT = st.text(
    st.sampled_from("`*_[]()<>!|\\&;#~-+=:/\"' \nab1.@x\x1b\u202e"), max_size=40
)
ACTIVE = {"html_inline", "html_block", "link_open", "image", "em_open", "strong_open", "s_open"}


def tokens(text):
    """Return what a Markdown parser makes of *text*: kinds of its tokens, and what is shown."""
    every = PARSER.parse(text)
    leaves = [leaf for token in every for leaf in (token.children or [])]
    kinds = {token.type for token in [*every, *leaves]}
    shown = "".join(leaf.content for leaf in leaves if leaf.type in {"text", "code_inline"})
    return kinds, shown


@given(MARKDOWN_TEXT)
def test_a_second_tool_finds_nothing_active_in_any_text(text):
    kinds, shown = tokens(f"x {escaped(text)} x")

    assert kinds <= {"paragraph_open", "paragraph_close", "inline", "text", "code_inline"}
    # Spaces at the ends of a code span, and beside it, are Markdown's to drop.
    bare = one_line(text).replace("`", "").replace(" ", "")
    assert shown.replace("`", "").replace(" ", "") == f"x{bare}x"


@pytest.mark.parametrize("mark", ["_", "*", "~", "`"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_marks_on_both_sides_of_a_name_are_shown(mark, count):
    name = f"({mark * count}a{mark * count})"
    kinds, shown = tokens(f"x {escaped(name)} x")

    assert kinds <= {"paragraph_open", "paragraph_close", "inline", "text", "code_inline"}
    assert shown == f"x {name} x" or (mark, count) == ("`", 1)


@given(MARKDOWN_TEXT)
def test_no_text_begins_a_block(text):
    kinds, _ = tokens(f"{escaped(text)}\n\nx")

    assert kinds <= {"paragraph_open", "paragraph_close", "inline", "text", "code_inline"}


@given(st.lists(MARKDOWN_TEXT, min_size=6, max_size=6))
def test_no_cell_leaves_its_place_in_a_table(cells):
    rows = [cells[:3], cells[3:]]
    text = table(rows, ("a", "b", "c"), "github")

    every = PARSER.parse(text)
    assert sum(token.type == "td_open" for token in every) == 6
    assert sum(token.type == "tr_open" for token in every) == 3
    assert not tokens(text)[0] & ACTIVE


@given(MARKDOWN_TEXT)
def test_no_command_leaves_its_code(text):
    kinds, shown = tokens(f"x {inline_code(text)} x")

    assert kinds == {"paragraph_open", "paragraph_close", "inline", "text", "code_inline"}
    assert shown.replace(" ", "") == f"x{one_line(text)}x".replace(" ", "")


@given(st.lists(MARKDOWN_TEXT, max_size=4))
def test_no_line_ends_its_block_of_code(lines):
    every = PARSER.parse("\n".join(code_block(lines, "sh")))

    assert [token.type for token in every] == ["fence"]
    assert every[0].content == "".join(f"{one_line(line)}\n" for line in lines)


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("ip link", "`ip link`"),
        ("echo `id`", "`` echo `id` ``"),
        ("``", "``` `` ```"),
        ("a\nb", r"`a\nb`"),
    ],
)
def test_no_command_ends_its_own_code_span(given_, shown):
    assert inline_code(given_) == shown


class Row(msgspec.Struct, frozen=True):
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Whole:
    rows: tuple[Row, ...]
    by: dict[str, list[str | None]]
    severity: Severity


def test_each_text_of_plain_data_is_reached_and_nothing_else():
    whole = Whole((Row("a", 1),), {"k": ["v", None]}, Severity.HIGH)

    changed = each_text(whole, str.upper)

    assert changed == Whole((Row("A", 1),), {"K": ["V", None]}, Severity.HIGH)
    assert changed.severity is Severity.HIGH
