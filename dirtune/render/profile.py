"""Render a profile: the verdict, the nodes, and how the director spent its CPU time."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dirtune.analyse.phases import by_module, top_symbols
from dirtune.analyse.probed import HandlerDelay, Probed, SoftirqWindow
from dirtune.analyse.profile import Profile
from dirtune.analyse.profile_difference import Difference
from dirtune.analyse.run import CpuShare, Forecast, Validity
from dirtune.analyse.work import Work
from dirtune.escape import one_line
from dirtune.render import cells
from dirtune.render.cells import Marked
from dirtune.render.figures import in_ratio, number
from dirtune.render.markdown import escaped

_STATES = ("user", "system", "idle", "irq", "softirq", "steal")
_MOST = 10
_WIDTH = 80
"""The width of prose on a terminal, in columns; the tables are a little wider."""
_FEW_CPUS = 8
"""Each CPU is shown without `verbose` if all nodes together have at most this many CPUs."""


def table(profile: Profile, *, verbose: bool = False) -> str:
    """Return the profile for a terminal; *verbose* adds CPUs, symbols, modules and delays."""
    return _document(profile, "simple", verbose=verbose)


def markdown(profile: Profile, *, verbose: bool = False) -> str:
    """Return the profile as Markdown."""
    return _document(profile, "github", verbose=verbose)


def difference(profiles: Difference, *, markdown: bool) -> str:
    """Return a table that compares the figures of two profiles."""
    rows = [
        (c.what, _number(c.before), _number(c.after), _ratio(c.ratio), c.unit)
        for c in profiles.changes
    ]
    heads = ("figure", "before", "after", "ratio", "unit")
    style = "github" if markdown else "simple"
    caution = (
        "A comparison of two single windows cannot separate a change from noise; "
        "`dirtune tune` can."
    )
    return _page([_aligned(heads, rows, style, texts=1, last=True), caution], style)


def _document(profile: Profile, style: str, *, verbose: bool) -> str:
    parts = [_load(profile)]
    if profile.bottleneck:
        parts.append(one_line(profile.bottleneck.paragraph))
    parts += _nodes(profile, style)
    if verbose or sum(len(node.per_cpu) for node in profile.nodes) <= _FEW_CPUS:
        parts += _cpus(profile, style)
    if profile.work is not None:
        parts += [
            "\n".join(map(one_line, _work_lines(profile.work))),
            *_phases(profile.work, style),
        ]
    if profile.probed is not None:
        parts += _probed(profile.probed, style, verbose=verbose)
    parts.append(_notes(profile))
    return _page(parts, style)


def _page(parts: Iterable[str], style: str) -> str:
    """Return a page of tables and text, and escape each line of the text."""
    clean = escaped if style == "github" else _wrapped
    shown = (
        part if isinstance(part, Marked) else "\n".join(map(clean, part.split("\n")))
        for part in parts
        if part
    )
    return "\n\n".join(shown) + "\n"


def _wrapped(line: str) -> str:
    return textwrap.fill(one_line(line), _WIDTH, break_on_hyphens=False, break_long_words=False)


def _load(profile: Profile) -> str:
    if profile.offered_rate is None or profile.reply_rate is None:
        return f"Window: {profile.seconds:g} s"
    cost = profile.metrics.get("cpu_us_per_connection")
    spent = "" if cost is None else f"; the director took {cost:.0f} us of CPU per connection"
    offered, replies = profile.offered_rate, profile.reply_rate
    return f"Load: {offered:g} connections/s offered, {replies:.1f} replies/s{spent}"


def _nodes(profile: Profile, style: str) -> tuple[str, ...]:
    rows = [(n.node, n.role, *_row(n.states)) for n in profile.nodes]
    heads = ("node", "role", *(f"{state} %" for state in _STATES))
    legend = "Mean ± standard deviation of 1 s samples; system includes irq and softirq."
    return (_aligned(heads, rows, style, texts=2), legend) if rows else ()


def _cpus(profile: Profile, style: str) -> tuple[str, ...]:
    rows = [
        (node.node, cpu, *_row(states))
        for node in profile.nodes
        for cpu, states in node.per_cpu.items()
    ]
    heads = ("node", "cpu", *(f"{state} %" for state in _STATES))
    return (_aligned(heads, rows, style, texts=2),) if rows else ()


def _work_lines(work: Work) -> Iterator[str]:
    if work.connections is not None and work.packets is not None:
        rates = f"{work.connections / work.seconds:.1f} connections/s, "
        yield f"IPVS: {rates}{work.packets / work.seconds:.1f} packets/s"
    if work.cpu_us_per_connection is not None and work.cpu_us_per_packet is not None:
        yield (
            f"CPU: {work.cpu_us_per_connection:.0f} us per connection, "
            f"{work.cpu_us_per_packet:.1f} us per packet"
        )
    for line in work.lines[:5]:
        actions = ", ".join(line.actions)
        yield f"irq {line.irq} ({actions}): {line.interrupts / work.seconds:.1f} interrupts/s"
    if work.interrupts_per_packet is not None:
        yield f"interrupts per packet: {work.interrupts_per_packet:.2f}"
    if work.softnet_dropped is not None:
        squeezed = work.softnet_squeezed
        yield f"softnet: {work.softnet_dropped} packets dropped, {squeezed} time squeezes"
    for name, lost in work.device_drops.items():
        yield f"{name}: {lost} packets dropped, because the receive ring was full"
    if work.forecast is not None:
        yield f"forecast: {_forecast(work.forecast)}"


def _forecast(forecast: Forecast) -> str:
    ratio, interval = forecast.ratio, forecast.interval
    if ratio is None or interval is None:
        return forecast.basis
    low, high = interval
    return (
        f"with separate interrupt lines, a connection would take {ratio:.3f} times the CPU time "
        f"({low:.3f} to {high:.3f}); {forecast.basis}"
    )


def _phases(work: Work, style: str) -> tuple[str, ...]:
    rows = [
        (
            phase.name,
            f"{phase.percent:.2f}",
            _per(phase.percent, work.connections, work.seconds, "0"),
            _per(phase.percent, work.packets, work.seconds, "1"),
            phase.source,
        )
        for phase in work.phases
        if phase.percent >= 0.01
    ]
    heads = ("phase", "% of a CPU", "us/connection", "us/packet", "source")
    return (_aligned(heads, rows, style, texts=1, last=True),) if rows else ()


def _per(percent: float, count: int | None, seconds: float, digits: str) -> str:
    return f"{percent / 100 * seconds * 1e6 / count:.{digits}f}" if count else ""


def _probed(probed: Probed, style: str, *, verbose: bool) -> list[str]:
    parts = [
        _handlers(probed, style),
        *_counts(probed, style),
        _threads(probed, style),
        _locks(probed, style),
        _drops(probed, style),
        _ipvs(probed),
        _after_handlers(probed, style),
    ]
    if verbose:
        parts += [*_softirqs(probed.softirqs, style), *_symbols(probed, style)]
    return [*parts, *_cost(probed, style)]


def _handlers(probed: Probed, style: str) -> str:
    window = probed.handlers
    if window is None:
        return ""
    rows = [
        (
            str(h.irq),
            h.handler,
            str(h.calls),
            str(h.none),
            f"{h.total_ns / h.calls / 1000:.1f}" if h.calls else "",
            f"{h.total_ns / window.seconds / 1e7:.2f}",
        )
        for h in sorted(window.handlers, key=lambda h: (h.irq, -h.total_ns))
    ]
    heads = ("irq", "handler", "calls", "IRQ_NONE", "us per call", "% of a CPU")
    return _aligned(heads, rows, style, texts=2)


def _counts(probed: Probed, style: str) -> tuple[str, ...]:
    counts = probed.handler_counts
    if counts is None:
        return ()
    rows = [(str(h.irq), h.handler, str(h.calls)) for h in counts.handlers]
    shown = _aligned(("irq", "handler", "calls"), rows, style, texts=2)
    none = ", ".join(f"{calls} on irq {irq}" for irq, calls in counts.none.items() if calls)
    needless = f"Calls that returned IRQ_NONE: {none}." if none else ""
    return (shown, needless, f"The source {counts.source} counts calls but does not time them.")


def _threads(probed: Probed, style: str) -> str:
    rows = [
        (
            str(t.irq),
            t.name,
            str(t.wakeups),
            "" if t.cpu_ns is None else f"{t.cpu_ns / probed.seconds / 1e7:.2f}",
        )
        for t in probed.threads or ()
        if t.wakeups
    ]
    heads = ("irq", "thread", "wakeups", "% of a CPU")
    return _aligned(heads, rows, style, texts=2) if rows else ""


def _locks(probed: Probed, style: str) -> str:
    if probed.locks is None:
        return ""
    if not probed.locks.locks:
        return "Locks: no waits were seen."
    rows = [
        (
            one.lock,
            one.kind,
            one.caller,
            str(one.waits),
            f"{one.total_ns / one.waits / 1000:.1f}" if one.waits else "",
            f"{one.total_ns / probed.locks.seconds / 1e7:.2f}",
        )
        for one in probed.locks.locks[:_MOST]
    ]
    heads = ("lock", "kind", "caller", "waits", "us per wait", "% of a CPU")
    return _aligned(heads, rows, style, texts=3)


def _drops(probed: Probed, style: str) -> str:
    if probed.drops is None:
        return ""
    if not probed.drops.drops:
        return "Drops: the kernel dropped no packets."
    rows = [(d.reason, d.location, str(d.packets)) for d in probed.drops.drops[:_MOST]]
    return _aligned(("drop reason", "function", "packets"), rows, style, texts=2)


def _ipvs(probed: Probed) -> str:
    if probed.ipvs is None or not probed.ipvs.packets:
        return ""
    us_per_packet = probed.ipvs.total_ns / probed.ipvs.packets / 1000
    return (
        f"ip_vs_in_hook: {probed.ipvs.packets} packets, {probed.ipvs.forwarded} forwarded; "
        f"{us_per_packet:.1f} us per packet, including the hand-over to the device"
    )


def _after_handlers(probed: Probed, style: str) -> str:
    """Return how long a packet is on its way from the handler of its NIC's interrupt."""
    softirqs = probed.softirqs.after_handlers if probed.softirqs else ()
    packets = {
        (one.irq, one.handler): one for one in (probed.ipvs.after_handlers if probed.ipvs else ())
    }
    rows = [
        (
            str(one.irq),
            one.handler,
            str(one.events),
            *_mean_and_longest(one),
            *_mean_and_longest(packets.get((one.irq, one.handler))),
        )
        for one in softirqs[:_MOST]
    ]
    heads = ("irq", "handler", "NET_RX", "us to NET_RX", "at most", "us to IPVS", "at most")
    return _aligned(heads, rows, style, texts=2) if rows else ""


