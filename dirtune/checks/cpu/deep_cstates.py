from collections.abc import Iterator

from dirtune.checks import (
    Finding,
    Severity,
    Verdicts,
    check,
    inconclusive,
    not_applicable,
)
from dirtune.checks.cpu import guest, on_cards, tuned_profile
from dirtune.checks.irq import named_cpus
from dirtune.checks.remedies import boot, commands
from dirtune.checks.together import subjects
from dirtune.collect.cpu_power import CpuPower, IdleState
from dirtune.settings import BootOption
from dirtune.snapshot import Snapshot

_LATENCY_US = 50
_SHARE = 0.20  # of the time between the samples
_SHALLOW_US = 20
_POLL = "idle=poll"


@check(
    "cpu/deep-cstates",
    severity=Severity.LOW,
    trust="B",
    traffic=True,
)
def deep_cstates(snapshot: Snapshot, cpu_power: CpuPower, earlier: Snapshot) -> Verdicts:
    """CPUs that serve NICs sleep so deeply that they wake too slowly.

    ## What it does
    The check examines the CPUs that take NICs' interrupts, or all CPUs if these are unknown. It
    reports CPUs that spent 20 % of the time between two samples or more in idle states that take
    50 us or more to leave. It also reports the opposite, the boot option `idle=poll`. Both
    findings are `low`. Guests and hosts without a cpuidle driver are not reported.

    ## Why it matters
    The first packets of a burst wait in the ring until the CPU wakes. With `idle=poll` a CPU never
    sleeps: it runs hot, reduces the turbo clock of other cores, and slows down the second thread
    of its core.

    ## Remediation
    Run `cpupower idle-set -D 20`, which disables the states that take more than 20 us to leave. Or
    use a tuned profile with the same effect: network-latency or latency-performance. Avoid
    `idle=poll`.

    ## Known problems
    The check does not know whether latency matters to the service. It does not read which process
    holds /dev/cpu_dma_latency, but it sees the effect on the idle states.

    ## References
    - Documentation/admin-guide/pm/cpuidle.rst
    - tuned, profile latency-performance
    """
    if guest(snapshot):
        yield not_applicable("this host is a guest, and the hypervisor controls idle states")
        return
    if _POLL in (snapshot.cmdline or ()):
        yield _polling()
        return
    if cpu_power.idle_driver in {None, "none"} or not cpu_power.idle:
        yield not_applicable("this host has no cpuidle driver")
        return
    if earlier.cpu_power is None:
        yield inconclusive("the times in C-states were read in only one of the two samples")
        return
    deep = dict(_deep(snapshot, earlier.cpu_power, cpu_power))
    if deep:
        yield _finding(snapshot, deep)


def _deep(
    snapshot: Snapshot, before: CpuPower, now: CpuPower
) -> Iterator[tuple[int, tuple[float, IdleState]]]:
    """Yield each CPU that sleeps deeply, with its share of time asleep and its deepest state."""
    for cpu in on_cards(snapshot, now.idle):
        then = {s.name: s.time_us for s in before.idle.get(cpu, ())}
        states = [s for s in now.idle[cpu] if s.latency_us >= _LATENCY_US and s.name in then]
        spent_us = sum(max(0, s.time_us - then[s.name]) for s in states)
        share = spent_us / (1e6 * (snapshot.seconds or 1.0))
        if states and share >= _SHARE:
            yield cpu, (share, max(states, key=lambda s: s.latency_us))


def _polling() -> Finding:
    return Finding(
        subject=_POLL,
        severity=Severity.LOW,
        message="The CPUs never sleep because of idle=poll, so they run hot and slow down the "
        "other thread of each core",
        evidence={"option": _POLL},
        fixes=(boot("drop-idle-poll", "Boot without idle=poll", BootOption(_POLL)),),
    )


def _finding(snapshot: Snapshot, deep: dict[int, tuple[float, IdleState]]) -> Finding:
    share, state = max(deep.values(), key=lambda pair: pair[0])
    rows = (f"cpupower idle-set -D {_SHALLOW_US}",)
    title = f"Disable idle states that take more than {_SHALLOW_US} us to leave"
    return Finding(
        subject=f"CPU {subjects(deep)}",
        severity=Severity.LOW,
        message=f"{named_cpus(deep)} {'spends' if len(deep) == 1 else 'spend'} up to "
        f"{100 * share:.0f} % of the time in idle states as deep as {state.name}, which a "
        f"CPU needs {state.latency_us} us to leave",
        evidence={
            "percent_by_cpu": {str(c): round(100 * part, 1) for c, (part, _) in deep.items()},
            "deepest": state.name,
            "latency_us": state.latency_us,
        },
        fixes=(
            *tuned_profile(snapshot),
            commands(snapshot, "idle-shallow", title, rows, what="cpu"),
        ),
    )
