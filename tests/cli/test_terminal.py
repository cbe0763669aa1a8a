"""What a terminal shows: screens/NAME.svg, at three widths, without colours, without UTF-8.

`UPDATE_GOLDEN=1 pytest tests/cli/test_terminal.py` writes them again; a browser shows them.
"""

import io
from pathlib import Path

import pytest
from click.testing import CliRunner

from dirtune.cli import main
from tests.cli.test_audit_commands import NOAPIC
from tests.golden import same

rich_console = pytest.importorskip("rich.console")
rich_text = pytest.importorskip("rich.text")

SCREENS = Path(__file__).parent / "screens"
# Rich's own frame fetches a font from the network.
FRAME = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font: {char_height}px monospace; }}
{styles}
</style>
<defs>{lines}</defs>
<rect width="100%" height="100%" fill="#292929"/>
<g class="{unique_id}-matrix" transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
{matrix}
</g>
</svg>
"""
AUDIT = ("audit", "--root", "host")
WIDTHS = (40, 80, 160)
COMMANDS = {
    "audit": AUDIT,
    "audit-verbose": (*AUDIT, "-v", "--select", "irq/"),
    "help": ("--help",),
}
CASES = {f"{name}-{w}": (argv, w, {}) for name, argv in COMMANDS.items() for w in WIDTHS}
CASES |= {
    "audit-dumb": (AUDIT, 80, {"TERM": "dumb"}),
    "audit-no-colour": (AUDIT, 80, {"NO_COLOR": "1"}),
    "audit-c-locale": (AUDIT, 80, {}),
}
NO_COLOURS = ("audit-dumb", "audit-no-colour")


def shown(name, folder, monkeypatch):
    argv, width, variables = CASES[name]
    (folder / "host/proc").mkdir(parents=True)
    (folder / "host/proc/interrupts").write_text(NOAPIC)
    (folder / "host/proc/cmdline").write_text("quiet noapic\n")
    monkeypatch.chdir(folder)
    for key in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(key, raising=False)
    runner = CliRunner(charset="ascii" if name.endswith("c-locale") else "utf-8")
    variables = {"COLUMNS": str(width), "LINES": "24", **variables}
    return runner.invoke(main, argv, color=True, env=variables).stdout


def plain(text):
    return rich_text.Text.from_ansi(text).plain


@pytest.mark.parametrize("name", CASES)
def test_the_screen_is_the_recorded_one(tmp_path, monkeypatch, name):
    text = shown(name, tmp_path, monkeypatch)
    console = rich_console.Console(
        record=True, width=CASES[name][1], file=io.StringIO(), force_terminal=True
    )
    console.print(rich_text.Text.from_ansi(text))

    same(SCREENS / f"{name}.svg", console.export_svg(code_format=FRAME, unique_id="t"))


@pytest.mark.parametrize("name", [name for name in CASES if not name.endswith("-40")])
def test_no_row_is_wider_than_the_terminal(tmp_path, monkeypatch, name):
    text = plain(shown(name, tmp_path, monkeypatch))

    assert max(map(len, text.splitlines())) <= CASES[name][1]


@pytest.mark.parametrize("name", NO_COLOURS)
def test_a_terminal_without_colours_gets_no_escape(tmp_path, monkeypatch, name):
    assert "\x1b" not in shown(name, tmp_path, monkeypatch)


def test_a_terminal_without_utf_8_gets_ascii_without_escapes(tmp_path, monkeypatch):
    text = plain(shown("audit-c-locale", tmp_path, monkeypatch))

    assert text.isascii()
    assert "\\" not in text
    assert "`- HIGH      irq/shared-with-nic  irq 10" in text


def test_no_screen_is_left_over():
    assert {path.stem for path in SCREENS.glob("*")} == set(CASES)
