"""Render the result of `dirtune bench failover` as text."""

from dirtune.analyse.failover import Failover
from dirtune.escape import one_line


def text(result: Failover) -> str:
    """Return the cost of a fail-over, the load that measured it, and what limits the numbers."""
    return "\n".join(map(one_line, _lines(result)))


def _lines(result: Failover) -> list[str]:
    lines = [_silence(result), _lost(result)]
    lines.append(
        f"load: {result.offered_rate:g} connections/s for {result.seconds:g} s; the command "
        f"started after {result.command_s:.1f} s"
    )
    if result.usual_silence_s is not None:
        lines.append(
            f"before the command: at most {result.usual_silence_s:.3f} s between two answers"
        )
    return [*lines, *(f"problem: {problem}" for problem in result.problems)]


def _silence(result: Failover) -> str:
    if result.silence_s is None:
        known = result.attempted is not None
        return f"without an answer: {'the entire load' if known else 'unknown'}"
    row = f"without an answer: {result.silence_s:.2f} s"
    if not result.recovered:
        return f"{row}, until the end of the load: no director took over in time"
    return f"{row}, from {result.silence_at_s:.1f} s to {_end_s(result):.1f} s of the load"


def _end_s(result: Failover) -> float:
    return (result.silence_at_s or 0.0) + (result.silence_s or 0.0)


def _lost(result: Failover) -> str:
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(result.failed.items()))
    if result.attempted is None:
        return f"lost: {result.lost} connections or more, because a client's report is missing"
    return (
        f"lost: {result.lost} of {result.attempted} connections"
        f"{f' ({kinds})' if kinds else ''}; clients gave up after {result.timeout_s:g} s"
    )
