"""Every obstacle names what is missing and what provides it."""

import msgspec
import pytest

from dirtune.analyse.doctor import diagnose, probe_obstacles
from dirtune.collect.facts import Facts

READY = Facts(
    root=True,
    release="6.1.0-56-amd64",
    proc_readable=True,
    bcc=True,
    headers=True,
    tracepoints=True,
    lockdown="none",
    commands=frozenset({"h2load", "ip", "nginx", "qemu-system-x86_64", "sshd", "vng"}),
    modules=frozenset({"altair", "asyncssh", "jinja2", "pyroute2", "scipy", "vl_convert"}),
    lab_kernels=("6.1.0-56-amd64",),
    lab_headers=("6.1.0-56-amd64",),
    tun=True,
    free_bytes=50 * 2**30,
)


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
        ({"root": False}, {n: ["run it with sudo"] for n in ("probe", "lvs", "lab")}),
        ({"bcc": False}, {"probe": ["apt install python3-bpfcc"]}),
        ({"headers": False}, {"probe": ["apt install linux-headers-6.1.0-56-amd64"]}),
        ({"lab_kernels": (), "lab_headers": ()}, {"lab": ["apt install linux-image-amd64"]}),
        ({"lab_headers": ()}, {"lab": ["apt install linux-headers-6.1.0-56-amd64"]}),
        ({"tun": False}, {"lab": ["modprobe tun"]}),
        ({"proc_readable": False}, {"audit": ["mount /proc"]}),
        (
            {"modules": READY.modules - {"asyncssh"}},
            {
                "remote": ["pip install 'dirtune[remote]'"],
                "bench": ["pip install 'dirtune[bench]'"],
            },
        ),
        (
            {"commands": READY.commands - {"h2load"}},
            {"bench": ["apt install nghttp2-client"], "lab": ["apt install nghttp2-client"]},
        ),
    ],
)
def test_one_thing_missing(changes, expected):
    assert broken(**changes) == expected


def test_little_space_is_said_with_its_figure():
    (lab,) = [
        f
        for f in diagnose(msgspec.structs.replace(READY, free_bytes=2**30)).features
        if not f.works
    ]

    assert (lab.name, lab.obstacles[0].why) == ("lab", "1.0 GiB free for temporary files")


@pytest.mark.parametrize(
    ("changes", "stopped"),
    [
        # tracefs that is not mounted hides the tracepoints and does not stop raw ones.
        ({"tracepoints": None}, False),
        ({"tracepoints": False}, True),
        ({"lockdown": None}, False),
        ({"lockdown": "integrity"}, False),
        ({"lockdown": "confidentiality"}, True),
    ],
)
def test_what_stops_a_probe(changes, stopped):
    assert bool(probe_obstacles(msgspec.structs.replace(READY, **changes))) is stopped
