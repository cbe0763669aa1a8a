"""Completion, as real shells ask for it."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dirtune.cli._completion import fixes, runs, ssh_hosts

BIN = Path(sys.executable).parent
CONFIG = 'Host lb1 lb2.example *.lab !bad\n  HostName 198.18.0.1\nhost = "db"\nMatch all\n'
PLAN = """
ssh_config = "hosts"
[director]
host = "gate"
[[services]]
vip = "198.18.0.100"
port = 80
[[services.destinations]]
node = "rs1"
forwarding = "nat"
[[real_servers]]
name = "rs1"
host = "lb.rs1"
address = "198.18.0.11"
[[clients]]
host = "client1"
[load]
rates = [200]
"""


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
        (
            ("dirtune", "fix", "plan", "irq/shared-with-nic/u"),
            ["irq/shared-with-nic/unbind-partners"],
        ),
        (("dirtune", "audit", "--select", "irq/shared"), ["irq/shared-with-nic"]),
        (("dirtune", "audit", "--host", "lb"), ["lb1", "lb2.example"]),
        (("dirtune", "report", "dirtune-runs/"), ["dirtune-runs/a", "dirtune-runs/b"]),
        (("dirtune", "compare", "dirtune-runs/a", "dirtune-runs/b"), ["dirtune-runs/b"]),
    ],
)
def test_shells_complete_names(home, shell, words, offered):
    assert completed(shell, home, *words) == offered


@pytest.mark.parametrize("name", ["$(touch PWN)", "a;id", "a b", "`id`", "a'b", "a&b", "a\nb"])
def test_a_run_whose_name_a_shell_would_obey_is_not_offered(home, monkeypatch, name):
    monkeypatch.chdir(home)
    folder = home / "dirtune-runs" / name
    folder.mkdir()
    (folder / "run.json").touch()

    words = [item.value for item in runs(None, None, "")]

    assert words == ["dirtune-runs/a", "dirtune-runs/b"]


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_hosts_of_the_plan_in_this_folder_are_offered_too(home, shell):
    (home / "dirtune.toml").write_text(PLAN)
    (home / "hosts").write_text("Host lb9\n")

    assert completed(shell, home, "dirtune", "audit", "--host", "lb") == [
        *("lb.rs1", "lb1", "lb2.example", "lb9"),
    ]


def test_a_plan_that_is_no_plan_costs_only_its_hosts(home):
    (home / "dirtune.toml").write_text("[director\n")

    assert completed("bash", home, "dirtune", "audit", "--host", "lb") == ["lb1", "lb2.example"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("ipvs/conn-reuse-delay/", "ipvs/conn-reuse-delay/stop-ipvs-conntrack"),
        ("ipvs/schedule-icmp/", "ipvs/schedule-icmp/schedule-icmp"),
    ],
)
def test_fixes_of_a_check_are_offered_after_its_slash(typed, offered):
    assert offered in fixes(None, None, typed)
    assert fixes(None, None, f"{typed}zzz") == []


def test_an_unknown_check_has_no_fixes():
    assert fixes(None, None, "../etc/passwd/") == fixes(None, None, "ipvs/nosuch/") == []


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


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("dirtune explain irq/shared", "dirtune explain irq/shared-with-nic "),
        ("dirtune fix plan --host gat", "dirtune fix plan --host gate "),
        ("dirtune report dirtune-runs/a", "dirtune report dirtune-runs/a "),
    ],
)
def test_zsh_completes_the_line_at_tab(home, typed, line):
    """In a terminal of its own, a widget prints the line as Tab left it."""
    (home / "dirtune.toml").write_text(PLAN)
    (home / ".zshrc").write_text(
        "autoload -Uz compinit; compinit -u -D\n"
        'eval "$(_DIRTUNE_COMPLETE=zsh_source dirtune)"\n'
        "shown() { print -r -- \"<<$BUFFER>>\" >$HOME/line; }; zle -N shown; bindkey '^X' shown\n"
        "PS1=ready:\n"
    )
    main, far = pty.openpty()
    path = f"{BIN}:{os.environ['PATH']}"
    env = {"HOME": str(home), "ZDOTDIR": str(home), "PATH": path, "TERM": "dumb"}
    shell = subprocess.Popen(
        ("zsh", "-i", "-o", "no_global_rcs"),
        stdin=far,
        stdout=far,
        stderr=far,
        env=env,
        cwd=home,
        start_new_session=True,
    )
    os.close(far)
    try:
        output = read_until(main, b"ready:")
        os.write(main, f"{typed}\t\x18".encode())
        wait_for(lambda: (home / "line").exists() and (home / "line").read_text().endswith("\n"))
    finally:
        shell.kill()
        shell.wait()
        os.close(main)

    assert (home / "line").read_text() == f"<<{line}>>\n", output


def read_until(descriptor, mark):
    output = b""
    while mark not in output:
        assert select.select([descriptor], [], [], 60)[0], output
        output += os.read(descriptor, 4096)
    return output


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
