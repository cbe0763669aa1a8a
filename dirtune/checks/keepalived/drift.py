from collections import defaultdict
from collections.abc import Iterator

from dirtune.addresses import joined
from dirtune.checks import Finding, Role, Severity, Verdicts, check, not_applicable
from dirtune.checks.ipvs import running
from dirtune.checks.keepalived import WITHOUT, configured
from dirtune.collect.ip_vs import Service
from dirtune.keepalived.model import Conf
from dirtune.lvs import drift as compare
from dirtune.snapshot import Snapshot

_SEVERITY = {
    "checker-down": Severity.MEDIUM,
    "inhibited": Severity.MEDIUM,
    "quorum-lost": Severity.HIGH,
    "not-reloaded": Severity.MEDIUM,
    "by-hand": Severity.MEDIUM,
}


@check(
    "keepalived/drift",
    severity=Severity.MEDIUM,
    trust="A",
    needs=("processes",),
    roles=(Role.DIRECTOR,),
)
def drift(snapshot: Snapshot, keepalived: Conf, services: tuple[Service, ...]) -> Verdicts:
    """The IPVS table is not the one that keepalived.conf describes.

    ## What it does
    While keepalived runs, the check compares the services, schedulers, destinations and weights of
    the kernel with keepalived.conf(5), and says why they differ. There is one finding for each
    cause: a health check fails, a failed health check set the weight to 0, the quorum is lost,
    keepalived was not reloaded, or somebody changed the table by hand. Timeouts that differ from
    `lvs_timeouts` are `low`.

    ## Why it matters
    A real server that is missing leaves its load to the others. An edit by hand is lost at the
    next reload of keepalived.

    ## Remediation
    Repair the real server; or reload keepalived, so that it reads its file again. Put changes that
    were made by hand into keepalived.conf.

    ## Known problems
    If a real server has a health check and is not in the table, the check concludes that the
    health check fails. Somebody may also have removed the real server by hand. The check does not
    compare persistence and flags.

    ## References
    - keepalived.conf(5), `inhibit_on_failure`, `quorum`
    """
    if not configured(keepalived):
        yield WITHOUT
        return
    if not running(snapshot, ("keepalived",)):
        yield not_applicable("keepalived does not run")
        return
    causes: dict[compare.Cause, list[compare.Difference]] = defaultdict(list)
    for difference in compare.differences(keepalived, _actual(services)):
        causes[difference.cause].append(difference)
    for cause, differences in causes.items():
        yield Finding(
            differences[0].name,
            _SEVERITY[cause],
            differences[0].why,
            {"cause": cause},
            also=tuple(difference.name for difference in differences[1:]),
        )
    yield from _timeouts(snapshot, keepalived)


def _timeouts(snapshot: Snapshot, conf: Conf) -> Iterator[Finding]:
    given = {
        "tcp": conf.globals.tcp_s,
        "tcp_fin": conf.globals.tcp_fin_s,
        "udp": conf.globals.udp_s,
    }
    now = snapshot.ipvs.timeouts_s if snapshot.ipvs else {}
    for name, seconds in given.items():
        if seconds and name in now and now[name] != seconds:
            yield Finding(
                f"{name} timeout",
                Severity.LOW,
                f"The {name} timeout of IPVS is {now[name]} s, but keepalived.conf has "
                f"{seconds} s",
                {"timeout_s": now[name], "lvs_timeouts_s": seconds},
            )


def _actual(services: tuple[Service, ...]) -> compare.Actual:
    return {
        service.name: (
            service.scheduler,
            {joined(real.address, real.port): real.weight for real in service.destinations},
        )
        for service in services
    }
