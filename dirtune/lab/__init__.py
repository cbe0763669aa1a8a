"""The director lab: a real director, its real servers and clients, on one machine."""

from pathlib import Path


def plan_path() -> Path | None:
    """Return the plan file of the running lab; None if no lab is up."""
    from dirtune.errors import LabError  # noqa: PLC0415  (psutil and msgspec wait for a lab)
    from dirtune.lab.lifecycle import running  # noqa: PLC0415

    try:
        return running().plan
    except LabError:
        return None
