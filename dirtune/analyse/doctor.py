"""Decide which features of dirtune work on a machine, from facts collected there. Pure."""

import shlex

import msgspec

from dirtune.collect.facts import COMMANDS, LAB_FREE_MIB, LAB_MODULES, VIRTME, Facts, lab_kernel
from dirtune.extras import PACKAGES, pip_install
from dirtune.packages import install

_CONFIDENTIAL = "confidentiality"
_TRACING = "Boot a kernel with CONFIG_TRACEPOINTS and CONFIG_BPF_EVENTS"
_SINCE = {
    "irq/irq_handler_entry": _TRACING,
    "irq/softirq_entry": _TRACING,
    "napi/napi_poll": _TRACING,
    "skb/kfree_skb": _TRACING,
    "lock/contention_begin": "Boot Linux 5.19 or newer",
}
"""The remedy if a tracepoint is missing."""


class Obstacle(msgspec.Struct, frozen=True):
    """Something that a feature lacks on this machine, and the remedy."""

    why: str
    remedy: str
    """One line: a command to type, or an action."""


class Feature(msgspec.Struct, frozen=True):
    """One part of dirtune, and what keeps it from working on this machine."""

    name: str
    works: bool
    what: str
    """The purpose of the feature."""
    obstacles: tuple[Obstacle, ...]


class Rung(msgspec.Struct, frozen=True):
    """One way to run a probe, such as eBPF, and the obstacles to it on this machine."""

    source: str
    """`prebuilt` (eBPF built ahead of time), `bcc` (eBPF compiled here), `kprobes` (one of these
    two, attached to functions), `tracefs` or `proc`."""
    gives: str
    obstacles: tuple[Obstacle, ...]


class Ladder(msgspec.Struct, frozen=True):
    """The sources of one probe, the best first. The first source without obstacles is used."""

    probe: str
    uses: str | None
    """The name of the source that is used; None if no source works."""
    rungs: tuple[Rung, ...]


class Diagnosis(msgspec.Struct, frozen=True):
    """The result of `dirtune doctor`: every feature and its obstacles (`dirtune/doctor/1`)."""

    kernel: str
    features: tuple[Feature, ...]
    probes: tuple[Ladder, ...] = ()
    notes: tuple[Obstacle, ...] = ()
    """Obstacles that slow a feature down or disable a part of it."""
    schema: str = "dirtune/doctor/1"


def diagnose(facts: Facts) -> Diagnosis:
    """Return every feature of dirtune with its obstacles on this machine."""
    features = (
        ("audit", "read the state of this host and check it", _audit_obstacles(facts)),
        ("probe", "measure handlers, softirqs, locks and more with eBPF", probe_obstacles(facts)),
        ("remote", "reach other hosts over SSH", _commands(facts, "ssh")),
        ("bench", "run a load and compare the results", _bench_obstacles(facts)),
        ("lvs", "configure IPVS over netlink", _lvs_obstacles(facts)),
        ("report", "write HTML and Markdown with charts", _report_obstacles(facts)),
        ("lab", "run a director with clients on this machine", lab_obstacles(facts)),
    )
    return Diagnosis(
        kernel=facts.release,
        features=tuple(
            Feature(name, not obstacles, what, obstacles) for name, what, obstacles in features
        ),
        probes=ladders(facts),
        notes=_present(
            (
                not facts.btf,
                "The running kernel has no BTF, so bcc must compile some probes",
                "Boot a kernel with CONFIG_DEBUG_INFO_BTF",
            ),
            _lab_headers(facts),
        ),
    )


def probe_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    """Return the obstacles to the irq probe with eBPF, in the order in which to remove them.

    If neither way of loading works, these are the obstacles to prebuilt objects.
    """
    event = _no_event(facts, "irq/irq_handler_entry")
    ahead = prebuilt_obstacles(facts, types=True)
    return (*(ahead if compiled_obstacles(facts) else ()), *event)


