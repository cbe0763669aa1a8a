"""Render the result of `dirtune bench check` as text."""

from dirtune.bench.check import Readiness
from dirtune.escape import one_line


def text(ready: Readiness) -> str:
    """Return a line for each node, the VIP, the ports and each warning, then the durations."""
    nodes = ready.nodes.items()
    lines = [f"{host}: {_state(host, problem)}{_known(ready, host)}" for host, problem in nodes]
    if ready.vip is not None:
        remedy = (
            "--force allows this VIP"
            if ready.forced
            else "use another VIP, or allow this VIP with --force"
        )
        lines.append(
            f"vip: the VIP also serves clients outside the plan (connections: {ready.vip}); "
            f"{remedy}"
        )
    budget = ready.tuples
    lines.append(
        f"ports: the plan needs {budget.each:g} connections/s per client; the default port range "
        f"allows {budget.default:.0f}, the widest possible range {budget.widest:.0f}"
    )
    lines += [f"warning: {warning}" for warning in ready.warnings]
    lines.append(f"sweep: {ready.sweep_trials} trials, about {ready.sweep_s / 60:.0f} min")
    return "\n".join(map(one_line, [*lines, _comparison(ready)]))


def _comparison(ready: Readiness) -> str:
    text = f"comparison: about {ready.pairs_s / 60:.0f} min"
    if ready.pairs_at_most_s is None:
        return text
    return (
        f"{text} for {ready.pairs} pairs; if these do not decide, about "
        f"{ready.pairs_at_most_s / 60:.0f} min for {ready.at_most} pairs"
    )


def _state(host: str, problem: str | None) -> str:
    return "ready" if problem is None else problem.removeprefix(f"{host}: ")


def _known(ready: Readiness, host: str) -> str:
    parts = [f"{name} {version}" for name, version in ready.versions.get(host, {}).items()]
    clock = ready.clocks_ms.get(host)
    if clock is not None:
        parts.append(f"clock {clock:+.0f} ms")
    return f" ({', '.join(parts)})" if parts else ""
