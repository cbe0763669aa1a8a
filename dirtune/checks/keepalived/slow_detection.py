from dirtune.checks import Finding, Role, Severity, Verdicts, check
from dirtune.checks.keepalived import WITHOUT, configured
from dirtune.keepalived.model import Checker, Conf, RealServer, VirtualServer
from dirtune.snapshot import Snapshot

# Defaults of keepalived 2.2.7: alloc_vs() of check_data.c, and the check_*.c.
_DELAY_LOOP_S = 60.0
_TIMEOUT_S = 5.0
_RETRIES = {"DNS_CHECK": 3, "MISC_CHECK": 0}
_RETRY = 1
_WITHOUT_TIMES = frozenset({"BFD_CHECK", "FILE_CHECK"})
_SLOW_S = 60.0


@check("keepalived/slow-detection", severity=Severity.LOW, trust="B", roles=(Role.DIRECTOR,))
def slow_detection(_: Snapshot, keepalived: Conf) -> Verdicts:
    """A dead real server gets new connections for more than a minute.

    ## What it does
    The check computes how long each health check of keepalived.conf(5) takes to notice a real
    server that answers no more: one `delay_loop`, and for each attempt the timeout and
    `delay_before_retry`. It reports virtual servers for which that is more than 60 s, one
    finding for all of them. It also reports virtual servers whose health check has no second
    attempt (`retry 0`): one lost packet removes the real server.

    ## Why it matters
    `delay_loop` is 60 s unless it is set. Until keepalived notices, IPVS sends its share of new
    connections to the dead real server. A check that gives up too early makes real servers come
    and go, and each time clients lose connections.

    ## Remediation
    Set `delay_loop 6`, `retry 2`, `delay_before_retry 1` and `connect_timeout 3`, or values that
    fit the service.

    ## Known problems
    Several checks of one real server notice faults independently; the check uses the fastest.

    ## References
    - keepalived.conf(5), `delay_loop`, `retry`
    """
    if not configured(keepalived):
        yield WITHOUT
        return
    slow, eager = {}, []
    for server in keepalived.virtual_servers:
        times = [
            min(_seconds(server, real, checker) for checker in checkers)
            for real in server.real_servers
            if (checkers := [c for c in real.checkers if c.kind not in _WITHOUT_TIMES])
        ]
        if times and max(times) > _SLOW_S:
            slow[f"virtual_server {server.name}"] = max(times)
        if any(_given(server, r, c) == 0 for r in server.real_servers for c in r.checkers):
            eager.append(f"virtual_server {server.name}")
    if slow:
        first, *rest = sorted(slow, key=lambda name: -slow[name])
        yield Finding(
            first,
            Severity.LOW,
            f"A dead real server of {first} is noticed only after {slow[first]:.0f} s",
            {"seconds": slow[first]},
            also=tuple(rest),
        )
    if eager:
        yield Finding(
            eager[0],
            Severity.LOW,
            f"A single failed check removes a real server of {eager[0]}",
            {"retry": 0},
            also=tuple(eager[1:]),
        )


def _given(server: VirtualServer, real: RealServer, checker: Checker) -> int | None:
    """Return the configured number of further attempts; None if none is configured."""
    return next((r for r in (checker.retry, real.retry, server.retry) if r is not None), None)


def _first(default: float, *given: float | None) -> float:
    return next((value for value in given if value is not None), default)


def _seconds(server: VirtualServer, real: RealServer, checker: Checker) -> float:
    delay = _first(_DELAY_LOOP_S, checker.delay_loop_s, real.delay_loop_s, server.delay_loop_s)
    timeout = _first(
        _TIMEOUT_S, checker.connect_timeout_s, real.connect_timeout_s, server.connect_timeout_s
    )
    pause = _first(
        1.0, checker.delay_before_retry_s, real.delay_before_retry_s, server.delay_before_retry_s
    )
    given = _given(server, real, checker)
    retries = _RETRIES.get(checker.kind, _RETRY) if given is None else given
    if checker.kind == "MISC_CHECK":
        timeout = checker.script_timeout_s or 0.0
    return delay + timeout + retries * (timeout + pause)
