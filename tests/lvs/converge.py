"""Run on a director: generated tables go to its kernel and come back, and converge in one go.

Used by tests/lab/test_lvs.py; a program of its own because the director has no pytest.
"""

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dirtune.host import LiveHost
from dirtune.lvs import kernel
from dirtune.lvs.diff import diff
from dirtune.lvs.model import Table
from tests.lvs.tables import services, tables

QUICK = settings(
    deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


def converges(desired):
    """One go makes *desired* of whatever is there, and then there is nothing to do."""
    with kernel.opened(LiveHost()) as ipvs:
        ipvs.carry_out(diff(ipvs.read(), desired))
        assert diff(ipvs.read(), desired) == ()


def elsewhere(service, shift):
    """Put *service* to another port or mark, and what must have its port along."""
    port = service.port + shift
    follows = service.protocol != "fwmark"
    moved = (
        replace(each, port=port) if follows and each.forwarding != "nat" else each
        for each in service.destinations
    )
    return replace(service, port=port, destinations=tuple(moved))


@settings(QUICK, max_examples=25)
@given(tables())
def small(desired):
    """Make a few services."""
    converges(desired)


@settings(QUICK, max_examples=3)
@given(st.lists(services(), min_size=8, max_size=8, unique_by=lambda each: each.port))
def large(some):
    """Make 200 services: each of 8 at 25 ports, for drawing 200 takes minutes."""
    converges(Table(tuple(elsewhere(each, 100 * n) for each in some for n in range(25))))


if __name__ == "__main__":
    small()
    large()
    converges(Table())
    print("converged")