def _mean_and_longest(delay: HandlerDelay | None) -> tuple[str, str]:
    if delay is None or not delay.events:
        return "", ""
    return f"{delay.total_ns / delay.events / 1000:.1f}", f"{delay.max_ns / 1000:.0f}"


def _softirqs(window: SoftirqWindow | None, style: str) -> tuple[str, ...]:
    if window is None:
        return ()
    rows = [
        (
            one.vector,
            str(one.cpu),
            str(one.runs),
            f"{one.total_ns / one.runs / 1000:.1f}" if one.runs else "",
            f"{one.total_ns / window.seconds / 1e7:.2f}",
            f"{one.delay_ns / one.delays / 1000:.1f}" if one.delays else "",
        )
        for one in window.softirqs
    ]
    heads = ("softirq", "cpu", "runs", "us per run", "% of a CPU", "us of delay")
    polls = [
        (
            n.device or "backlog",
            str(n.id or ""),
            ", ".join(n.queues),
            str(n.polls),
            str(n.packets),
            str(n.exhausted),
        )
        for n in window.napi
    ]
    heads_of_napi = ("NAPI device", "id", "queues", "polls", "packets", "budget exhausted")
    napi = _aligned(heads_of_napi, polls, style, texts=3)
    return (_aligned(heads, rows, style, texts=1), napi)


