"""A command line in a process of its own that has everything the test put in place of machines."""

import io
import os
import signal
import sys
import time
import warnings
from pathlib import Path

from dirtune.cli import main


class Forked:
    """`dirtune` with *words*; its output goes to the file or descriptor that is given."""

    def __init__(self, words, stdout, stderr):
        with warnings.catch_warnings():  # of Python 3.12: the threads of the test runner
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if not self.pid:
            self._be(words, stdout, stderr)

    def _be(self, words, stdout, stderr):
        status = 99
        try:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.default_int_handler)
            for descriptor, target in ((1, stdout), (2, stderr)):
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                file = os.open(target, flags) if isinstance(target, Path) else target
                os.dup2(file, descriptor)
            sys.stdout = sys.__stdout__ = io.TextIOWrapper(io.FileIO(1, "w", closefd=False))
            sys.stderr = sys.__stderr__ = io.TextIOWrapper(io.FileIO(2, "w", closefd=False))
            main([*words])
        except SystemExit as end:
            status = end.code
        finally:
            os._exit(status)

    def kill(self, number):
        """Send a signal to the whole group, as a terminal does."""
        os.killpg(self.pid, number)

    def status(self, seconds=20):
        """Wait for its end and return its exit status."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        self.kill(signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"it does not end within {seconds} s")


def wait_for(condition, seconds=20):
    """Wait until *condition* holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so within {seconds} s"
        time.sleep(0.02)
