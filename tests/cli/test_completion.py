"""Completion, as real shells ask for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dirtune.cli._completion import ssh_hosts

BIN = Path(sys.executable).parent
CONFIG = 'Host lb1 lb2.example *.lab !bad\n  HostName 198.18.0.1\nhost = "db"\nMatch all\n'


@pytest.fixture
def home(tmp_path):
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text(CONFIG)
    for name in ("a", "b", "no\nrun"):
        (tmp_path / "dirtune-runs" / name).mkdir(parents=True)
        (tmp_path / "dirtune-runs" / name / "run.json").touch()
    (tmp_path / "dirtune-runs/empty").mkdir()
    return tmp_path


_SHELLS = {
    "bash": """
        eval "$(_DIRTUNE_COMPLETE=bash_source dirtune)"
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _dirtune_completion dirtune
        printf '%s\\n' "${COMPREPLY[@]}" """,
    "fish": """
        _DIRTUNE_COMPLETE=fish_source dirtune | source
        complete -C (string join ' ' -- $argv)""",
}


def completed(shell, home, *words):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = f"{BIN}:{os.environ['PATH']}"
    options = ("--norc",) if shell == "bash" else ("--no-config",)
    start = ("-c", _SHELLS[shell]) + (() if shell == "fish" else (shell,))
    ended = subprocess.run(
        (shell, *options, *start, *words),
        check=True,
        capture_output=True,
        text=True,
        cwd=home,
        env={"HOME": str(home), "PATH": path},
    )
    return [row.partition("\t")[0].strip() for row in ended.stdout.splitlines() if row.strip()]


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("dirtune", "expl"), ["explain"]),
        (("dirtune", "explain", "irq/shared"), ["irq/shared-with-nic"]),
        (("dirtune", "fix", "plan", "irq/shared"), ["irq/shared-with-nic"]),
        (("dirtune", "audit", "--select", "irq/shared"), ["irq/shared-with-nic"]),
        (("dirtune", "audit", "--host", "lb"), ["lb1", "lb2.example"]),
        (("dirtune", "report", "dirtune-runs/"), ["dirtune-runs/a", "dirtune-runs/b"]),
        (("dirtune", "compare", "dirtune-runs/a", "dirtune-runs/b"), ["dirtune-runs/b"]),
    ],
)
def test_shells_complete_names(home, shell, words, offered):
    assert completed(shell, home, *words) == offered


def test_patterns_of_ssh_config_are_no_hosts():
    assert ssh_hosts(CONFIG) == ["db", "lb1", "lb2.example"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_valid(shell, home):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "_DIRTUNE_COMPLETE": f"{shell}_source"}
    script = subprocess.run(
        (BIN / "dirtune",), check=True, capture_output=True, text=True, env=env
    ).stdout

    assert "_dirtune_completion" in script
    subprocess.run((shell, "-n"), input=script, check=True, text=True, cwd=home)


def test_zsh_gets_what_the_others_get(home):
    env = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "_DIRTUNE_COMPLETE": "zsh_complete",
        "COMP_WORDS": "dirtune audit --host lb",
        "COMP_CWORD": "3",
    }
    ended = subprocess.run(
        (BIN / "dirtune",), check=True, capture_output=True, text=True, env=env, cwd=home
    )

    assert ended.stdout.splitlines()[1::3] == ["lb1", "lb2.example"]
