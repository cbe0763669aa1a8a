"""The part of a run's plan that its results depend on. Pure.

`Run.plan` is this type for a run of any version, the figures of the 2001 paper among them: every
table may be missing, and an unknown key is ignored. The run keeps the plan as it was written in
`Run.plan_document`, so that nothing is lost when the run is written again. A run that goes on
needs the whole plan, which `dirtune.plan.kept` makes of that document.
"""

from collections.abc import Mapping

import msgspec

from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.plan import tables


class Load(msgspec.Struct, frozen=True):
    """The load, as far as results depend on it."""

    service: int = 0


class Destination(msgspec.Struct, frozen=True):
    """A real server of a service."""

    forwarding: str = "dr"


class Service(msgspec.Struct, frozen=True):
    """A virtual service."""

    destinations: tuple[Destination, ...] = ()


class Compare(msgspec.Struct, frozen=True):
    """The comparison of arms."""

    threshold: float | None = None
    """Smallest effect that matters, in per cent."""


class Controls(msgspec.Struct, frozen=True):
    """Controls beside the main measurement."""

    link_bits_per_s: float | None = None
    """Capacity of the director's link."""


class Price(tables.Price, frozen=True, forbid_unknown_fields=False):
    """The prices of the set-up."""


class Recorded(msgspec.Struct, frozen=True):
    """The tables of a plan that results are computed from."""

    load: Load = Load()
    services: tuple[Service, ...] = ()
    compare: Compare = Compare()
    controls: Controls | None = None
    price: Price | None = None

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """The real servers of the service that the load went to; empty if the plan has none."""
        number = self.load.service
        return self.services[number].destinations if number in range(len(self.services)) else ()

    @property
    def link_bits_per_s(self) -> float | None:
        """Capacity of the director's link; None if the plan does not give it."""
        return self.controls.link_bits_per_s if self.controls else None


@parsing("the run's plan")
def recorded(plan: Mapping[str, object]) -> Recorded:
    """Return what *plan* of a run says; `ParseError` if a value has another type than it has."""
    try:
        return msgspec.convert(plan, Recorded)
    except msgspec.ValidationError as error:
        raise ParseError("the run's plan", str(error)) from error
