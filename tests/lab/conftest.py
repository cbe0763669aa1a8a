"""Lets the tests of this folder import the helper beside them, and boots the labs they name."""

import os
import sys
from pathlib import Path

import pytest

from dirtune.lab import state

sys.path.insert(0, str(Path(__file__).parent))

from benches import lab_of


@pytest.fixture(scope="session")
def booted(request, tmp_path_factory):
    """The lab that a test's marks name (`benches.in_lab`); the one before it is taken down."""
    with lab_of(request.param, tmp_path_factory.mktemp("lab")):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Show the lab's state and the end of the director's console beside each failure."""
    report = yield
    if report.failed and "booted" in item.fixturenames and "DIRTUNE_LAB" in os.environ:
        console = Path(os.environ["DIRTUNE_LAB"]) / "console.log"
        words = console.read_text(errors="replace") if console.exists() else "no console"
        report.sections.append(("the lab", repr(state.folder().status())))
        report.sections.append(("the director's console", words[-3000:]))
    return report
