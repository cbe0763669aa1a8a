"""Find or build the one file that dirtune sends to other hosts."""

import os
from typing import TYPE_CHECKING

from dirtune import __version__
from dirtune.errors import NotPossible
from dirtune.host import run
from dirtune.jobs import notes

if TYPE_CHECKING:
    from dirtune.remote.one_file import OneFile

_BUILD_S = 3600


def found() -> "OneFile":
    """Return the file for this kind of machine; raises `NotPossible`, with the remedy."""
    from dirtune.remote import one_file

    return one_file.find(os.uname().machine)


def build() -> None:
    """Build the file from the checkout of this dirtune, with `make dist`.

    Raises `NotPossible` if dirtune runs from no checkout, or if make(1) fails.
    """
    from dirtune.remote import one_file

    checkout = one_file.checkout()
    if checkout is None:
        raise NotPossible(
            "This dirtune runs from no checkout, so it cannot build the one file. Run "
            f"`dirtune dist --self` in a checkout of dirtune {__version__}."
        )
    notes.progress(f"building {checkout / 'dist'}, which takes some minutes")
    run(("make", "-C", str(checkout), "dist"), timeout_s=_BUILD_S)
