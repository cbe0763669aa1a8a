"""What `bench check` found, as text."""

from dirtune.bench.check import Readiness
from dirtune.escape import one_line


def text(found: Readiness) -> str:
    """Return a line for each node and each thing to know, and the duration."""
    nodes = found.nodes.items()
    lines = [f"{host}: {_state(host, problem)}{_known(found, host)}" for host, problem in nodes]
    if found.vip is not None:
        told = "forced by name" if found.forced else "bench another, or name it with --force"
        lines.append(f"vip: carries connections that are not ours ({found.vip}): {told}")
    budget = found.tuples
    lines.append(
        f"ports: {budget.each:g} connections/s per client; {budget.default:.0f} with the default "
        f"range of ports, {budget.widest:.0f} with the widest"
    )
    lines += [f"warning: {each}" for each in found.warnings]
    sweep, pairs = found.sweep_s / 60, found.pairs_s / 60
    lines.append(f"sweep: {found.sweep_trials} trials, about {sweep:.0f} min")
    return "\n".join(map(one_line, [*lines, f"comparison: about {pairs:.0f} min"]))


def _state(host: str, problem: str | None) -> str:
    return "ready" if problem is None else problem.removeprefix(f"{host}: ")


def _known(found: Readiness, host: str) -> str:
    parts = [f"{name} {said}" for name, said in found.versions.get(host, {}).items()]
    clock = found.clocks_ms.get(host)
    if clock is not None:
        parts.append(f"clock {clock:+.0f} ms")
    return f" ({', '.join(parts)})" if parts else ""
