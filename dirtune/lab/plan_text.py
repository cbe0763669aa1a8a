"""The plan file of a lab: what `dirtune bench` and `dirtune tune` do with its nodes. Pure."""

from dirtune.analyse.run import Role
from dirtune.lab.spec import (
    INSTRUCTION_SHIFT,
    MILLION_INSTRUCTIONS_PER_S,
    VIP,
    Experiment,
    Spec,
)
from dirtune.plan.toml_text import toml

_PLAN_HEAD = """\
# Written by `dirtune lab up` for the scenario {name}.
# max_overhead is in per cent of a CPU: an emulated clock makes probes expensive.
# validity: the lab's machines share this machine's CPUs, so how much they get does not matter.
"""
_VALIDITY_OF_CLOCK = {
    # Both trials of a pair must have had the same share of the CPUs. Even without a fix, trials
    # differ by a few percentage points.
    "host": {"pair_steal": 10, "pair_busy": 20, "far": 10},
    # Trials cost the same number of instructions whatever share of the CPUs they had. QEMU wakes
    # up for each packet, and that time is in no clock of the director: at 200 connections/s on two
    # busy cores, the exact clock advances by 0.8 s a second. Clients on a busy machine need 0.2 s
    # more to start their connections.
    "exact": {"clock": 50, "late": 4},
}
NOTES_OF_CLOCK = {
    "host": (
        "Time that this machine's own hypervisor took away is not counted as the director's work.",
        "The director is emulated: numbers of calls carry over to hardware, percentages do not.",
    ),
    "exact": (
        (
            "The director's clock counts the instructions that the director executes: "
            f"{MILLION_INSTRUCTIONS_PER_S:g} million are one second, so {2**INSTRUCTION_SHIFT} ns "
            "of CPU time are one instruction, however busy this machine is."
        ),
        (
            "Numbers of instructions and of calls carry over to hardware. Times do not: here, an "
            "access to a device register takes as long as any other instruction, but on hardware "
            "about a microsecond. On hardware, useless interrupt handlers therefore cost at least "
            "as much as here."
        ),
    ),
}
_NOTE_OF = {
    False: "Real servers and clients are namespaces; control groups count their CPU time.",
    True: "Real servers are emulated as well. Clients are namespaces; control groups count their "
    "CPU time.",
}

DEFAULT_EXPERIMENT = Experiment(
    question="Does the fix change the director's CPU time per connection?",
    check="irq/shared-with-nic",
    fix="unbind-partners",
    rate=300,
    primary="cpu_us_per_connection",
    pairs=8,
    warmup_s=5,
    window_s=15,
    # On a slow machine, the sampler itself uses up to 13 % of an emulated director's CPU.
    settle_idle_percent=80,
    settle_seconds=3,
    settle_max_s=60,
)


def plan_text(spec: Spec, host_cpus: tuple[int, ...]) -> str:
    """Return the text of the lab's plan file, for `dirtune bench` and `dirtune tune`.

    *host_cpus* are the CPUs of this machine to which the director's virtual CPUs are pinned. If
    the clock is exact, the plan leaves them out: that clock has no time that a hypervisor takes.
    """
    return _PLAN_HEAD.format(name=spec.scenario.name) + toml(_tables(spec, host_cpus))


def _tables(spec: Spec, host_cpus: tuple[int, ...]) -> dict[str, object]:
    experiment = spec.scenario.experiment or DEFAULT_EXPERIMENT
    director, *others = spec.with_role(Role.DIRECTOR)
    backup = {"host": others[0].name, "address": others[0].load_address} if others else None
    servers = spec.with_role(Role.REAL_SERVER)
    return {
        "title": spec.scenario.title,
        "ssh_config": "ssh_config",
        "notes": [*NOTES_OF_CLOCK[spec.clock], _NOTE_OF[spec.forwarding == "tun"]],
        "director": {
            "host": director.name,
            "address": director.load_address,
            "host_cpus": list(host_cpus) if spec.clock == "host" else [],
            "max_overhead": 50,
        },
        **({"backup": backup} if backup else {}),
        "services": [
            {
                "vip": VIP,
                "port": 80,
                "protocol": "tcp",
                "scheduler": "rr",
                "destinations": [
                    {"node": server.name, "forwarding": spec.forwarding, "weight": 1}
                    for server in servers
                ],
            }
        ],
        "real_servers": [
            {"name": server.name, "host": server.name, "address": server.load_address}
            for server in servers
        ],
        "clients": [{"host": client.name} for client in spec.with_role(Role.CLIENT)],
        "load": {
            "generator": "h2load",
            "rates": [experiment.rate],
            "warmup": f"{experiment.warmup_s:g}s",
            "window": f"{experiment.window_s:g}s",
            "pairs": experiment.pairs,
            "timeout": "1s",
            **({"at_most": experiment.at_most} if experiment.at_most else {}),
        },
        "settle": {
            "idle": experiment.settle_idle_percent,
            "seconds": experiment.settle_seconds,
            "max": f"{experiment.settle_max_s:g}s",
        },
        "compare": {
            "primary": experiment.primary,
            "peak_trials": experiment.peak_trials,
            **({"covariate": experiment.covariate} if experiment.covariate else {}),
        },
        "validity": {
            **dict.fromkeys(("steal", "steal_peak", "other_process", "client_busy"), 100),
            "poll_cpu": 0,
            **_VALIDITY_OF_CLOCK[spec.clock],
        },
    }
