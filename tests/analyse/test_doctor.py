"""Every obstacle names what is missing and what provides it."""

import msgspec
import pytest

from dirtune.analyse.doctor import diagnose, ladders, probe_obstacles, tracefs_obstacles
from dirtune.collect.facts import COMMANDS, Facts

EVENTS = frozenset(
    {
        "irq/irq_handler_entry",
        "irq/softirq_entry",
        "lock/contention_begin",
        "napi/napi_poll",
        "skb/kfree_skb",
    }
)
READY = Facts(
    root=True,
    bpf=True,
    release="6.1.0-56-amd64",
    proc_readable=True,
    os_release="ID=debian\n",
    libbpf=True,
    bcc=True,
    headers=True,
    tracefs="/sys/kernel/tracing",
    tracefs_writable=True,
    events=EVENTS,
    hist_triggers=True,
    kprobes=True,
    btf=True,
    perf_events=True,
    ip_vs=True,
    ip_vs_types=True,
    lockdown="none",
    commands=frozenset({*COMMANDS, "virtme-run"}),
    modules=frozenset({"altair", "jinja2", "scipy", "vl_convert"}),
    python="/opt/dirtune/bin/python",
    lab_kernels=("6.1.0-56-amd64",),
    lab_headers=("6.1.0-56-amd64",),
    tun=True,
    lab_parent="/var/lib",
    lab_free_mib=50_000,
)

PIP = "/opt/dirtune/bin/python -P -m pip install"


def broken(**changes):
    diagnosis = diagnose(msgspec.structs.replace(READY, **changes))
    return {f.name: [o.remedy for o in f.obstacles] for f in diagnosis.features if not f.works}


def test_all_works_where_all_is_there():
    assert broken() == {}
    assert [f.name for f in diagnose(READY).features] == [
        "audit", "probe", "remote", "bench", "lvs", "report", "lab",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"root": False, "bpf": False},
            {n: ["Run it with sudo"] for n in ("probe", "lvs", "lab")},
        ),
        ({"root": False}, {n: ["Run it with sudo"] for n in ("lvs", "lab")}),
        (
            {"bpf": False},
            {"probe": ["Run it on the host, or give the container both capabilities"]},
        ),
        ({"libbpf": False, "bcc": False}, {"probe": ["apt install libbpf1"]}),
        (
            {"btf": False, "headers": False},
            {"probe": ["Boot a kernel with CONFIG_DEBUG_INFO_BTF"]},
        ),
        ({"lab_kernels": (), "lab_headers": ()}, {"lab": ["apt install linux-image-amd64"]}),
        ({"tun": False}, {"lab": ["modprobe tun"]}),
        ({"proc_readable": False}, {"audit": ["mount /proc"]}),
        (
            {"commands": READY.commands - {"ssh"}},
            {
                "remote": ["apt install openssh-client"],
                "bench": ["apt install openssh-client"],
                "lab": ["apt install openssh-client"],
            },
        ),
        (
            {"commands": READY.commands - {"h2load"}},
            {"bench": ["apt install nghttp2-client"], "lab": ["apt install nghttp2-client"]},
        ),
        ({"modules": READY.modules - {"scipy"}}, {"bench": [f"{PIP} scipy"]}),
        ({"modules": READY.modules - {"vl_convert"}}, {"report": [f"{PIP} vl-convert-python"]}),
        ({"commands": READY.commands - {"virtme-run"}}, {"lab": [f"{PIP} virtme-ng"]}),
    ],
)
def test_one_thing_missing(changes, expected):
    assert broken(**changes) == expected


def test_little_space_is_said_with_its_figure():
    (lab,) = [
        f
        for f in diagnose(msgspec.structs.replace(READY, lab_free_mib=511)).features
        if not f.works
    ]

    why = "/var/lib has 511 MiB free, and the lab needs 512 MiB"
    assert (lab.name, lab.obstacles[0].why) == ("lab", why)


def test_what_the_labs_probes_lack_does_not_stop_the_lab():
    lacks = msgspec.structs.replace(READY, lab_headers=(), libbpf=False)
    (note,) = diagnose(lacks).notes
    assert note.remedy == "apt install linux-headers-6.1.0-56-amd64"

    assert diagnose(msgspec.structs.replace(lacks, tun=False)).notes == ()
    assert diagnose(msgspec.structs.replace(lacks, libbpf=True)).notes == ()


@pytest.mark.parametrize(
    ("changes", "stopped"),
    [
        # tracefs that is not mounted hides the tracepoints and does not stop raw ones.
        ({"events": None, "tracefs": None}, False),
        ({"events": EVENTS - {"irq/irq_handler_entry"}}, True),
        ({"events": EVENTS - {"skb/kfree_skb"}}, False),
        ({"btf": False, "kprobes": False, "ip_vs": False}, False),
        ({"lockdown": None}, False),
        ({"lockdown": "integrity"}, False),
        ({"lockdown": "confidentiality"}, True),
    ],
)
def test_what_stops_a_probe(changes, stopped):
    assert bool(probe_obstacles(msgspec.structs.replace(READY, **changes))) is stopped


PROBES = ("irq", "softirq", "locks", "cpu", "drops", "ipvs")
ALL = dict.fromkeys(PROBES, "prebuilt")
COMPILED = dict.fromkeys(PROBES, "bcc") | {"ipvs": "kprobes"}
NONE = dict.fromkeys(PROBES)
NO_BPF = {"libbpf": False, "bcc": False}


