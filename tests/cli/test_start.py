"""What a start pays for: extras and slow libraries are imported by the commands that use them."""

import importlib.util
import os
import signal
import subprocess
import sys

import pytest

SLOW = {
    "altair",
    "bcc",
    "jinja2",
    "prometheus_client",
    "pyroute2",
    "scipy",
    "MLRsearch",
}
# Neither the help nor a recorded host needs these.
UNUSED = {
    *(*SLOW, "asyncio", "difflib", "rich", "tarfile"),
    *("dirtune.archive", "dirtune.bench", "dirtune.fetch", "dirtune.lab", "dirtune.lvs.diff"),
    *("dirtune.lvs.draining", "dirtune.lvs.kernel", "dirtune.plan"),
    *("dirtune.probes", "dirtune.remote", "dirtune.tune"),
}


@pytest.mark.parametrize(
    ("argv", "unused"),
    [
        (
            ("--help",),
            {"msgspec", "tabulate", "dirtune.checks", "dirtune.collect", "dirtune.host"},
        ),
        (("irqs", "--help"), {"dirtune.change", "dirtune.checks", "dirtune.lvs"}),
        (("audit", "--root"), {"tabulate", "dirtune.change"}),
        (("fix", "plan", "--root"), {"tabulate", "dirtune.change.journal"}),
        (("irqs", "--root"), {"dirtune.change", "dirtune.checks", "dirtune.lvs"}),
    ],
)
def test_a_command_imports_only_what_it_uses(tmp_path, argv, unused):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/interrupts").write_text("           CPU0\n  0:  1  XT-PIC  timer\n")
    root = [str(tmp_path)] * (argv[-1] == "--root")

    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dirtune", *argv, *root],
        capture_output=True,
        text=True,
        check=True,
    )

    rows = (row.rpartition("|")[2].strip() for row in done.stderr.splitlines())
    # An extra counts even if only a part of it is imported.
    imported = {name for row in rows for name in (row, row.partition(".")[0])}
    assert "dirtune.start" in imported
    ours = (name for name in UNUSED | unused if name.startswith("dirtune."))
    assert all(map(importlib.util.find_spec, ours)), "a name went"
    assert imported & (UNUSED | unused) == set()


def test_what_a_far_audit_asks_for_starts_quickly():
    """`dirtune netlink` runs twice on each director: pyroute2 would be most of its time."""
    script = (
        "import sys; from dirtune.start import main; sys.argv[1:] = ['netlink']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print('modules', *sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    imported = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "dirtune" in imported
    assert imported & (SLOW | {"asyncio", "ctypes"}) == set()


def test_an_interrupt_while_the_commands_are_imported_has_no_traceback(tmp_path):
    (tmp_path / "click.py").write_text("import time; print('on', flush=True); time.sleep(20)\n")
    process = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "dirtune", "--help"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"on\n"

    process.send_signal(signal.SIGINT)

    _, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (-signal.SIGINT, b"")
