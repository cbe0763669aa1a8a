"""Which features work on this machine, judged from facts alone. Pure."""

import shlex

import msgspec

from dirtune.collect.facts import COMMANDS, LAB_FREE_MIB, LAB_MODULES, VIRTME, Facts, lab_kernel
from dirtune.extras import PACKAGES, pip_install

_KERNELS = {"standard": "linux-image-amd64", "rt": "linux-image-rt-amd64"}
_CONFIDENTIAL = "confidentiality"
_TRACING = "boot a kernel with CONFIG_TRACEPOINTS and CONFIG_BPF_EVENTS"
_SINCE = {
    "irq/irq_handler_entry": _TRACING,
    "irq/softirq_entry": _TRACING,
    "napi/napi_poll": _TRACING,
    "skb/kfree_skb": _TRACING,
    "lock/contention_begin": "boot Linux 5.19 or newer",
}
"""What provides each tracepoint."""


class Obstacle(msgspec.Struct, frozen=True):
    """Something that is missing, and what provides it."""

    why: str
    remedy: str
    """One line to type or do."""


class Feature(msgspec.Struct, frozen=True):
    """One part of dirtune on this machine."""

    name: str
    works: bool
    what: str
    """What the feature is for."""
    obstacles: tuple[Obstacle, ...]


class Rung(msgspec.Struct, frozen=True):
    """One source of what a probe measures, and what keeps it from being used."""

    source: str
    """bpf, tracefs or proc; two ways of eBPF by what it is attached to."""
    gives: str
    obstacles: tuple[Obstacle, ...]


class Ladder(msgspec.Struct, frozen=True):
    """The sources of one probe, the best first: the first one that works is used."""

    probe: str
    uses: str | None
    """Source of the rung that is used; None if none works."""
    rungs: tuple[Rung, ...]


class Diagnosis(msgspec.Struct, frozen=True):
    """Every feature on this machine (`dirtune/doctor/1`)."""

    kernel: str
    features: tuple[Feature, ...]
    probes: tuple[Ladder, ...] = ()
    notes: tuple[Obstacle, ...] = ()
    """What stops no feature, and costs time or a part of one."""
    schema: str = "dirtune/doctor/1"


def diagnose(facts: Facts) -> Diagnosis:
    """Return each feature with what stands in its way."""
    features = (
        ("audit", "read this host and judge it", _audit_obstacles(facts)),
        ("probe", "measure handlers, softirqs, locks and more with eBPF", probe_obstacles(facts)),
        ("remote", "reach other hosts over SSH", _commands(facts, "ssh")),
        ("bench", "drive load and compare", _bench_obstacles(facts)),
        ("lvs", "configure IPVS over netlink", _lvs_obstacles(facts)),
        ("report", "write HTML and Markdown with charts", _report_obstacles(facts)),
        ("lab", "a director with clients on this machine", lab_obstacles(facts)),
    )
    return Diagnosis(
        kernel=facts.release,
        features=tuple(Feature(name, not found, what, found) for name, what, found in features),
        probes=ladders(facts),
        notes=_present(
            (
                not facts.btf,
                "no BTF of the running kernel: probes take longer to compile",
                "boot a kernel with CONFIG_DEBUG_INFO_BTF",
            ),
            _lab_headers(facts),
        ),
    )


def probe_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    """Return what keeps eBPF probes from running, the first to mend first."""
    return (*_bpf_obstacles(facts), *_no_event(facts, "irq/irq_handler_entry"))


def tracefs_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    """Return what keeps triggers in tracefs from counting calls of handlers."""
    hidden = not facts.root or facts.lockdown == _CONFIDENTIAL
    return (
        *_present(
            (not facts.root, "needs root", "run it with sudo"),
            _lockdown(facts),
            (
                facts.tracefs is None and not hidden,
                "tracefs is not mounted",
                "mount -t tracefs tracefs /sys/kernel/tracing",
            ),
            (
                facts.tracefs is not None and not facts.tracefs_writable and not hidden,
                f"{facts.tracefs} is mounted read-only",
                f"mount -o remount,rw {shlex.quote(facts.tracefs or '')}",
            ),
        ),
        *_no_event(facts, "irq/irq_handler_entry"),
        *_no_option("hist triggers", "CONFIG_HIST_TRIGGERS", there=facts.hist_triggers),
    )