def prebuilt_obstacles(facts: Facts, *, types: bool) -> tuple[Obstacle, ...]:
    """Return the obstacles to probes that were built ahead of time.

    *types* says whether the probe reads structures of the kernel, whose layout BTF tells.
    """
    return _present(
        (
            not facts.bpf and not facts.root,
            "dirtune runs neither as root nor with CAP_BPF and CAP_PERFMON",
            "Run it with sudo",
        ),
        _powerless_root(facts),
        (not facts.libbpf, "libbpf 1.0 or newer is not installed", _install(facts, "libbpf")),
        (
            types and not facts.btf,
            "This kernel has no type information (BTF)",
            "Boot a kernel with CONFIG_DEBUG_INFO_BTF",
        ),
        _lockdown(facts),
    )


def compiled_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    """Return the obstacles to probes that bcc compiles on this machine."""
    return _present(
        (not facts.root, "dirtune does not run as root", "Run it with sudo"),
        _powerless_root(facts),
        (not facts.bcc, "bcc's Python module is not installed", _install(facts, "bcc")),
        (
            not facts.headers,
            f"The headers of kernel {facts.release} are not installed",
            _install(facts, "headers"),
        ),
        _lockdown(facts),
    )


def tracefs_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    """Return the obstacles to counting the calls of interrupt handlers with tracefs triggers."""
    hidden = not facts.root or facts.lockdown == _CONFIDENTIAL
    return (
        *_present(
            (not facts.root, "dirtune does not run as root", "Run it with sudo"),
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
    """Return each probe with its possible sources, the best source first."""
    bcc = compiled_obstacles(facts)
    ahead = prebuilt_obstacles(facts, types=False)
    kprobes = (
        *(ahead if bcc else ()),
        *_no_option("kprobes", "CONFIG_KPROBES", there=facts.kprobes),
    )
    perf = _no_option("perf events", "CONFIG_PERF_EVENTS", there=facts.perf_events)
    ipvs = _present((not facts.ip_vs, "IPVS is not loaded", "modprobe ip_vs"))
    types = _present(
        (
            facts.ip_vs and not facts.ip_vs_types,
            "This kernel has no type information (BTF) of IPVS",
            "Boot a kernel with CONFIG_DEBUG_INFO_BTF_MODULES",
        )
    )

    def bpf(gives: str, needs: tuple[Obstacle, ...], *, types: bool) -> tuple[Rung, Rung]:
        ahead = (*prebuilt_obstacles(facts, types=types), *needs)
        return Rung("prebuilt", gives, ahead), Rung("bcc", gives, (*bcc, *needs))

    handlers = _no_event(facts, "irq/irq_handler_entry")
    softirq = _no_event(facts, "irq/softirq_entry", "napi/napi_poll")
    waits = _no_event(facts, "lock/contention_begin")
    drops = _no_event(facts, "skb/kfree_skb")
    passes = "time that IPVS takes for a packet"
    hooks = (*prebuilt_obstacles(facts, types=True), *ipvs, *types)
    return (
        _ladder(
            "irq",
            *bpf("calls, IRQ_NONE and time of each handler", handlers, types=True),
            Rung(
                "tracefs",
                "calls of each handler, IRQ_NONE by interrupt line",
                tracefs_obstacles(facts),
            ),
            Rung("proc", "calls inferred from /proc/interrupts", _audit_obstacles(facts)),
        ),
        _ladder(
            "softirq", *bpf("runs, time and delay of softirqs, NAPI polls", softirq, types=True)
        ),
        _ladder(
            "locks",
            *bpf("waits for kernel locks", waits, types=False),
            Rung("kprobes", "waits for spin locks", kprobes),
        ),
        _ladder("cpu", *bpf("kernel stacks at 99 Hz", perf, types=False)),
        _ladder("drops", *bpf("dropped packets by reason", drops, types=False)),
        _ladder(
            "ipvs",
            Rung("prebuilt", passes, hooks),
            Rung("kprobes", passes, (*kprobes, *ipvs)),
        ),
    )


def _ladder(probe: str, *rungs: Rung) -> Ladder:
    return Ladder(probe, next((r.source for r in rungs if not r.obstacles), None), rungs)


def _install(facts: Facts, package: str) -> str:
    return install(facts.os_release, package, facts.release)


def _powerless_root(facts: Facts) -> tuple[bool, str, str]:
    return (
        facts.root and not facts.bpf,
        "dirtune lacks the capabilities CAP_BPF and CAP_PERFMON, as in a container",
        "Run it on the host, or give the container both capabilities",
    )


def _lockdown(facts: Facts) -> tuple[bool, str, str]:
    return (
        facts.lockdown == _CONFIDENTIAL,
        "Kernel lockdown is in confidentiality mode",
        "Boot with lockdown=integrity or without lockdown",
    )


def _no_option(what: str, option: str, *, there: bool | None) -> tuple[Obstacle, ...]:
    return _present((there is False, f"This kernel has no {what}", f"Boot a kernel with {option}"))


def _no_event(facts: Facts, *names: str) -> tuple[Obstacle, ...]:
    # Without tracefs, the available tracepoints are unknown. Raw tracepoints do not need tracefs.
    missing = [n for n in names if facts.events is not None and n not in facts.events]
    return tuple(
        Obstacle(f"This kernel has no tracepoint {name.replace('/', ':')}", _SINCE[name])
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
    return _present((not facts.root, "dirtune does not run as root", "Run it with sudo"))


def _report_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    return _modules(facts, "jinja2", "altair", "vl_convert")


def lab_obstacles(facts: Facts, kernel: str = "standard") -> tuple[Obstacle, ...]:
    """Return the obstacles to starting a lab whose director boots a *kernel* of this kind."""
    free = facts.lab_free_mib
    return (
        *_present(
            (not facts.root, "dirtune does not run as root", "Run it with sudo"),
            (
                lab_kernel(facts.lab_kernels, kernel) is None,
                *no_lab_kernel(kernel, facts.os_release),
            ),
            (not facts.tun, "/dev/net/tun is missing, and taps need it", "modprobe tun"),
            (
                free < LAB_FREE_MIB,
                f"{facts.lab_parent} has {free} MiB free, and the lab needs {LAB_FREE_MIB} MiB",
                "Free some space, or set DIRTUNE_LAB to a folder elsewhere",
            ),
        ),
        *_commands(facts, *COMMANDS),
        *_present(
            (
                VIRTME not in facts.commands,
                f"The command {VIRTME} is not installed",
                _pip(facts, "virtme-ng"),
            )
        ),
    )


def no_lab_kernel(kind: str, os_release: str | None) -> tuple[str, str]:
    """Return why /boot has no kernel of *kind* for the lab, and the command that installs one."""
    *names, last = LAB_MODULES
    why = f"No {kind} kernel in /boot has the modules {', '.join(names)} and {last}"
    return why, install(os_release, kind)


def _lab_headers(facts: Facts) -> tuple[bool, str, str]:
    kernel = lab_kernel(facts.lab_kernels, "standard")
    return (
        # If no lab can start, its probes do not matter.
        not lab_obstacles(facts) and not facts.libbpf and kernel not in facts.lab_headers,
        f"The headers of the lab's kernel {kernel} are not installed, so the lab runs no probe",
        install(facts.os_release, "headers", kernel or ""),
    )


def _modules(facts: Facts, *names: str) -> tuple[Obstacle, ...]:
    return _present(
        *(
            (
                name not in facts.modules,
                f"The Python module {name} is not installed",
                _pip(facts, PACKAGES[name]),
            )
            for name in names
        )
    )


def _pip(facts: Facts, package: str) -> str:
    return pip_install(package, python=facts.python)


def _commands(facts: Facts, *names: str) -> tuple[Obstacle, ...]:
    return _present(
        *(
            (
                name not in facts.commands,
                f"The command {name} is not installed",
                _install(facts, name),
            )
            for name in names
        )
    )


def _present(*candidates: tuple[bool, str, str]) -> tuple[Obstacle, ...]:
    return tuple(Obstacle(why, remedy) for missing, why, remedy in candidates if missing)
