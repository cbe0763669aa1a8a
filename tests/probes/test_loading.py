"""Which way of loading is chosen, and what bcc is handed; the lab and the kernel try the rest."""

import os
import stat
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import pytest

from dirtune.analyse.doctor import Obstacle
from dirtune.errors import NotPossible
from dirtune.probes import compiled, loading, session
from dirtune.probes.probe import Way


@pytest.mark.parametrize("before", [None, "/tmp"])
def test_bcc_finds_no_headers_that_another_user_put_there(monkeypatch, before):
    """It takes those in $TMPDIR/kheaders-RELEASE for the kernel's own."""
    seen = []

    def compiles(**_):
        place = Path(os.environ["TMPDIR"])
        seen.append((place, stat.S_IMODE(place.stat().st_mode), [*place.iterdir()]))
        (place / f"kheaders-{os.uname().release}").mkdir()
        raise Exception("a.c:1:2: error: no")  # noqa: TRY002  (as bcc raises it)

    bcc = SimpleNamespace(BPF=compiles, __spec__=ModuleSpec("bcc", None))
    monkeypatch.setitem(sys.modules, "bcc", bcc)
    monkeypatch.delenv("TMPDIR", raising=False)
    if before is not None:
        monkeypatch.setenv("TMPDIR", before)

    (irq,) = session.named(("irq",))
    loaded, refused = loading.load([loading.Candidate(irq, (), Way("x", ()))])

    assert (loaded, list(refused)) == ([], ["irq"])
    ((place, mode, found),) = seen
    assert (mode, found) == (0o700, [])
    assert place not in {Path("/tmp"), Path("/var/tmp")}
    assert not place.exists()
    assert os.environ.get("TMPDIR") == before


IRQ, CPU = session.named(("cpu", "irq"))[::-1]
AHEAD, HERE = Way("ahead", ()), Way("here", ())


@pytest.fixture
def sources(monkeypatch):
    """Objects and bcc of which a test says what they refuse; remembers what bcc compiled."""
    refused, compiled = {}, []

    def load_object(probe, way, beside):
        for name in (probe.name, f"{probe.name} {way.what}"):
            if name in refused:
                raise NotPossible(refused[name])
        return f"object of {probe.name}"

    def compile_all(probes):
        names = [probe.name for probe, _ in probes]
        compiled.append(names)
        for name in names:
            if f"bcc {name}" in refused:
                raise NotPossible(refused[f"bcc {name}"])
        return "compiled"

    monkeypatch.setattr(loading.prebuilt, "load", load_object)
    monkeypatch.setattr(loading.compiled, "load", compile_all)
    return refused, compiled


def load(*candidates):
    loaded, reasons = loading.load(candidates)
    return {one.probe.name: (one.bpf, one.way.what) for one in loaded}, reasons


def test_where_the_objects_load_bcc_compiles_nothing(sources):
    _, compiled = sources
    loaded = load(loading.Candidate(IRQ, (AHEAD,), HERE), loading.Candidate(CPU, (AHEAD,), None))

    assert loaded == (
        {"irq": ("object of irq", "ahead"), "cpu": ("object of cpu", "ahead")},
        {},
    )
    assert compiled == []


def test_bcc_compiles_only_what_does_not_load_as_an_object(sources):
    refused, compiled = sources
    refused["irq"] = "irq.bpf.o cannot be loaded"
    loaded = load(loading.Candidate(IRQ, (AHEAD,), HERE), loading.Candidate(CPU, (AHEAD,), HERE))

    assert loaded == ({"cpu": ("object of cpu", "ahead"), "irq": ("compiled", "here (bcc)")}, {})
    assert compiled == [["irq"]]


def test_the_next_way_of_an_object_is_tried_before_bcc(sources):
    # fentry needs trampolines, which arm64 has had since Linux 6.0.
    refused, compiled = sources
    refused["irq ahead"] = "no trampolines"
    other = Way("other", ())

    assert load(loading.Candidate(IRQ, (AHEAD, other), HERE)) == (
        {"irq": ("object of irq", "other")},
        {},
    )
    assert compiled == []
    refused["irq other"] = "no kprobes"
    assert load(loading.Candidate(IRQ, (AHEAD, other, AHEAD), None)) == (
        {},
        {"irq": "no trampolines; no kprobes"},
    )


def test_what_neither_loads_has_both_reasons(sources):
    refused, compiled = sources
    refused |= {"irq": "the verifier's words", "bcc irq": "the compiler's words"}
    loaded = load(loading.Candidate(IRQ, (AHEAD,), HERE), loading.Candidate(CPU, (), HERE))

    assert loaded == (
        {"cpu": ("compiled", "here (bcc)")},
        {"irq": "the verifier's words; the compiler's words"},
    )
    assert compiled == [["irq", "cpu"], ["irq"], ["cpu"]]


def test_a_refused_object_without_bcc_keeps_its_reason(sources):
    refused, _ = sources
    refused["irq"] = "the verifier's words"

    assert load(loading.Candidate(IRQ, (AHEAD,), None, "no headers")) == (
        {},
        {"irq": "the verifier's words"},
    )


@pytest.mark.parametrize(
    ("ahead", "here", "line"),
    [
        ("no event", "no event", ("no event", "")),
        ("refused", None, ("refused", "")),
        ("refused", Obstacle("no bcc", "get bcc"), ("refused; with bcc: no bcc", "get bcc")),
        (
            Obstacle("no libbpf", "apt install libbpf"),
            Obstacle("no bcc", "apt install bcc"),
            ("no libbpf; with bcc: no bcc", "apt install libbpf"),
        ),
        (
            Obstacle("no root", "sudo"),
            Obstacle("no root", "sudo"),
            ("no root", "sudo"),
        ),
    ],
)
def test_the_line_names_both_ways_and_the_first_remedy(ahead, here, line):
    assert session._both(ahead, here) == line


def test_bcc_reads_the_sources_in_its_own_words():
    text = compiled.source([(probe, probe.ways[0]) for probe in session.all_probes()])
    _, _, behind = text.partition("#define SLOTS 32")

    assert "irq_more_handlers.lookup(&action)" in behind
    assert "irq_more_handlers.update(&action, fresh)" in behind
    assert "lock_starts.delete(&waiter)" in behind
    assert "cpu_stacks.get_stackid(ctx, 0)" in behind
    assert "bpf_map_" not in behind


def test_a_bcc_whose_library_is_damaged_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc/__init__.py").write_text("raise OSError('libbpf.so.1: file too short')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bcc", raising=False)

    with pytest.raises(NotPossible, match=r"^bcc cannot be imported: libbpf\.so\.1: file too"):
        compiled.load([])