def ladders(facts: Facts) -> tuple[Ladder, ...]:
    """Return for each probe its sources on this machine, the best first."""
    bpf = _bpf_obstacles(facts)
    softirq = (*bpf, *_no_event(facts, "irq/softirq_entry", "napi/napi_poll"))
    waits = (*bpf, *_no_event(facts, "lock/contention_begin"))
    kprobes = (*bpf, *_no_option("kprobes", "CONFIG_KPROBES", there=facts.kprobes))
    perf = (*bpf, *_no_option("perf events", "CONFIG_PERF_EVENTS", there=facts.perf_events))
    ipvs = (*kprobes, *_present((not facts.ip_vs, "IPVS is not loaded", "modprobe ip_vs")))
    return (
        _ladder(
            "irq",
            Rung("bpf", "calls, IRQ_NONE and time of each handler", probe_obstacles(facts)),
            Rung("tracefs", "calls of each handler, IRQ_NONE by line", tracefs_obstacles(facts)),
            Rung("proc", "calls inferred from /proc/interrupts", _audit_obstacles(facts)),
        ),
        _ladder("softirq", Rung("bpf", "runs, time and delay of softirqs, NAPI polls", softirq)),
        _ladder(
            "locks",
            Rung("tracepoints", "waits for kernel locks", waits),
            Rung("kprobes", "waits for spin locks", kprobes),
        ),
        _ladder("cpu", Rung("bpf", "kernel stacks at 99 Hz", perf)),
        _ladder(
            "drops",
            Rung("bpf", "dropped packets by reason", (*bpf, *_no_event(facts, "skb/kfree_skb"))),
        ),
        _ladder("ipvs", Rung("kprobes", "time that IPVS takes for a packet", ipvs)),
    )


def _ladder(probe: str, *rungs: Rung) -> Ladder:
    return Ladder(probe, next((r.source for r in rungs if not r.obstacles), None), rungs)


def _bpf_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    release = facts.release
    return _present(
        (not facts.root, "needs root", "run it with sudo"),
        (not facts.bcc, "bcc's Python module is not here", "apt install python3-bpfcc"),
        (
            not facts.headers,
            f"no headers of kernel {release}",
            f"apt install linux-headers-{shlex.quote(release)}",
        ),
        _lockdown(facts),
    )


def _lockdown(facts: Facts) -> tuple[bool, str, str]:
    return (
        facts.lockdown == _CONFIDENTIAL,
        "kernel lockdown is in confidentiality mode",
        "boot with lockdown=integrity or without it",
    )


def _no_option(what: str, option: str, *, there: bool | None) -> tuple[Obstacle, ...]:
    return _present((there is False, f"this kernel has no {what}", f"boot a kernel with {option}"))


def _no_event(facts: Facts, *names: str) -> tuple[Obstacle, ...]:
    # Where tracefs is not mounted nothing is known, and raw tracepoints do not need it.
    missing = [n for n in names if facts.events is not None and n not in facts.events]
    return tuple(
        Obstacle(f"this kernel has no tracepoint {name.replace('/', ':')}", _SINCE[name])
        for name in missing
    )


def _audit_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    return _present((not facts.proc_readable, "/proc/interrupts cannot be read", "mount /proc"))


def _bench_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    return (
        *_modules(facts, "scipy"),
        *_commands(facts, "ssh", "h2load"),
    )


def _lvs_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    return _present((not facts.root, "needs root", "run it with sudo"))


def _report_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    return _modules(facts, "jinja2", "altair", "vl_convert")


def lab_obstacles(facts: Facts, kernel: str = "standard") -> tuple[Obstacle, ...]:
    """Return what keeps a lab with a *kernel* of that kind from being brought up."""
    free = facts.lab_free_mib
    return (
        *_present(
            (not facts.root, "needs root", "run it with sudo"),
            (lab_kernel(facts.lab_kernels, kernel) is None, *no_lab_kernel(kernel)),
            (not facts.tun, "no /dev/net/tun for tap devices", "modprobe tun"),
            (
                free < LAB_FREE_MIB,
                f"{facts.lab_parent}: {free} MiB free, the lab needs {LAB_FREE_MIB} MiB",
                "free some space, or set DIRTUNE_LAB to a folder elsewhere",
            ),
        ),
        *_commands(facts, *COMMANDS),
        *_present(
            (VIRTME not in facts.commands, f"no command {VIRTME}", _pip(facts, "virtme-ng"))
        ),
    )


def no_lab_kernel(kind: str) -> tuple[str, str]:
    """Return that no kernel of *kind* can be the lab's director, and what installs one."""
    *names, last = LAB_MODULES
    why = f"no {kind} kernel in /boot has {', '.join(names)} and {last}"
    return why, f"apt install {_KERNELS[kind]}"


def _lab_headers(facts: Facts) -> tuple[bool, str, str]:
    kernel = lab_kernel(facts.lab_kernels, "standard")
    return (
        # Where no lab can be brought up, nobody waits for its probes.
        not lab_obstacles(facts) and kernel not in facts.lab_headers,
        f"no headers of the lab's kernel {kernel}: its director runs no eBPF probe",
        f"apt install linux-headers-{shlex.quote(kernel or '')}",
    )


def _modules(facts: Facts, *names: str) -> tuple[Obstacle, ...]:
    return _present(
        *(
            (name not in facts.modules, f"no Python module {name}", _pip(facts, PACKAGES[name]))
            for name in names
        )
    )


def _pip(facts: Facts, package: str) -> str:
    return pip_install(package, python=facts.python)


def _commands(facts: Facts, *names: str) -> tuple[Obstacle, ...]:
    return _present(
        *(
            (name not in facts.commands, f"no command {name}", f"apt install {COMMANDS[name]}")
            for name in names
        )
    )


def _present(*candidates: tuple[bool, str, str]) -> tuple[Obstacle, ...]:
    return tuple(Obstacle(why, remedy) for missing, why, remedy in candidates if missing)
