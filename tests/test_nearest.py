"""A name that there is not is refused with those it may have been meant for."""

import pytest

from dirtune.nearest import no_such

CHECKS = ("irq/shared-with-nic", "irq/single-cpu", "ipvs/quiesced", "nic/gro-off")


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("irq/shared", "No such check: irq/shared. Did you mean irq/shared-with-nic?"),
        ("shared-with-nic", "No such check: shared-with-nic. Did you mean irq/shared-with-nic?"),
        ("irq/s", "No such check: irq/s. Did you mean irq/shared-with-nic or irq/single-cpu?"),
        ("zzz", "No such check: zzz. `dirtune explain` lists them."),
        ("", "No such check: (no name). `dirtune explain` lists them."),
    ],
)
def test_the_nearest_are_named(word, shown):
    assert no_such("check", word, CHECKS, "`dirtune explain` lists them.") == shown
