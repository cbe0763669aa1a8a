"""Trials and runs for tests, of which only what matters is said."""

from dirtune.analyse.run import Cell, CpuShare, NodeCpu, Run, Trial


def node(name, role, *, idle, user=0.0, cpus=4, per_cpu=(), **states):
    shares = {"user": user, "system": 100 - idle - user - sum(states.values()), "idle": idle}
    return NodeCpu(
        name,
        role,
        {state: CpuShare(mean, 0.0) for state, mean in (shares | states).items()},
        {f"cpu{n}": {"idle": CpuShare(rest, 0.0)} for n, rest in enumerate(per_cpu)},
        "/proc/stat",
        60,
        cpus,
    )


def trial(offered, replies, **changes):
    attempted = round(10 * offered)
    blank = {
        "id": f"r{offered:g}",
        "arm": "A",
        "kind": "judged",
        "pair": None,
        "started": "",
        "window_s": 10,
        "intended": attempted,
        "attempted": attempted,
        "replied": round(10 * replies),
        "failed": {},
        "latency": None,
        "validity": "valid",
        "reason": None,
        "metrics": {},
        "counters": {},
        "settle_s": 0,
        "settled": True,
    }
    return Trial(**(blank | {"offered_rate": offered, "reply_rate": replies} | changes))


def cell(name, **settings):
    return Cell(name, settings, "")


def run(*trials, **changes):
    text = dict.fromkeys(("started", "command", "version", "title", "primary_metric"), "")
    nothing = dict.fromkeys(("finished", "scenario", "forecast", "verdict"))
    empty = {name: {} for name in ("plan_document", "inventory", "audits", "handlers")}
    fields = text | nothing | empty | {"comparisons": (), "steps": ()} | changes
    return Run(id="r", trials=trials, **fields)
