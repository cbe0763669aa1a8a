"""A profile as text: per node the mean and standard deviation of user, system and idle."""

from collections.abc import Sequence

from tabulate import tabulate

from dirtune.analyse.handlers import HandlerWindow
from dirtune.analyse.profile import Profile
from dirtune.analyse.run import CpuShare

_STATES = ("user", "system", "idle")
_DETAILS = ("softirq", "irq", "steal")


def table(profile: Profile, *, verbose: bool = False) -> str:
    """Return the profile for a terminal; *verbose* adds softirq, irq and steal per CPU."""
    return _document(profile, "simple", verbose=verbose)


def markdown(profile: Profile, *, verbose: bool = False) -> str:
    """Return the profile as Markdown."""
    return _document(profile, "github", verbose=verbose)


def _document(profile: Profile, style: str, *, verbose: bool) -> str:
    parts = [_load(profile), _nodes(profile, style)]
    if verbose:
        parts.append(_cpus(profile, style))
    if profile.handlers is not None:
        parts.append(_handlers(profile.handlers, style))
    parts.append(_notes(profile))
    return "\n\n".join(part for part in parts if part) + "\n"


def _load(profile: Profile) -> str:
    if profile.offered_rate is None or profile.reply_rate is None:
        return f"{profile.seconds:g} s"
    cost = profile.metrics.get("cpu_us_per_connection")
    spent = "" if cost is None else f"; director {cost:.0f} us of CPU per connection"
    offered, replies = profile.offered_rate, profile.reply_rate
    return f"offered {offered:g} connections/s, replies {replies:.1f}/s{spent}"


def _nodes(profile: Profile, style: str) -> str:
    rows = [(n.node, n.role, *_row(n.states, _STATES)) for n in profile.nodes]
    heads = ("node", "role", *(f"{state} %" for state in _STATES))
    return _aligned(heads, rows, style, texts=2)


def _cpus(profile: Profile, style: str) -> str:
    rows = [
        (node.node, cpu, *_row(states, (*_STATES, *_DETAILS)))
        for node in profile.nodes
        for cpu, states in node.per_cpu.items()
    ]
    heads = ("node", "cpu", *(f"{state} %" for state in (*_STATES, *_DETAILS)))
    return _aligned(heads, rows, style, texts=2) if rows else ""


def _handlers(window: HandlerWindow, style: str) -> str:
    rows = [
        (
            str(h.irq),
            h.handler,
            str(h.calls),
            str(h.none),
            f"{h.total_ns / h.calls / 1000:.1f}" if h.calls else "",
        )
        for h in sorted(window.handlers, key=lambda h: (h.irq, -h.total_ns))
    ]
    heads = ("irq", "handler", "calls", "IRQ_NONE", "us each")
    return _aligned(heads, rows, style, texts=2)


def _notes(profile: Profile) -> str:
    said = []
    if any(node.source == "cgroup" for node in profile.nodes):
        names = ", ".join(node.node for node in profile.nodes if node.source == "cgroup")
        said.append(f"Control group accounting, idle is the rest of their CPUs: {names}.")
    if profile.missing:
        names = ", ".join(profile.missing)
        said.append(f"No CPU times (a container that does not see its control group): {names}.")
    if profile.validity not in {None, "valid"}:
        said.append(f"Not valid ({profile.validity}): {profile.reason}.")
    return "\n".join(said)


def _row(states: dict[str, CpuShare], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        f"{states[name].mean:.2f} ({states[name].sd:.2f})" if name in states else ""
        for name in names
    )


def _aligned(
    heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], style: str, *, texts: int
) -> str:
    align = ("left",) * texts + ("right",) * (len(heads) - texts)
    return tabulate(rows, heads, tablefmt=style, colalign=align, disable_numparse=True)
