"""Let keepalived read its configuration again, and wait until the IPVS table shows it."""

import time

from dirtune.collect import keepalived_daemon
from dirtune.collect.keepalived_daemon import Daemon
from dirtune.errors import ApplyError
from dirtune.host import Host, WritableHost
from dirtune.keepalived import reading
from dirtune.keepalived.model import Conf
from dirtune.lvs import drift, kernel
from dirtune.lvs.model import Table

_POLL_S = 0.25
_GRACE_S = 5.0
"""Seconds until an absent real server counts as one whose health check fails."""
_LOG = "keepalived's log says why: journalctl -u keepalived"


def reload(
    host: WritableHost, path: str, config_id: str | None, known: tuple[str, ...], wait_s: float
) -> None:
    """Send SIGHUP to keepalived, and return once the IPVS table is as the file *path* has it.

    *known* are the names of differences that were there before, and may stay. Raises `ApplyError`
    if keepalived ends, or if the table is not as described after *wait_s* seconds.
    """
    conf = reading.read(host, path, config_id)
    daemon = keepalived_daemon.find(host)
    host.hang_up(daemon.pid, lambda: _runs(host, daemon))
    _wait(host, daemon, conf, frozenset(known), wait_s)


def restore(
    host: WritableHost,
    path: str,
    config_id: str | None,
    known: tuple[str, ...],
    wait_s: float,
    unit: str,
) -> None:
    """Let keepalived read the file *path* again, which was restored.

    A keepalived whose systemd service *unit* failed is started. One that somebody has stopped is
    left alone. Raises `NotPossible` if more than one keepalived runs.
    """
    if keepalived_daemon.running(host) is None:
        if unit and _failed(host, unit):
            host.run(("systemctl", "restart", unit))
        return
    reload(host, path, config_id, known, wait_s)


def _wait(host: Host, daemon: Daemon, conf: Conf, known: frozenset[str], wait_s: float) -> None:
    begun_s = time.monotonic()
    agreed = False
    while True:
        if not _runs(host, daemon):
            raise ApplyError(
                f"keepalived (process {daemon.pid}) ended when it read its configuration again. "
                f"{_LOG}"
            )
        table = _table(host)
        missing = [name for name in drift.misses(conf, table) if name not in known]
        waited_s = time.monotonic() - begun_s
        if not missing:
            whole = not drift.differences(conf, drift.actual_of(table), versions=True)
            if (whole and agreed) or waited_s >= _GRACE_S:
                return
            agreed = whole
        elif waited_s >= wait_s:
            raise ApplyError(
                f"keepalived did not set {missing[0]} as its configuration has it within "
                f"{wait_s:g} s. {_LOG}"
            )
        time.sleep(_POLL_S)


def _table(host: Host) -> Table:
    if not kernel.loaded(host):
        return Table()
    with kernel.opened(host) as ipvs:
        return ipvs.read()


def _runs(host: Host, daemon: Daemon) -> bool:
    return keepalived_daemon.started(host, daemon.pid) == daemon.started


def _failed(host: WritableHost, unit: str) -> bool:
    state = host.run(("systemctl", "show", "-p", "ActiveState", "--value", unit))
    return state.strip() == "failed"
