"""Text on a narrow terminal: what is folded, what stays whole, and that no word is lost."""

import re
from pathlib import Path

import pytest

from dirtune.render.folded import filled, folded

GOLDEN = Path(__file__).parent / "golden"
SCREENS = sorted(
    path.stem
    for path in GOLDEN.glob("*.txt")
    if not re.search(
        r"json|markdown|html|prometheus|report|catalogue$|fix_files|kube|lvs_plan$", path.stem
    )
)
TABLE = """\
check                 irq    finding
irq/shared-with-nic     7    A NIC shares its interrupt line.
softnet/drop         1024    The backlog of a CPU is full, and packets are lost.

2 findings"""
# Written by hand: the last column has 44 - 19 - 4 - 2 * 2 columns.
FOLDED = """\
check                 irq  finding
irq/shared-with-nic     7  A NIC shares its
                           interrupt line.
softnet/drop         1024  The backlog of a
                           CPU is full, and
                           packets are lost.

2 findings"""


def test_the_widest_column_of_a_table_is_folded():
    assert folded(TABLE, 44) == FOLDED


def test_text_that_fits_is_not_changed():
    assert folded(TABLE, 80) == TABLE


def test_columns_that_do_not_fit_follow_with_the_first_column():
    text = """\
name  eleven-long  twelve-long
lb1             1           22"""
    two = """\
name  eleven-long
lb1             1

name  twelve-long
lb1            22"""

    assert folded(text, 20) == two


def test_a_sentence_goes_on_below_its_text_and_a_command_stays_whole():
    text = "vip  The VIP is busy; run `dirtune lvs show --host lb1 --numeric` there."

    assert folded(text, 34).split("\n") == [
        "vip  The VIP is busy; run",
        "     `dirtune lvs show --host lb1 --numeric`",
        "     there.",
    ]


def test_the_commands_below_a_change_are_not_folded():
    text = "irq/a  set a to b  [safe]\n    echo 1 > /proc/sys/net/ipv4/vs/conntrack"

    assert folded(text, 30) == text


def test_colours_count_nothing_and_stay():
    text = "\x1b[31mNIC shared\x1b[0m  10  one, two, three\n            11  four"

    assert folded(text, 26) == (
        "\x1b[31mNIC shared\x1b[0m  10  one, two,\n                three\n            11  four"
    )


def test_a_page_is_filled_but_not_its_code():
    page = (
        "# a\n\n## Why\nOne two\nthree four.\n\n    $ one two three four five\n\n- a b\n  c\n- d"
    )

    assert filled(page, 20) == (
        "# a\n\n## Why\nOne two three four.\n\n    $ one two three four five\n\n- a b c\n- d"
    )


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", SCREENS)
def test_every_screen_fits_and_keeps_its_words(name, width):
    text = (GOLDEN / f"{name}.txt").read_text()
    rows = folded(text, width).split("\n")

    assert [row for row in rows if len(row) > width and not is_whole(row)] == []
    assert set(words(text)) == set(words("\n".join(rows)))


def is_whole(row):
    """Whether a row is a command, or has one word or quoted command that is longer than a row."""
    return row.startswith("    ") or len(re.sub(r"`[^`]*`", "x", row).split()) == 1


def words(text):
    return (word for word in text.split() if set(word) != {"-"})
