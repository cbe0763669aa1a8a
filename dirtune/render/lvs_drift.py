"""Render the differences between keepalived's configuration and the IPVS table."""

from collections.abc import Sequence

import msgspec

from dirtune.escape import one_line
from dirtune.lvs.drift import Difference, DriftDocument


def document(differences: Sequence[Difference]) -> str:
    """Return the differences as JSON."""
    return msgspec.json.encode(DriftDocument(differences=tuple(differences))).decode()


def text(differences: Sequence[Difference]) -> str:
    """Return one line for each difference."""
    if not differences:
        return "The IPVS table is the one that keepalived.conf describes."
    return "\n".join(one_line(f"{each.cause}: {each.why}") for each in differences)
