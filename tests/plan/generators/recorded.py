"""Where the recorded outputs of generators are, if they are here at all."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[4] / "shared"


def recorded(tool):
    """Return every recorded output of *tool* by its name."""
    ours = SHARED.glob(f"data/generators/{tool}_*.txt")
    found = sorted([*ours, *SHARED.glob(f"fixtures/{tool}/*.txt")])
    return {path.stem.removeprefix(f"{tool}_"): path.read_text() for path in found}


needs_shared = pytest.mark.skipif(
    not SHARED.exists(), reason="the shared recordings are not beside this checkout"
)
