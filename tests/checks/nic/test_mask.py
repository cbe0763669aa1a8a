import pytest

from dirtune.checks.nic import mask


@pytest.mark.parametrize(
    ("cpus", "text"),
    [((0,), "1"), ((1, 2, 3), "e"), ((31,), "80000000"), ((0, 32), "1,00000001")],
)
def test_a_mask(cpus, text):
    assert mask(cpus) == text
