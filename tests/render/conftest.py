"""What every test of renderers is given."""

import pytest

from tests.render.crowded import RUN


@pytest.fixture
def run():
    return RUN
