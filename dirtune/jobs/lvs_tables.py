"""The IPVS table of a host, this one or another, or of a plan."""

from dirtune.host import LiveHost
from dirtune.lvs import kernel
from dirtune.lvs.model import Seen, Table


def counted(host: str | None) -> tuple[Table, tuple[Seen, ...]]:
    """Return the IPVS table of *host*, else of this one, with what it counts of each service."""
    if host is not None:
        from dirtune.jobs import far_directors

        return far_directors.table(host)
    with kernel.opened(LiveHost()) as ipvs:
        return ipvs.read_counted()


def exported(plan: str | None, host: str | None) -> Table:
    """Return the table of a plan, else of *host*, else of this one."""
    if plan is not None:
        from dirtune.jobs import lvs_plans

        return lvs_plans.wanted(lvs_plans.read(plan))
    if host is not None:
        return counted(host)[0]
    with kernel.opened(LiveHost()) as ipvs:
        return ipvs.read()
