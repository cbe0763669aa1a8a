"""Measure a fail-over: a steady load, and a command that makes the director fail meanwhile.

The clients start connections on a fixed schedule (open loop), whether or not earlier ones are
answered, so the connections that a fail-over loses are those of real clients at this rate.
"""

import asyncio
from collections.abc import Iterator, Sequence

import msgspec

from dirtune import remote
from dirtune.analyse import failover
from dirtune.analyse.failover import Failover
from dirtune.bench import rig
from dirtune.bench.outcome import ClientResult
from dirtune.errors import PlanError
from dirtune.plan import generators
from dirtune.plan.tables import Plan

COMMAND_LIMIT_S = 600
"""Seconds within which the command must end: it may wait until the director has booted again."""
_GOOD = range(200, 300)


def prepared(plan: Plan, rate: float | None, before_s: float, after_s: float) -> Plan:
    """Return *plan* with a steady load at *rate*, by default the plan's first rate.

    The load lasts *before_s* seconds until the command starts, and *after_s* seconds from then on.
    Raises `PlanError` if the load generator does not log its replies.
    """
    if not generators.find(plan.load.generator).ABILITIES.logs_replies:
        raise PlanError(
            f"load.generator: {plan.load.generator} does not log the time of each reply, which a "
            'fail-over needs. Use generator = "h2load"'
        )
    load = msgspec.structs.replace(
        plan.load,
        rates=(rate or plan.load.rates[0],),
        ramp=0,
        warmup=before_s,
        warmup_max=None,
        window=after_s,
        duration=before_s + after_s,
        keepalive=1,
    )
    return msgspec.structs.replace(plan, load=load)


async def measure(plan: Plan, command: str) -> Failover:
    """Run the load of a *plan* from `prepared`, and *command* on this machine after the warm-up.

    Raises `NotPossible` if the command fails, and `TrialError` if the service does not answer
    before it.
    """
    load, clients = plan.load, len(plan.clients)
    ticks = generators.schedules(load.rates[0], clients, load.load_s)
    async with rig.opened(plan) as nodes:
        await nodes.ready()
        await nodes.preflight()
        controller = await remote.connect(remote.LOCAL)
        live = await nodes.load(ticks)
        try:
            await nodes.sleep_until(live.began_s + load.warmup_s)
            command_s = nodes.now() - live.began_s
            failing = asyncio.ensure_future(controller.run(command, timeout_s=COMMAND_LIMIT_S))
            try:
                results, _ = await live.finish()
                began_s = live.began_s
                await failing
            finally:
                failing.cancel()
        finally:
            await live.end()
            await controller.close()
    intended = sum(schedule.connections for schedule in ticks)
    return outcome(plan, results, command, (began_s, began_s + command_s), intended)


def outcome(
    plan: Plan,
    results: Sequence[ClientResult],
    command: str,
    moments_s: tuple[float, float],
    intended: int,
) -> Failover:
    """Return what *results*, the reports of the clients, say about the fail-over.

    *moments_s* are the start of the load and the start of the command, by the controller's clock.
    """
    began_s, started_s = moments_s
    load = plan.load
    answered = [moment - began_s for result in results for moment in _answered_s(result)]
    command_s = started_s - began_s
    silence = failover.longest(answered, command_s, load.load_s)
    reports = [report for result in results for report in result.reports]
    known = [report.attempted for report in reports]
    failed: dict[str, int] = {}
    for report in reports:
        for kind, count in report.failed.items():
            failed[kind] = failed.get(kind, 0) + count
    complete = None not in known and not any(result.error for result in results)
    return Failover(
        offered_rate=generators.offered(load.rates[0], len(plan.clients)),
        seconds=load.load_s,
        timeout_s=load.timeout_s,
        command=command,
        command_s=command_s,
        intended=intended,
        attempted=sum(count or 0 for count in known) if complete else None,
        replied=sum(report.replied for report in reports),
        failed=failed,
        silence_s=silence.seconds if silence else None,
        silence_at_s=silence.at_s if silence else None,
        usual_silence_s=failover.usual(answered, command_s),
        recovered=silence is not None and silence.ended,
        problems=tuple(_problems(results)),
    )


def _problems(results: Sequence[ClientResult]) -> Iterator[str]:
    for result in results:
        if result.error is not None:
            yield f"{result.host}: {result.error}"
        unsent = sum(sum(report.unsent.values()) for report in result.reports)
        if unsent:
            yield f"{result.host} could not start {unsent} connections, which are not counted"


def _answered_s(result: ClientResult) -> Iterator[float]:
    """Yield the moments at which a client got good replies, by the controller's clock."""
    rows = [reply for report in result.reports for reply in report.replies]
    if not rows or result.started_s is None:
        return
    # `started_s` is when the first request of the log was sent.
    first_us = min(reply.start_us for reply in result.reports[0].replies or rows)
    for reply in rows:
        if reply.status in _GOOD:
            yield result.started_s + (reply.end_us - first_us) / 1e6
