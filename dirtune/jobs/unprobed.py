"""Warn of probes that measured nothing, or stopped before the end of the window."""

from dirtune.analyse.probed import Probed
from dirtune.jobs import notes


def warn(probed: Probed, host: str | None = None) -> None:
    """Warn of probes that could not run, with the reason, and of probes that were detached."""
    where = f"{host}: " if host else ""
    for cost in probed.costs:
        if cost.shed:
            limit = f"more than {probed.max_overhead_percent:g} % of a CPU"
            reason = f"detached after {cost.seconds:.0f} s, because the probes cost {limit}"
            notes.warning(f"{where}the {cost.probe} probe was {reason}")
    reasons: dict[str, list[str]] = {}
    for one in probed.missing:
        reasons.setdefault(": ".join(filter(None, (one.why, one.remedy))), []).append(one.probe)
    instead = {one.probe: f"; {one.instead}" for one in probed.missing if one.instead}
    for why, names in reasons.items():
        used = "".join(instead.get(name, "") for name in names)
        verb = "probe is" if len(names) == 1 else "probes are"
        notes.warning(f"{where}the {', '.join(names)} {verb} unavailable: {why}{used}")