def _symbols(probed: Probed, style: str) -> tuple[str, ...]:
    if probed.cpu is None:
        return ()
    symbols, modules = top_symbols(probed.cpu), by_module(probed.cpu)
    heads = ("samples", "%")
    shown = _aligned(("symbol", *heads), _shares(symbols), style, texts=1)
    return (shown, _aligned(("module", *heads), _shares(modules), style, texts=1))


def _shares(samples: Mapping[str, int]) -> list[tuple[str, str, str]]:
    total = sum(samples.values())
    return [
        (name, str(count), f"{100 * count / total:.1f}" if total else "")
        for name, count in list(samples.items())[:_MOST]
    ]


def _cost(probed: Probed, style: str) -> Iterator[str]:
    rows = [
        (
            cost.probe,
            cost.way,
            "" if cost.ns is None else str(cost.events),
            f"{cost.ns / cost.events:.0f}" if cost.ns is not None and cost.events else "",
            "" if cost.percent is None else f"{cost.percent:.3f}",
            f"detached after {cost.seconds:.0f} s" if cost.shed else "",
        )
        for cost in probed.costs
    ]
    heads = ("probe", "attached by", "events", "ns per event", "% of a CPU", "")
    if rows:
        yield _aligned(heads, rows, style, texts=2, last=True)
    if rows and all(cost.ns is None for cost in probed.costs):
        yield (
            "The probes' cost is unknown and was not limited, because this host does not time BPF "
            "programs. Timing them needs libbpf and Linux 5.8 or later."
        )
    if probed.own_ns is not None and probed.seconds:
        yield f"dirtune's own process: {probed.own_ns / probed.seconds / 1e7:.2f} % of a CPU"


def _notes(profile: Profile) -> str:
    notes = []
    grouped = ", ".join(node.node for node in profile.nodes if node.source == "cgroup")
    if grouped:
        notes.append(
            "The CPU times of these nodes cover only their own control group, and all other time "
            f"on their CPUs counts as idle: {grouped}."
        )
    if profile.missing:
        names = ", ".join(profile.missing)
        notes.append(
            "These nodes report no CPU times, because a container cannot see its control group: "
            f"{names}."
        )
    if profile.validity not in {None, Validity.VALID}:
        notes.append(f"The trial is not valid ({profile.validity}): {profile.reason}.")
    return "\n".join(map(one_line, notes))


def _row(states: dict[str, CpuShare]) -> tuple[str, ...]:
    shares = (states.get(name) for name in _STATES)
    return tuple("" if share is None else f"{share.mean:.1f}±{share.sd:.1f}" for share in shares)


def _number(value: float | None) -> str:
    return "" if value is None else number(value)


def _ratio(value: float | None) -> str:
    return "" if value is None else in_ratio(value)


def _aligned(
    heads: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    style: str,
    *,
    texts: int,
    last: bool = False,
) -> Marked:
    numbers = len(heads) - texts - last
    align = ("left",) * texts + ("right",) * numbers + ("left",) * last
    return Marked(cells.table(rows, heads, style, align))
