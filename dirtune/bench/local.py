"""Profile this machine: take a sample every second while the probes measure."""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TypeVar

import msgspec

from dirtune import signals
from dirtune.analyse import bottleneck, cpu, work
from dirtune.analyse.cpu import Sample
from dirtune.analyse.lines import nic_actions
from dirtune.analyse.probed import Probed
from dirtune.analyse.profile import Profile
from dirtune.analyse.programs import Program, by_program
from dirtune.analyse.run import Role
from dirtune.collect.interrupts import Interrupts, read_interrupts
from dirtune.collect.ip_vs import read_ip_vs_stats_percpu
from dirtune.collect.net import read_interfaces
from dirtune.collect.net_dev import read_net_dev
from dirtune.collect.pci import read_pci
from dirtune.collect.processes import read_processes
from dirtune.collect.softnet import read_softnet
from dirtune.collect.stat import read_stat
from dirtune.errors import NotPossible, ParseError, SourceMissing, SourceRefused
from dirtune.host import Host, LiveHost
from dirtune.probes.session import Session

T = TypeVar("T")
_INTERVAL_S = 1.0
_ABSENT = (SourceMissing, SourceRefused)
Watch = Callable[[Sequence[Sample]], None]
"""A function that is called every second with all samples so far."""


def sample(host: Host, at_s: float) -> Sample:
    """Return the current counters of *host*. A counter that the host lacks is left out.

    *at_s* is the time of the sample in seconds.
    """
    table = _have(read_interrupts, host)
    counters = _have(read_ip_vs_stats_percpu, host)
    return Sample(
        at_s,
        read_stat(host),
        lines={line.irq: line.total for line in table.numbered} if table else {},
        ip_vs=asdict(counters) if counters else {},
        softnet=_have(read_softnet, host) or (),
        devices=_have(read_net_dev, host) or {},
    )


async def profile(
    seconds: float | None, argv: Sequence[str], probing: Session, watch: Watch
) -> Profile:
    """Profile this machine for *seconds*, or until the command *argv* has ended."""

    def each_second(samples: Sequence[Sample]) -> None:
        probing.keep_within_budget()
        watch(samples)

    host = LiveHost()
    before, began = _have(read_processes, host), time.monotonic()
    probing.begin()
    samples, status = await _during(seconds, argv, each_second)
    probed = probing.finish()
    after, ended = _have(read_processes, host), time.monotonic()
    programs = by_program(before, after, ended - began) if before and after else ()
    profiled = _judged(host, samples, probed, programs)
    return msgspec.structs.replace(profiled, command_status=status)


async def _during(
    seconds: float | None, argv: Sequence[str], watch: Watch
) -> tuple[tuple[Sample, ...], int | None]:
    """Return a sample of each second, for *seconds* or until the command *argv* has ended.

    Also return the exit status of the command; None if the command did not end by itself. The
    command uses this terminal, and is terminated if the user interrupts the profile.
    """
    process = await _start(argv) if argv else None
    try:
        samples = await _series(seconds, process, watch)
        return samples, process.returncode if process is not None else None
    finally:
        if process is not None and process.returncode is None:
            signals.send(process.pid, signal.SIGTERM)
            await process.wait()


def _judged(
    host: Host, samples: tuple[Sample, ...], probed: Probed, programs: Sequence[Program]
) -> Profile:
    role = Role.DIRECTOR if samples[0].ip_vs else Role.HOST
    node = cpu.node_cpu("local", role, samples)
    if node is None:
        raise NotPossible(
            "The profile ended before its second sample. Let it run for at least 1 s."
        )
    table = _have(read_interrupts, host) or Interrupts((), ())
    done = work.of_window(
        samples,
        node,
        probed,
        {line.irq: line.actions for line in table.numbered},
        nic_actions(table, _have(read_pci, host), _have(read_interfaces, host)),
    )
    return Profile(
        seconds=round(samples[-1].at_s - samples[0].at_s, 3),
        nodes=(node,),
        work=done,
        probed=probed,
        bottleneck=bottleneck.find(node, done, probed, programs),
    )


def _have(read: Callable[[Host], T], host: Host) -> T | None:
    try:
        return read(host)
    except (*_ABSENT, ParseError):
        return None


async def _series(
    seconds: float | None, process: asyncio.subprocess.Process | None, watch: Watch
) -> tuple[Sample, ...]:
    host, began = LiveHost(), time.monotonic()
    found = [sample(host, began)]
    while (process is None or process.returncode is None) and (
        seconds is None or len(found) <= seconds
    ):
        await asyncio.sleep(began + _INTERVAL_S * len(found) - time.monotonic())
        found.append(sample(host, time.monotonic()))
        watch(found)
    return tuple(found)


async def _start(argv: Sequence[str]) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(*argv)
    except OSError as error:
        raise NotPossible(f"Cannot run {argv[0]}: {error.strerror}") from error
