"""Samples of this machine alone, for a number of seconds or for as long as a command runs."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict

from dirtune.analyse.cpu import Sample
from dirtune.collect.interrupts import read_interrupts
from dirtune.collect.ip_vs import read_ip_vs_stats_percpu
from dirtune.collect.stat import read_stat
from dirtune.errors import NotPossible, SourceMissing, SourceRefused
from dirtune.host import Host, LiveHost

_INTERVAL_S = 1.0


def sample(host: Host, at_s: float) -> Sample:
    """Return the counters of *host*; those it does not have are left out."""
    try:
        lines = {line.irq: line.total for line in read_interrupts(host).numbered}
    except (SourceMissing, SourceRefused):
        lines = {}
    try:
        counters = asdict(read_ip_vs_stats_percpu(host))
    except (SourceMissing, SourceRefused):
        counters = {}
    return Sample(at_s, read_stat(host), lines=lines, ip_vs=counters)


async def during(seconds: float | None, argv: Sequence[str] = ()) -> tuple[Sample, ...]:
    """Sample once a second for *seconds*, or until the command *argv* has ended.

    The command keeps this terminal; it is ended if the sampling is.
    """
    process = await _start(argv) if argv else None
    try:
        return await _series(seconds, process)
    finally:
        if process is not None and process.returncode is None:
            process.terminate()
            await process.wait()


async def _series(
    seconds: float | None, process: asyncio.subprocess.Process | None
) -> tuple[Sample, ...]:
    host, began = LiveHost(), time.monotonic()
    found = [sample(host, began)]
    while (process is None or process.returncode is None) and (
        seconds is None or len(found) <= seconds
    ):
        await asyncio.sleep(began + _INTERVAL_S * len(found) - time.monotonic())
        found.append(sample(host, time.monotonic()))
    return tuple(found)


async def _start(argv: Sequence[str]) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(*argv)
    except OSError as error:
        raise NotPossible(f"{argv[0]}: {error.strerror}") from error
