"""Each command has a man page, which man(1) formats without a warning."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "packaging"))
import manpages

PAGES = dict(manpages.pages(1_700_000_000))
HEADINGS = ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "FILES", "EXAMPLES")


def test_every_command_and_subcommand_has_a_page():
    assert {"dirtune", "dirtune-audit", "dirtune-fix-plan", "dirtune-lab-up"} <= PAGES.keys()
    assert "dirtune-netlink" not in PAGES


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_pages_have_no_fault_and_the_headings():
    text = "".join(PAGES.values())
    ended = subprocess.run(
        ("groff", "-man", "-Tutf8", "-ww", "-P-cbou"),
        input=text,
        check=True,
        capture_output=True,
        text=True,
    )

    assert ended.stderr == ""
    for name, page in PAGES.items():
        headings = [row[4:] for row in page.splitlines() if row.startswith(".SH")]
        assert [h for h in headings if h != "COMMANDS"] == [*HEADINGS, "SEE ALSO"], name
    assert ended.stdout.count("\nEXIT STATUS\n") == len(PAGES)
    # A line of an example keeps its hyphens, so that it can be pasted.
    assert "\n       dirtune fix apply ipvs/conn-reuse-delay --confirm 60\n" in ended.stdout


@pytest.mark.parametrize(
    ("name", "named", "not_named"),
    [
        ("dirtune-audit", "~/.ssh/config", "dirtune\\-runs"),
        ("dirtune-fix-apply", "/var/lib/dirtune", "dirtune\\-runs"),
        ("dirtune-bench-run", "dirtune\\-runs", "/var/lib/dirtune"),
        ("dirtune-rollback", "/var/lib/dirtune", "dirtune\\-runs"),
        ("dirtune-watch", "/etc/dirtune/dirtune.toml", "dirtune\\-runs"),
        ("dirtune-explain", "/etc/dirtune/dirtune.toml", "~/.ssh/config"),
    ],
)
def test_a_page_names_the_files_of_its_command(name, named, not_named):
    files = PAGES[name].partition(".SH FILES\n")[2].partition(".SH")[0]

    assert f".I {named}\n" in files
    assert f".I {not_named}\n" not in files