@pytest.mark.parametrize(
    ("changes", "used"),
    [
        ({}, ALL),
        ({"bcc": False, "headers": False}, ALL),
        ({"libbpf": False}, COMPILED),
        # Without structures of the kernel, an object needs no type information.
        ({"btf": False}, ALL | {"irq": "bcc", "softirq": "bcc", "ipvs": "kprobes"}),
        ({"ip_vs_types": False}, ALL | {"ipvs": "kprobes"}),
        ({"ip_vs_types": False, "headers": False}, ALL | {"ipvs": "kprobes"}),
        ({"ip_vs_types": False, "libbpf": False, "headers": False}, NONE | {"irq": "tracefs"}),
        ({"libbpf": False, "headers": False}, NONE | {"irq": "tracefs"}),
        (NO_BPF, NONE | {"irq": "tracefs"}),
        (NO_BPF | {"hist_triggers": False}, NONE | {"irq": "proc"}),
        (NO_BPF | {"tracefs": None, "events": None}, NONE | {"irq": "proc"}),
        (NO_BPF | {"tracefs_writable": False}, NONE | {"irq": "proc"}),
        ({"root": False, "bpf": False, "tracefs": None, "events": None}, NONE | {"irq": "proc"}),
        ({"lockdown": "confidentiality"}, NONE | {"irq": "proc"}),
        ({"root": False, "bpf": False, "proc_readable": False}, NONE),
        ({"tracefs": None, "events": None, "kprobes": None}, ALL),
        ({"events": EVENTS - {"lock/contention_begin"}}, ALL | {"locks": "kprobes"}),
        (
            {"events": EVENTS - {"lock/contention_begin"}, "bcc": False},
            ALL | {"locks": "kprobes"},
        ),
        (
            {"events": EVENTS - {"lock/contention_begin"}, "kprobes": False},
            ALL | {"locks": None},
        ),
        ({"events": EVENTS - {"napi/napi_poll"}}, ALL | {"softirq": None}),
        ({"events": EVENTS - {"irq/softirq_entry"}}, ALL | {"softirq": None}),
        ({"events": EVENTS - {"skb/kfree_skb"}}, ALL | {"drops": None}),
        ({"events": EVENTS - {"irq/irq_handler_entry"}}, ALL | {"irq": "proc"}),
        ({"perf_events": False}, ALL | {"cpu": None}),
        ({"ip_vs": False}, ALL | {"ipvs": None}),
    ],
)
def test_the_best_source_of_each_probe(changes, used):
    found = ladders(msgspec.structs.replace(READY, **changes))

    assert {ladder.probe: ladder.uses for ladder in found} == used


@pytest.mark.parametrize(
    ("changes", "remedies"),
    [
        ({}, []),
        # Neither a user nor a lockdown lets one see whether it is mounted.
        ({"root": False, "bpf": False, "tracefs": None}, ["Run it with sudo"]),
        (
            {"lockdown": "confidentiality", "tracefs": None},
            ["Boot with lockdown=integrity or without lockdown"],
        ),
        ({"tracefs": None, "events": None, "hist_triggers": None, "tracefs_writable": False},
         ["mount -t tracefs tracefs /sys/kernel/tracing"]),
        ({"tracefs_writable": False}, ["mount -o remount,rw /sys/kernel/tracing"]),
        ({"hist_triggers": False}, ["Boot a kernel with CONFIG_HIST_TRIGGERS"]),
        ({"bcc": False, "headers": False}, []),
    ],
)  # fmt: skip
def test_what_stops_counting_in_tracefs(changes, remedies):
    found = tracefs_obstacles(msgspec.structs.replace(READY, **changes))

    assert [obstacle.remedy for obstacle in found] == remedies


def test_a_missing_tracepoint_is_named_with_what_provides_it():
    changed = msgspec.structs.replace(READY, events=EVENTS - {"lock/contention_begin"})
    (locks,) = [ladder for ladder in ladders(changed) if ladder.probe == "locks"]
    (why,) = locks.rungs[0].obstacles

    assert why.why == "This kernel has no tracepoint lock:contention_begin"
    assert why.remedy == "Boot Linux 5.19 or newer"


def test_no_btf_stops_nothing_and_is_told():
    diagnosis = diagnose(msgspec.structs.replace(READY, btf=False))

    assert [note.remedy for note in diagnosis.notes] == [
        "Boot a kernel with CONFIG_DEBUG_INFO_BTF"
    ]
    assert diagnose(READY).notes == ()


@pytest.mark.parametrize(
    ("os_release", "remedies"),
    [
        (
            "",
            [
                "Install libbpf with the package manager of this system",
                "Install bcc's Python module with the package manager of this system",
            ],
        ),
        ("ID=ubuntu\nID_LIKE=debian\n", ["apt install libbpf1", "apt install python3-bpfcc"]),
        (
            'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n',
            ["dnf install libbpf", "dnf install python3-bcc"],
        ),
        ("ID=fedora\n", ["dnf install libbpf", "dnf install python3-bcc"]),
        (
            'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n',
            ["zypper install libbpf1", "zypper install python3-bcc"],
        ),
        ("ID=alpine\n", ["apk add libbpf", "apk add py3-bcc"]),
    ],
)
def test_a_remedy_is_the_command_of_the_distribution(os_release, remedies):
    facts = msgspec.structs.replace(READY, os_release=os_release, libbpf=False, bcc=False)
    (cpu,) = [ladder for ladder in ladders(facts) if ladder.probe == "cpu"]

    assert [o.remedy for rung in cpu.rungs for o in rung.obstacles] == remedies
