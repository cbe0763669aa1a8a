"""What this machine may lack: each is one line with its remedy, before anything is started."""

import msgspec
import pytest
from click.testing import CliRunner

from dirtune.analyse.doctor import diagnose
from dirtune.cli import main
from dirtune.collect.facts import COMMANDS, Facts
from dirtune.errors import LabError
from dirtune.lab import lifecycle, state
from dirtune.lab.spec import Spec

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
    events=frozenset(),
    hist_triggers=True,
    kprobes=True,
    btf=True,
    perf_events=True,
    ip_vs=True,
    ip_vs_types=True,
    lockdown=None,
    commands=frozenset({*COMMANDS, "virtme-run"}),
    modules=frozenset(),
    python="/opt/dirtune/bin/python",
    lab_kernels=("6.1.0-56-amd64",),
    lab_headers=(),
    tun=True,
    lab_parent="/var/lib",
    lab_free_mib=5000,
)
LACKS = [
    *({"commands": READY.commands - {name}} for name in sorted(READY.commands)),
    {"tun": False},
    {"lab_kernels": ()},
    {"lab_kernels": ("6.1.0-60-rt-amd64",)},
    {"lab_free_mib": 511},
]


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A machine that has everything, seen from root; nothing of it is started."""
    monkeypatch.setenv("DIRTUNE_LAB", str(tmp_path / "lab"))
    monkeypatch.setattr(lifecycle.os, "geteuid", lambda: 0)
    monkeypatch.setattr(lifecycle, "read_facts", lambda host: READY)
    monkeypatch.setattr(lifecycle, "_lock", started)
    return Spec(scenario=state.scenario("shared"))


def started(place):
    raise LabError("it was started")


def test_a_machine_that_has_everything_lacks_nothing(asked):
    with pytest.raises(LabError, match="it was started"):
        lifecycle.up(asked, print)


@pytest.mark.parametrize("lack", LACKS, ids=lambda lack: next(iter(lack)))
def test_what_doctor_says_of_the_lab_is_what_stops_it(asked, monkeypatch, lack):
    facts = msgspec.structs.replace(READY, **lack)
    monkeypatch.setattr(lifecycle, "read_facts", lambda host: facts)
    (lab,) = (each for each in diagnose(facts).features if each.name == "lab")
    (obstacle,) = lab.obstacles

    with pytest.raises(LabError) as stopped:
        lifecycle.up(asked, print)

    assert str(stopped.value) == f"{obstacle.why}: {obstacle.remedy}"
    assert not state.folder().path.exists()


def test_each_kernel_that_a_lab_boots_must_be_there(asked, monkeypatch):
    def up(**fields):
        with pytest.raises(LabError) as stopped:
            lifecycle.up(msgspec.structs.replace(asked, **fields), print)
        return str(stopped.value)

    assert "apt install linux-image-rt-amd64" in up(kernel="rt")
    rt = msgspec.structs.replace(READY, lab_kernels=("6.1.0-60-rt-amd64",))
    monkeypatch.setattr(lifecycle, "read_facts", lambda host: rt)
    assert "it was started" in up(kernel="rt")
    assert "apt install linux-image-amd64" in up(kernel="rt", forwarding="tun")


def test_without_root_nothing_is_looked_at(asked, monkeypatch):
    monkeypatch.setattr(lifecycle.os, "geteuid", lambda: 1000)

    with pytest.raises(LabError, match=r"^Only root"):
        lifecycle.up(asked, print)


def test_a_node_that_is_not_there_is_named_with_those_that_are(asked, tmp_path):
    place = state.folder()
    place.path.mkdir()
    place.write("spec", asked)

    with pytest.raises(LabError, match=r"rs9.*lb1, rs1"):
        lifecycle._ssh_argv(place, "rs9", (), terminal=False)


def test_no_lab_is_up_says_how_to_get_one(asked):
    with pytest.raises(LabError, match="dirtune lab up"):
        lifecycle.running()


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("words", [("demo",), ("control",), ("demo", "--scenario", "none")])
def test_a_lab_that_is_up_already_is_left_alone(monkeypatch, words):
    def up(spec, say):
        raise LabError("a lab is up already")

    monkeypatch.setattr(lifecycle, "up", up)
    downs = []
    monkeypatch.setattr(lifecycle, "down", lambda: downs.append(1))

    result = CliRunner().invoke(main, ["lab", *words])

    assert (result.exit_code, downs) == (2, [])
    assert "up already" in result.stderr or "No such scenario" in result.stderr


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("command", ["demo", "control"])
def test_a_lab_is_not_started_for_fewer_pairs_than_a_verdict_needs(monkeypatch, command):
    started = []

    def up(spec, say):
        started.append(spec)
        raise LabError("started")

    monkeypatch.setattr(lifecycle, "up", up)

    result = CliRunner().invoke(main, ["lab", command, "--pairs", "5"])
    assert (result.exit_code, started) == (2, [])
    assert "only 5 pairs are planned. Use --pairs 6 or more." in result.stderr

    result = CliRunner().invoke(main, ["lab", command, "--pairs", "6"])
    assert "started" in result.stderr


def test_one_command_at_a_time_works_on_a_lab_and_leaves_no_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(lifecycle, "_LOCKS", tmp_path)
    here, there = (state.Folder(tmp_path / name) for name in ("here", "there"))

    with lifecycle._lock(here):
        with pytest.raises(LabError, match="is running"), lifecycle._lock(here):
            pass
        with lifecycle._lock(there):
            pass
    with lifecycle._lock(here):
        pass

    assert list(tmp_path.glob("*.lock")) == []
