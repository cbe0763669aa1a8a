"""Render the CPU time of a run's nodes, in tables like Figures 16 to 18 of the 2001 paper."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

from dirtune.analyse import cost
from dirtune.analyse.cpu import WHOLE, whole
from dirtune.analyse.run import CpuShare, NodeCpu, Run, Trial, TrialKind
from dirtune.render import run_tables
from dirtune.render.blocks import Block, Figure, Table, Text
from dirtune.render.figures import NONE, number

ARMS = {"A": "before", "B": "after"}
"""The printed names of the two arms of a comparison."""


def sampled(run: Run) -> tuple[Trial, ...]:
    """Return the trials that sampled the nodes and are shown: the profiled ones, if there are."""
    profiled = tuple(t for t in run.trials if t.kind == TrialKind.PROFILED and t.nodes)
    return profiled or tuple(cost.looked_at(run))


def nodes(run: Run) -> Iterator[Block]:
    """Yield tables of how each node spent its CPU time, from the trials that sampled the nodes."""
    trials = sampled(run)
    if not trials:
        return
    yield Figure("cpu-states", "CPU time of each node by state.")
    yield from cpu_table(run, trials)
    samples = ", ".join(sorted({f"{n.samples}" for t in trials for n in t.nodes}))
    sources = sorted({(n.source, n.node) for t in trials for n in t.nodes})
    yield Text(
        "Each figure is a mean, with the standard deviation in parentheses, in % of the node's"
        f" CPU time. The CPUs were sampled once a second ({samples} samples) in trials that"
        " are not part of any comparison."
    )
    parts = (
        f"{source} ({', '.join(node for _, node in nodes)})"
        for source, nodes in groupby(sources, key=itemgetter(0))
    )
    yield Text(f"The figures come from {' and '.join(parts)}.")


def cpu_table(run: Run, trials: Iterable[Trial]) -> Iterator[Block]:
    """Yield a table like Figures 16 to 18, and notes.

    The notes are about invalid trials, and rows that do not sum to 100 %.
    """
    trials = list(trials)
    extra = _states(trials)
    first = "cell" if run.cells else "arm"
    header = (first, "offered/s", "replies/s", "node", "user", "system", "idle", *extra)
    rows = (_node_row(run, t, place, extra) for t in trials for place in range(len(t.nodes)))
    yield Table(header, tuple(rows), frozenset({*header[1:3], *header[4:]}))
    for trial in trials:
        if not trial.valid:
            name = run_tables.marked(_first_cell(run, trial), trial)
            yield Text(f"{name}: {trial.validity.replace('_', '-')}, {trial.reason}.")
        for node in trial.nodes:
            if not whole(node.states):
                total = sum(node.states[name].mean for name in WHOLE if name in node.states)
                yield Text(
                    f"{_first_cell(run, trial)}, {node.node}: the states sum to {total:.2f} %,"
                    " not to 100 %."
                )


def _first_cell(run: Run, trial: Trial) -> str:
    return run_tables.label(run, trial.cell) if run.cells else ARMS.get(trial.arm, trial.arm)


def _states(trials: Iterable[Trial]) -> tuple[str, ...]:
    seen = {state for t in trials for n in t.nodes for state in n.states}
    return tuple(state for state in ("irq", "softirq", "steal") if state in seen)


def _node_row(run: Run, trial: Trial, place: int, extra: tuple[str, ...]) -> tuple[str, ...]:
    node: NodeCpu = trial.nodes[place]
    # The arm and its rates are printed only beside the first node, as in a printed table.
    lead = (
        run_tables.marked(_first_cell(run, trial), trial),
        number(trial.offered_rate),
        number(trial.reply_rate),
    )
    states = ("user", "system", "idle", *extra)
    return (
        *(lead if place == 0 else ("", "", "")),
        node.node,
        *(_cpu(node.states.get(state)) for state in states),
    )


def _cpu(share: CpuShare | None) -> str:
    return NONE if share is None else f"{share.mean:.2f} ({share.sd:.2f})"
