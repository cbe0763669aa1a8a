"""A session of probes, with loaded programs and the kernel's statistics played by stand-ins."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from dirtune.analyse.probed import IpvsWindow, NotProbed
from dirtune.cli import profile
from dirtune.host import RecordedHost
from dirtune.probes import session
from dirtune.probes.loading import Loaded, parse_statistics
from dirtune.probes.prebuilt import HERE
from dirtune.probes.probe import Point, Probe, Way
from dirtune.probes.session import Session

# As /proc/self/fdinfo prints a program's descriptor on Linux 6.1 and later.
FDINFO = "pos:\t0\nflags:\t02000002\nprog_type:\t17\nrun_time_ns:\t{}\nrun_cnt:\t{}\n"


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch):
        self.now_s = 100.0
        fake = SimpleNamespace(monotonic=lambda: self.now_s, process_time_ns=lambda: 0)
        monkeypatch.setattr(session, "time", fake)


class Bpf:
    """Programs whose cost the test sets; remembers what was detached."""

    def __init__(self, files, fds):
        self.fds = fds
        self.files = files
        self.detached = []

    def costs(self, fd, ns, runs):
        self.files[f"/proc/self/fdinfo/{fd}"] = FDINFO.format(ns, runs)

    def descriptor(self, function):
        return self.fds[function]

    def detach(self, point):
        self.detached.append(f"{point.target} {point.function}")


def probe(name, window, point):
    def decode(before, after, context):
        return IpvsWindow(after.taken_s - before.taken_s, context.cost.events or 0, 0, 0, 0)

    way = Way(f"{name}'s way", (point,))
    return Probe(name, window, (way,), read=lambda bpf, host: None, decode=decode), way


@pytest.fixture
def made(monkeypatch):
    """A session of two probes that may cost 1 % of a CPU."""
    files = {}
    bpf = Bpf(files, {"irq_entry": 3, "ipvs_in": 4})
    bpf.costs(3, 1000, 10)
    bpf.costs(4, 2000, 20)
    irq = probe("irq", "handlers", Point("tracepoint", "irq:irq_handler_entry", "irq_entry"))
    ipvs = probe("ipvs", "ipvs", Point("kprobe", "ip_vs_in_hook", "ipvs_in"))
    loaded = [Loaded(*each, bpf) for each in (irq, ipvs)]
    missing = (NotProbed("locks", "why", "remedy", ""),)
    clock = Clock(monkeypatch)
    return Session(RecordedHost(files, {}), loaded, missing, 1.0, counted=True), bpf, clock


def test_costs_are_those_of_the_window(made):
    probing, bpf, clock = made
    probing.begin()
    clock.now_s += 10
    bpf.costs(3, 50_001_000, 1010)
    bpf.costs(4, 20_002_000, 520)
    found = probing.finish()

    assert found.seconds == 10
    assert [(c.probe, c.way, c.ns, c.events, c.shed) for c in found.costs] == [
        ("irq", "irq's way", 50_000_000, 1000, False),
        ("ipvs", "ipvs's way", 20_000_000, 500, False),
    ]
    assert [c.percent for c in found.costs] == pytest.approx([0.5, 0.2])
    assert found.ipvs == IpvsWindow(10.0, 500, 0, 0, 0)
    assert found.missing[0].probe == "locks"
    assert bpf.detached == ["irq:irq_handler_entry irq_entry", "ip_vs_in_hook ipvs_in"]


def test_within_the_budget_nothing_is_detached(made):
    probing, bpf, clock = made
    probing.begin()
    clock.now_s += 1
    bpf.costs(3, 4_001_000, 1010)  # 0.4 % and 0.6 %
    bpf.costs(4, 6_002_000, 520)
    probing.keep_within_budget()

    assert bpf.detached == []


def test_over_the_budget_the_most_expensive_is_detached_and_its_window_is_short(made):
    probing, bpf, clock = made
    probing.begin()
    clock.now_s += 1
    bpf.costs(3, 5_001_000, 1010)  # 0.5 % and 0.7 %
    bpf.costs(4, 7_002_000, 520)
    probing.keep_within_budget()
    assert bpf.detached == ["ip_vs_in_hook ipvs_in"]

    clock.now_s += 9
    bpf.costs(3, 30_001_000, 1010)
    found = probing.finish()

    ipvs, irq = sorted(found.costs, key=lambda cost: cost.seconds)
    assert (ipvs.probe, ipvs.shed, ipvs.seconds, ipvs.ns) == ("ipvs", True, 1.0, 7_000_000)
    assert (irq.probe, irq.shed, irq.seconds) == ("irq", False, 10.0)
    assert found.ipvs.seconds == 1.0
    assert bpf.detached == ["ip_vs_in_hook ipvs_in", "irq:irq_handler_entry irq_entry"]


def test_each_second_is_judged_by_itself(made):
    probing, bpf, clock = made
    probing.begin()
    clock.now_s += 10
    bpf.costs(3, 50_001_000, 1010)  # 0.5 % over ten seconds
    probing.keep_within_budget()
    clock.now_s += 1
    bpf.costs(3, 61_001_000, 1010)  # 1.1 % in the eleventh, 0.55 % over all
    probing.keep_within_budget()

    assert bpf.detached == ["irq:irq_handler_entry irq_entry"]


def test_where_the_kernel_keeps_no_count_the_cost_is_not_known(made):
    probing, _, clock = made
    probing.counted = False
    probing.begin()
    clock.now_s += 1

    assert [(c.ns, c.events, c.percent) for c in probing.finish().costs] == [(None,) * 3] * 2


def test_program_statistics_are_summed():
    texts = [FDINFO.format(900, 3), FDINFO.format(100, 2)]

    assert parse_statistics(texts) == (1000, 5)


def test_program_statistics_of_an_old_kernel_are_missing_not_zero():
    assert parse_statistics(["pos:\t0\nprog_type:\t17\n"]) is None


def test_every_program_in_c_is_a_probe_of_its_own_name():
    found = {probe.name: probe for probe in session.all_probes()}

    assert set(found) >= {"cpu", "drops", "ipvs", "irq", "locks", "softirq"}
    assert set(found) == {path.name.partition(".")[0] for path in HERE.glob("*.bpf.c")}
    assert set(found) == set(profile.ALL.split(",")), "`dirtune profile` attaches every probe"
    for probe_ in found.values():
        text = (HERE / f"{probe_.name}.bpf.c").read_text()
        for way in probe_.ways:
            for point in way.points:
                assert f"int {point.function}(" in text
        for macro in (*probe_.sizes, *probe_.members):
            assert macro in text


def test_an_unknown_probe_is_named():
    with pytest.raises(session.NotPossible, match=r"No such probe: irqs\. Did you mean irq"):
        session.named(("irqs",))


def test_before_a_measurement_nothing_is_imported_that_only_its_end_needs():
    late = ("analyse.rates", "collect.interrupts", "netlink.netdev", "probes.counting", "render")
    script = (
        "import sys\nfrom dirtune.probes import session\nsession.all_probes()\nprint(*sys.modules)"
    )
    argv = (sys.executable, "-c", script)
    done = subprocess.run(argv, capture_output=True, text=True, check=True)

    assert "dirtune.probes.irq" in done.stdout.split()
    assert {f"dirtune.{name}" for name in late}.isdisjoint(done.stdout.split())
