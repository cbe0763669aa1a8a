"""The plan that gives a director another IPVS table. Pure."""

import shlex
from collections import Counter

from dirtune.checks import Risk
from dirtune.lvs.change import DrainIpvs, EditIpvs, changes
from dirtune.lvs.diff import Step, Verb, diff
from dirtune.lvs.guard import Surroundings
from dirtune.lvs.model import Service, Table, Timeouts
from dirtune.tune.plan import Change, Plan, Run

# Of a kernel that has just loaded ip_vs (ip_vs_proto_tcp.c, ip_vs_proto_udp.c).
FRESH = Table((), Timeouts(900, 120, 300), ())
_REASON = _FIX = "lvs"
_DONE = {Verb.NEW: "added", Verb.SET: "edited", Verb.DEL: "removed"}


def plan(actual: Table, desired: Table, around: Surroundings, *, drain_s: float | None) -> Plan:
    """Return the changes from *actual* to *desired*; none if they are equal."""
    edits = changes(actual, desired, drain_s=drain_s)
    if not edits:
        return Plan()
    modules = (
        *(() if around.loaded else ("ip_vs",)),
        *(f"ip_vs_{name}" for name in sorted(around.loadable)),
    )
    load = (_change(_load(modules), f"load {', '.join(modules)}"),) if modules else ()
    return Plan((*load, *(_change(edit, title(edit)) for edit in edits)))


def title(action: EditIpvs | DrainIpvs) -> str:
    """Return what *action* does, in a few words."""
    match action:
        case EditIpvs(before, after):
            return f"IPVS: {counted(diff(before, after))}"
        case DrainIpvs(leaving, wait_s):
            number = sum(len(each.destinations) for each in leaving)
            return f"wait up to {wait_s:g} s for the connections of {_many(number, 'real server')}"


def counted(steps: tuple[Step, ...]) -> str:
    """Return how many of what *steps* add, edit and remove."""
    numbers = Counter((step.verb, _kind(step)) for step in steps)
    said = (
        f"{_many(numbers[verb, kind], kind)} {_DONE[verb]}"
        for verb in Verb
        for kind in ("service", "real server", "timeout", "sync daemon")
        if numbers[verb, kind]
    )
    return ", ".join(said) or "nothing to do"


def _kind(step: Step) -> str:
    if step.of is not None:
        return "real server"
    if isinstance(step.what, Service):
        return "service"
    return "timeout" if isinstance(step.what, Timeouts) else "sync daemon"


def _many(number: int, kind: str) -> str:
    return f"{number} {kind}{'' if number == 1 else 's'}"


def _load(modules: tuple[str, ...]) -> Run:
    # Not modprobe -r, which takes what they need along, whoever loaded that. What somebody else
    # uses by then stays, and is theirs.
    gone = shlex.join(("rmmod", *reversed(modules)))
    return Run(("modprobe", "-a", *modules), ("sh", "-c", f"{gone} 2>/dev/null || :"))


def _change(action: EditIpvs | DrainIpvs | Run, title: str) -> Change:
    return Change(action, Risk.SAFE, _REASON, _FIX, title)
