"""An audit opens nothing for writing and loads nothing: strace(1) is the witness."""

import os
import re
import shutil
import subprocess
import sys

import pytest

WRITES = re.compile(
    r'open(?:at)?\(.*"(?P<path>[^"]*)", [^)]*\b(?:O_WRONLY|O_RDWR|O_CREAT|O_TRUNC)'
)
CHANGES = re.compile(
    r"\b(?:f?init_module|delete_module|mount|umount2|unlink(?:at)?|rename(?:at2?)?|mkdir(?:at)?"
    r"|f?truncate|f?ch(?:mod|own)(?:at)?|sethostname|reboot|swapon|bpf|perf_event_open)\("
)
# Where every program writes: the terminal, nowhere, and its own pipes.
HARMLESS = re.compile(r"/dev/(?:null|tty|pts/\d+)|/proc/self/fd/\d+")


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize(
    "command", [("audit", "--interval", "0.1"), ("irqs", "--interval", "0.1")]
)
def test_nothing_on_the_host_is_changed_by_looking(tmp_path, command):
    trace = tmp_path / "trace"
    argv = [
        "strace",
        "-f",
        "-qq",
        "-s",
        "300",
        "-o",
        str(trace),
        "-e",
        "trace=%file,%desc,%process",
    ]
    argv[-1] += ",init_module,finit_module,delete_module,bpf,perf_event_open,reboot,sethostname"
    done = subprocess.run(
        [*argv, sys.executable, "-m", "dirtune", *command],
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode in {0, 1}, done.stderr
    rows = trace.read_text(errors="replace").splitlines()
    assert any("/proc/interrupts" in row for row in rows), "the trace saw the reading"
    opened = [found["path"] for row in rows if (found := WRITES.search(row))]
    assert [path for path in opened if not HARMLESS.fullmatch(path)] == []
    assert [row for row in rows if CHANGES.search(row)] == []
