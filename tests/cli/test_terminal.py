"""What a terminal shows: screens/NAME.svg, at three widths, without colours, without UTF-8.

`UPDATE_GOLDEN=1 pytest tests/cli/test_terminal.py` writes them again; a browser shows them.
"""

import io
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dirtune.checks import discovery
from dirtune.cli import _output, main
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


def invoked(argv, folder, monkeypatch, width):
    """Return what a terminal with *width* columns shows of a command on a recorded host."""
    (folder / "host/proc").mkdir(parents=True)
    (folder / "host/proc/interrupts").write_text(NOAPIC)
    (folder / "host/proc/cmdline").write_text("quiet noapic\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(_output, "columns", lambda: width)
    result = CliRunner().invoke(main, argv, color=True, env={"COLUMNS": str(width)})
    assert result.exit_code in {0, 1}, result.output
    return plain(result.stdout)


HOST = ("--root", "host")
EVERY = [
    (*AUDIT, "-v"),
    (*AUDIT, "--summary"),
    ("audit", "--diff", "host", "host"),
    ("irqs", *HOST),
    ("irqs", *HOST, "-v"),
    ("fix", "plan", *HOST),
    ("explain",),
    *(("explain", check.id) for check in discovery.all_checks()),
    ("doctor",),
    ("lab", "status", "--scenarios"),
    ("schema",),
]


@pytest.mark.parametrize("argv", EVERY, ids=" ".join)
def test_the_result_fits_a_terminal_of_80_columns(tmp_path, monkeypatch, argv):
    rows = invoked(argv, tmp_path, monkeypatch, 80).splitlines()

    assert [row for row in rows if len(row) > 80 and not is_copied_whole(row)] == []


def is_copied_whole(row):
    """Whether a row is a command of a plan, or one word, such as a path or a quoted command."""
    return row.startswith("    ") or len(row.replace("`", " ").split()) <= 2


def every_help(command=main, path=()):
    yield path
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            for name in command.list_commands(context):
                yield from every_help(command.get_command(context, name), (*path, name))


@pytest.mark.parametrize("path", tuple(every_help()), ids=" ".join)
def test_help_fits_a_terminal_of_80_columns(path):
    shown = CliRunner().invoke(main, (*path, "--help"), env={"COLUMNS": "80"}).stdout

    assert shown.startswith("Usage:")
    examples = shown.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert [row for row in shown.splitlines() if len(row) > 80 and row not in examples] == []


@pytest.mark.parametrize("width", [80, 120])
def test_a_real_terminal_has_its_own_width(width):
    """A pseudo-terminal of this width gets rows of that width, and a pipe gets whole rows."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, width))
    argv = [sys.executable, "-c", "from dirtune.start import main; main()", "explain"]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(argv, stdout=theirs, env=environment) as started:
        os.close(theirs)
        shown = bytearray()
        while piece := _read(ours):
            shown += piece
    os.close(ours)
    longest = max(len(row.rstrip()) for row in shown.decode().splitlines())
    piped = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)

    assert started.returncode == 0
    assert width - 20 < longest <= width
    assert max(map(len, piped.stdout.splitlines())) > 120


def _read(terminal):
    try:
        return os.read(terminal, 65_536)
    except OSError:  # EIO: the program has closed the terminal
        return b""


def test_the_status_of_a_lab_is_in_words(monkeypatch):
    state = {"up": True, "nodes": {"lb1": "198.18.0.1", "rs1": "198.18.0.11"}, "boot_s": 63.3525}
    monkeypatch.setattr("dirtune.lab.lifecycle.describe", lambda: {**state, "error": None})

    assert CliRunner().invoke(main, ("lab", "status")).stdout.splitlines() == [
        "up             yes",
        "nodes          lb1 198.18.0.1, rs1 198.18.0.11",
        "boot_s         63.4",
        "error          -",
    ]
