"""Define types for the part of a run's plan on which results depend. Pure.

`Run.plan` has the type `Recorded`. Every table may be missing, and unknown keys are ignored, so
that runs of every dirtune version can be read, as can the run that holds the figures of the 2001
paper. `Run.plan_document` holds the original plan, so nothing is lost when a run is saved again.
To continue a run, `dirtune.plan.kept` restores the complete plan from `Run.plan_document`.
"""

from collections.abc import Mapping

import msgspec

from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.plan import tables


class Load(msgspec.Struct, frozen=True):
    """The part of the table `load` on which results depend."""

    service: int = 0


class Destination(msgspec.Struct, frozen=True):
    """A real server to which a service forwards connections."""

    forwarding: str = "dr"


class Service(msgspec.Struct, frozen=True):
    """A virtual service and its real servers."""

    destinations: tuple[Destination, ...] = ()


class Compare(msgspec.Struct, frozen=True):
    """The settings for a comparison before and after a fix."""

    threshold: float | None = None
    """The smallest effect that matters, in per cent."""
    covariate: str | None = None
    """The metric at equal values of which the arms are compared."""


class Controls(msgspec.Struct, frozen=True):
    """The part of the table `controls` on which results depend."""

    link_bits_per_s: float | None = None
    """Capacity of the director's link, in bits/s."""


class Price(tables.Price, frozen=True, forbid_unknown_fields=False):
    """The prices of the nodes."""


class Recorded(msgspec.Struct, frozen=True):
    """The tables of a plan on which results depend."""

    load: Load = Load()
    services: tuple[Service, ...] = ()
    compare: Compare = Compare()
    controls: Controls | None = None
    price: Price | None = None

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """The real servers of the service that carries the load; empty if the plan lists none."""
        number = self.load.service
        return self.services[number].destinations if number in range(len(self.services)) else ()

    @property
    def link_bits_per_s(self) -> float | None:
        """Capacity of the director's link in bits/s; None if the plan does not give it."""
        return self.controls.link_bits_per_s if self.controls else None


@parsing("the run's plan")
def recorded(plan: Mapping[str, object]) -> Recorded:
    """Return the tables on which results depend from the *plan* of a run.

    Raises `ParseError` if a value has a wrong type.
    """
    try:
        return msgspec.convert(plan, Recorded)
    except msgspec.ValidationError as error:
        raise ParseError("the run's plan", str(error)) from error
