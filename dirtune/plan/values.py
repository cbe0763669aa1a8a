"""Define the types of values in a plan, and the base class of its tables. Pure.

A duration is a text such as `500ms`, `90s` or `3m`, or a number of seconds.
"""

import re
from typing import Annotated

import msgspec

from dirtune.errors import PlanError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Scheduler = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_-]{1,15}$(?!\n)")]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e15)]
"""A finite number; TOML would also allow `inf`."""
Count = Annotated[int, msgspec.Meta(ge=1)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Duration = str | int | float


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of a plan, in which an unknown key is an error."""


def seconds(duration: Duration) -> float:
    """Return *duration* in seconds.

    Raises `PlanError` if *duration* is a text that is not a duration.
    """
    if isinstance(duration, (int, float)):
        return float(duration)
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(ms|s|m|h)", duration.strip())
    if match is None:
        raise PlanError(f"{duration!r} is not a duration such as 500ms, 90s or 3m")
    return float(match[1]) * _UNITS[match[2]]
