"""Run a lab: a real director with real servers and clients, all on one machine."""

from pathlib import Path


def plan_path() -> Path | None:
    """Return the plan file of the running lab; None if no lab is up."""
    from dirtune.errors import LabError  # noqa: PLC0415  (psutil is needed only for a lab)
    from dirtune.lab.lifecycle import running  # noqa: PLC0415

    try:
        return running().plan
    except LabError:
        return None
