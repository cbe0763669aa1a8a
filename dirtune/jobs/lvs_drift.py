"""Compare the configuration of the keepalived that runs here with this host's IPVS table."""

from dirtune.collect.keepalived import configuration
from dirtune.errors import PlanError, SourceMissing, SourceRefused
from dirtune.host import LiveHost
from dirtune.jobs import notes, plan_files
from dirtune.lvs import drift, guard, kernel
from dirtune.lvs.model import Table


def differences(given: str | None) -> tuple[drift.Difference, ...] | None:
    """Return the differences if no plan is *given* or found, and keepalived owns the table.

    Returns None if there is a plan, or no keepalived with a configuration.
    """
    if given is not None or _has_plan():
        return None
    host = LiveHost()
    if "keepalived" not in dict(guard.look_around(host, Table()).owners):
        return None
    try:
        conf = configuration(host)
    except (SourceMissing, SourceRefused) as error:
        notes.warning(f"{error}.")
        return None
    with kernel.opened(host) as ipvs:
        return drift.differences(conf, drift.actual_of(ipvs.read()), versions=True)


def _has_plan() -> bool:
    try:
        plan_files.locate(None)
    except PlanError:
        return False
    return True
