"""The plan that gives a director another IPVS table. Pure."""

from dirtune.change.plan import Change, Plan, Run
from dirtune.lvs.change import Changes, DrainIpvs, EditIpvs, title
from dirtune.settings import Risk

_REASON = _FIX = "lvs"


def plan(changes: Changes) -> Plan:
    """Return *changes* as the engine takes them."""
    load = (_load(changes.modules),) if changes.modules else ()
    return Plan((*load, *(_change(each, title(each)) for each in changes.edits)))


def _load(modules: tuple[str, ...]) -> Change:
    # Not modprobe -r, which takes what they need along, whoever loaded that. What somebody else
    # uses by then stays, and is theirs.
    gone = ("sh", "-c", 'rmmod "$@" 2>/dev/null || :', "sh", *reversed(modules))
    action = Run(("modprobe", "-a", *modules), gone)
    return _change(action, f"load {', '.join(modules)}")


def _change(action: EditIpvs | DrainIpvs | Run, title: str) -> Change:
    return Change(action, Risk.SAFE, _REASON, _FIX, title)
