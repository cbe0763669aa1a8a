"""Read the IPVS table of this host, of another host or of a plan."""

from dirtune.host import LiveHost
from dirtune.lvs import kernel
from dirtune.lvs.model import Seen, Table


def counted(host: str | None, netns: str | None = None) -> tuple[Table, tuple[Seen, ...]]:
    """Return the IPVS table of *host*, or of this host, with the counters of its services.

    *netns* is a network namespace of *host*.
    """
    if host is not None:
        from dirtune.jobs import far_directors

        return far_directors.table(host, netns)
    with kernel.opened(LiveHost()) as ipvs:
        return ipvs.read_counted()


def exported(plan: str | None, host: str | None, netns: str | None = None) -> Table:
    """Return the table of *plan*, or of *host*, or of this host."""
    if plan is not None:
        from dirtune.jobs import lvs_plans

        return lvs_plans.desired_table(lvs_plans.read(plan))
    if host is not None:
        return counted(host, netns)[0]
    with kernel.opened(LiveHost()) as ipvs:
        return ipvs.read()
