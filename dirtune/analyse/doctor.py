"""Which features work on this machine, judged from facts alone. Pure."""

import msgspec

from dirtune.collect.facts import Facts

_LAB_BYTES = 4 * 2**30


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


class Diagnosis(msgspec.Struct, frozen=True):
    """Every feature on this machine (`dirtune/doctor/1`)."""

    kernel: str
    features: tuple[Feature, ...]
    schema: str = "dirtune/doctor/1"


def diagnose(facts: Facts) -> Diagnosis:
    """Return each feature with what stands in its way."""
    features = (
        ("audit", "read this host and judge it", _audit_obstacles(facts)),
        ("probe", "measure interrupt handlers with eBPF", probe_obstacles(facts)),
        ("remote", "reach other hosts over SSH", _modules(facts, "remote", "asyncssh")),
        ("bench", "drive load and compare", _bench_obstacles(facts)),
        ("lvs", "configure IPVS over netlink", _lvs_obstacles(facts)),
        ("report", "write HTML and Markdown with charts", _report_obstacles(facts)),
        ("lab", "a director with clients on this machine", _lab_obstacles(facts)),
    )
    return Diagnosis(
        kernel=facts.release,
        features=tuple(Feature(name, not found, what, found) for name, what, found in features),
    )


def probe_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    """Return what keeps eBPF probes from running, the first to mend first."""
    release = facts.release
    return _present(
        (not facts.root, "needs root", "run it with sudo"),
        (not facts.bcc, "bcc's Python module is not here", "apt install python3-bpfcc"),
        (
            not facts.headers,
            f"no headers of kernel {release}",
            f"apt install linux-headers-{release}",
        ),
        (
            facts.tracepoints is False,
            "this kernel has no tracepoint irq:irq_handler_entry",
            "boot a kernel with CONFIG_TRACEPOINTS and CONFIG_BPF_EVENTS",
        ),
        (
            facts.lockdown == "confidentiality",
            "kernel lockdown is in confidentiality mode",
            "boot with lockdown=integrity or without it",
        ),
    )


def _audit_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    return _present((not facts.proc_readable, "/proc/interrupts cannot be read", "mount /proc"))


def _bench_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    return (
        *_modules(facts, "bench", "asyncssh", "scipy"),
        *_commands(facts, ("h2load", "nghttp2-client")),
    )


def _lvs_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    return (
        *_present((not facts.root, "needs root", "run it with sudo")),
        *_modules(facts, "", "pyroute2"),
    )


def _report_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    return _modules(facts, "report", "jinja2", "altair", "vl_convert")


def _lab_obstacles(facts: Facts) -> tuple[Obstacle, ...]:
    kernel = facts.lab_kernels[0] if facts.lab_kernels else None
    return (
        *_present(
            (not facts.root, "needs root", "run it with sudo"),
            (
                kernel is None,
                "no kernel in /boot has ip_vs, e1000 and sym53c8xx",
                "apt install linux-image-amd64",
            ),
            (
                kernel is not None and not facts.lab_headers,
                f"no headers of the lab's kernel {kernel}",
                f"apt install linux-headers-{kernel}",
            ),
            (not facts.tun, "no /dev/net/tun for tap devices", "modprobe tun"),
            (
                facts.free_bytes < _LAB_BYTES,
                f"{facts.free_bytes / 2**30:.1f} GiB free for temporary files",
                f"free {_LAB_BYTES // 2**30} GiB, or point TMPDIR elsewhere",
            ),
        ),
        *_commands(
            facts,
            ("qemu-system-x86_64", "qemu-system-x86"),
            ("ip", "iproute2"),
            ("nginx", "nginx-light"),
            ("sshd", "openssh-server"),
            ("h2load", "nghttp2-client"),
        ),
        *_present(("vng" not in facts.commands, "no command vng", "pip install 'dirtune[lab]'")),
    )


def _modules(facts: Facts, extra: str, *names: str) -> tuple[Obstacle, ...]:
    wanted = f"'dirtune[{extra}]'" if extra else "dirtune"
    return _present(
        *(
            (n not in facts.modules, f"no Python module {n}", f"pip install {wanted}")
            for n in names
        )
    )


def _commands(facts: Facts, *wanted: tuple[str, str]) -> tuple[Obstacle, ...]:
    return _present(
        *((c not in facts.commands, f"no command {c}", f"apt install {p}") for c, p in wanted)
    )


def _present(*candidates: tuple[bool, str, str]) -> tuple[Obstacle, ...]:
    return tuple(Obstacle(why, remedy) for missing, why, remedy in candidates if missing)
