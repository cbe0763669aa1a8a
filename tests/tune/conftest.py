import pytest

from tests.tune.machine import build


@pytest.fixture
def machine(tmp_path):
    return build(tmp_path / "host")
