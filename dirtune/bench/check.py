"""Check the nodes, tools, clocks, ports and duration of a plan before a run (`bench check`)."""

import asyncio
import shlex
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TypeVar

import msgspec

from dirtune.analyse import compare
from dirtune.bench import client, foreign_use, matrix, rig, tour
from dirtune.bench.connecting import connect
from dirtune.bench.ports_and_duration import TupleBudget, estimate_s, tuple_budget, warnings
from dirtune.errors import DirtuneError
from dirtune.packages import shell_lacks
from dirtune.plan import generators
from dirtune.plan.tables import Plan
from dirtune.remote import Node

# Each script prints one problem, or nothing if all is well.
_DIRECTOR = "[ -r /proc/net/ip_vs_stats_percpu ] || echo 'ip_vs is not loaded'"
_CLIENT = "command -v {program} >/dev/null || {lacks}"
# Exit statuses are ignored. ipvsadm runs only if ip_vs is loaded, because it would load ip_vs. For
# a program that prints no version (httperf would send a request), its package's version is used.
_VERSIONS = """\
echo "kernel $(uname -r)"
v() {{ command -v "$1" >/dev/null && echo "$1 $("$@" 2>&1 | head -n 1)"; }}
[ ! -r /proc/net/ip_vs ] || v ipvsadm --version
v {dirtune} --version
program={program}
if [ -n {tells} ]; then v "$program" --version
elif [ -n "$program" ]; then
  echo "$program $(dpkg-query -W -f '${{Version}}' "$program" 2>/dev/null ||
    rpm -q --qf '%{{VERSION}}' "$program" 2>/dev/null)"
fi
true
"""
_CLOCK = "while read -r word; do date +%s%N; done"
_REQUEST_S = 20

T = TypeVar("T")


class Readiness(msgspec.Struct, frozen=True):
    """The result of `bench check`, which says if the plan can run (`dirtune/bench-check/1`)."""

    nodes: dict[str, str | None]
    """The problem of each node, by the node's name; None if the node is ready."""
    versions: dict[str, dict[str, str]]
    """Versions of the kernel and the tools, by the name of each node that answered."""
    clocks_ms: dict[str, float | None]
    """Milliseconds by which each node's clock is ahead of this machine's clock; None if unknown. A
    difference is harmless, because each client gets its start times by its own clock."""
    vip: str | None
    """The traffic of others on the service, in words; None if nobody else uses the service."""
    forced: bool
    """Whether the plan allows a load on a service that others use (`load.force`)."""
    tuples: TupleBudget
    warnings: tuple[str, ...]
    sweep_trials: int
    """Number of trials in the sweep, including controls and all combinations of the matrix."""
    sweep_s: float
    """Estimated duration in seconds of the sweep, the knee searches and the observed trials."""
    pairs_s: float
    """Estimated duration in seconds of a comparison with the plan's number of pairs; if two looks
    are planned, until the first look."""
    schema: str = "dirtune/bench-check/1"
    pairs: int | None = None
    """Pairs until the first look, at each rate; None in a result of an older version."""
    at_most: int | None = None
    """Pairs until the second look, at each rate; None if only one look is planned."""
    pairs_at_most_s: float | None = None
    """Estimated seconds until the second look; None if only one look is planned."""

    @property
    def ready(self) -> bool:
        """Whether every node is ready and nobody else uses the service."""
        alone = self.vip is None or self.forced
        return alone and all(problem is None for problem in self.nodes.values())


async def check(plan: Plan, *, boots: bool = False) -> Readiness:
    """Connect to every node, check its tools, and send one request from each client.

    *boots* is True if dirtune can boot the director, as in a lab.
    """
    nodes, lost = await connect(plan, plan.hosts)
    try:
        # This check runs before the clients send their own requests.
        vip = await _vip(plan, nodes)
        problems, versions, clocks = await asyncio.gather(
            _of_each(nodes, lambda node: _problem(plan, node)),
            _of_each(nodes, lambda node: _versions(plan, node)),
            _of_each(nodes, _clock_ms),
        )
    finally:
        await asyncio.gather(*(node.close() for node in nodes.values()))
    all_problems = problems | {host: str(error) for host, error in lost.items()}
    sweep, load = tour.itinerary(plan, matrix.cells(plan, boots=boots)), plan.load
    return Readiness(
        nodes={host: all_problems[host] for host in plan.hosts},
        versions=versions,
        clocks_ms=clocks,
        vip=vip,
        forced=plan.load.force is not None,
        tuples=tuple_budget(plan),
        warnings=(*warnings(plan), *_no_verdict(plan), *sweep.refused),
        sweep_trials=len(sweep.trials),
        sweep_s=sweep.estimate_s,
        pairs_s=_pairs_s(plan, load.pairs),
        pairs=load.pairs,
        at_most=load.at_most,
        pairs_at_most_s=None if load.at_most is None else _pairs_s(plan, load.at_most),
    )


def _pairs_s(plan: Plan, pairs: int) -> float:
    return estimate_s(plan, 2 * pairs * len(plan.pair_rates))


def _no_verdict(plan: Plan) -> tuple[str, ...]:
    message = compare.too_few_pairs(plan.load.pairs)
    return () if message is None else (f"{message} A sweep does not use load.pairs.",)


async def _of_each(
    nodes: Mapping[str, Node], ask: Callable[[Node], Coroutine[None, None, T]]
) -> dict[str, T]:
    answers = await asyncio.gather(*(ask(node) for node in nodes.values()))
    return dict(zip(nodes, answers, strict=True))


async def _vip(plan: Plan, nodes: Mapping[str, Node]) -> str | None:
    try:
        return (
            await foreign_use.foreign(nodes, plan, patience_s=0)
            if plan.director.host in nodes
            else None
        )
    except DirtuneError:
        return None  # the node's own entry reports the problem of the director


async def _problem(plan: Plan, node: Node) -> str | None:
    clients = {peer.host for peer in plan.clients}
    try:
        if node.name == plan.director.host and (problem := await node.run(_DIRECTOR)):
            return problem.strip()
        if node.name in clients:
            program = client.program(plan)
            look = _CLIENT.format(program=shlex.quote(program), lacks=shell_lacks(program))
            if problem := await node.run(look):
                return problem.strip()
            timeout_s = rig.request_timeout_s(plan)
            text = await node.run(client.request(plan, timeout_s), timeout_s=_REQUEST_S)
            # A client that lacks a tool for one request may still run the load generator.
            bad = client.reply(text) is client.Reply.BAD
            return f"No good reply came from {plan.url}." if bad else None
    except DirtuneError as error:
        return str(error)
    return None


async def _versions(plan: Plan, node: Node) -> dict[str, str]:
    clients = {peer.host for peer in plan.clients}
    program = client.program(plan) if node.name in clients else ""
    dirtune = plan.director.dirtune.split() if node.name == plan.director.host else (":",)
    tells = program and generators.find(plan.load.generator).ABILITIES.tells_version
    words = {
        "program": shlex.quote(program),
        "dirtune": shlex.join(dirtune),
        "tells": "yes" if tells else "''",
    }
    try:
        text = await node.run(_VERSIONS.format(**words))
    except DirtuneError:
        return {}
    rows = (line.partition(" ") for line in text.splitlines())
    # Most programs print their own name before the version.
    return {name: text.removeprefix(name).lstrip(" -,") for name, _, text in rows if text}


async def _clock_ms(node: Node) -> float | None:
    try:
        async with await node.start(_CLOCK, guarded=False) as process:
            ahead_s, _ = await client.offset(process, time.time)
    except DirtuneError:
        return None
    return 1000 * ahead_s
