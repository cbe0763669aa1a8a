"""The prebuilt probes are those of the sources, and hold what every kernel can read."""

import shutil
import struct
import subprocess

import pytest
from build_objects import CLANG, STRIP, build, built_from

from dirtune.probes import prebuilt, session

PROBES = session.all_probes()


@pytest.fixture(params=PROBES, ids=lambda probe: probe.name)
def probe(request):
    return request.param


def content(probe):
    return (session.HERE / f"{probe.name}.bpf.o").read_bytes()


def test_an_object_is_built_from_the_sources_that_are_here(probe):
    assert built_from(probe).encode() in content(probe), "run `make objects`"


def test_another_source_or_another_limit_makes_an_object_stale(tmp_path):
    (irq,) = session.named(("irq",))
    for path in session.HERE.glob("*.bpf.[ch]"):
        shutil.copy(path, tmp_path)
    assert built_from(irq, tmp_path).encode() in content(irq)

    with (tmp_path / "common.bpf.h").open("a") as header:
        header.write("// more\n")
    assert built_from(irq, tmp_path).encode() not in content(irq)
    irq.sizes["IRQ_MAX_HANDLERS"] += 1
    try:
        assert built_from(irq).encode() not in content(irq)
    finally:
        irq.sizes["IRQ_MAX_HANDLERS"] -= 1


@pytest.mark.skipif(
    not (shutil.which(CLANG) and shutil.which(STRIP)),
    reason=f"{CLANG} or {STRIP} is not installed; make setup installs both",
)
def test_the_same_sources_give_the_same_bytes(probe, tmp_path):
    build(probe, tmp_path / "built.o")

    assert (tmp_path / "built.o").read_bytes() == content(probe)


def test_an_object_is_for_little_endian_machines_and_holds_no_debugger_s_sections(probe):
    made = content(probe)

    assert made[:6] == b"\x7fELF\x02\x01"
    assert struct.unpack_from("<H", made, 18) == (247,)  # EM_BPF
    assert b".BTF" in made
    assert b".debug" not in made
    assert b"/tmp" not in made


def test_every_program_that_a_way_attaches_is_in_the_object(probe):
    points = [point for way in probe.ways for point in way.points]

    assert {point.kind for point in points} <= prebuilt.KINDS
    for machine in ("x86_64", "aarch64"):
        for point in points:
            # A program that reads registers exists for each architecture.
            names = (point.function, f"{point.function}_{machine}")
            assert any(b"\0" + name.encode() + b"\0" in content(probe) for name in names)


def test_the_wheel_carries_the_objects(tmp_path):
    # Files that git ignores are left out of a wheel.
    names = [f"dirtune/probes/{probe.name}.bpf.o" for probe in PROBES]
    ignored = subprocess.run(
        ("git", "check-ignore", *names), cwd=session.HERE.parents[1], check=False, text=True,
        capture_output=True,
    )  # fmt: skip

    assert (ignored.stdout, ignored.returncode) == ("", 1)
