"""Lets the tests of this folder import the helper beside them, and boots the labs they name."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from benches import lab_of


@pytest.fixture(scope="session")
def booted(request, tmp_path_factory):
    """The lab that a test's marks name (`benches.in_lab`); the one before it is taken down."""
    with lab_of(request.param, tmp_path_factory.mktemp("lab")):
        yield
