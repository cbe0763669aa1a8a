import pytest

from tests.change.machine import build


@pytest.fixture
def machine(tmp_path):
    return build(tmp_path / "host")
