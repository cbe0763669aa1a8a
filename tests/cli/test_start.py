"""What a start pays for: extras and slow libraries are imported by the commands that use them."""

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
SCRIPT = (
    "import sys; from click.testing import CliRunner; from dirtune.cli import main; "
    "done = CliRunner().invoke(main, sys.argv[1:]); assert done.exit_code == 0, done.output; "
    "print('\\n'.join(sys.modules))"
)


@pytest.mark.parametrize("argv", [("--help",), ("audit", "--root", "{root}"), ("irqs", "--help")])
def test_reading_a_record_imports_no_extra(tmp_path, argv):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/interrupts").write_text("           CPU0\n  0:  1  XT-PIC  timer\n")
    words = [word.format(root=tmp_path) for word in argv]

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True
    )

    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert "dirtune" in imported
    assert imported & SLOW == set()


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
