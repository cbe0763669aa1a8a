import ast
from pathlib import Path

import pytest

from dirtune import checks
from dirtune.analyse.handlers import HandlerCounts
from dirtune.analyse.probed import LockWindow, NotProbed, Probed
from dirtune.checks import discovery
from dirtune.fetch import record
from dirtune.host import LiveHost, RecordedHost
from dirtune.jobs.snapshots import Source, samples
from dirtune.snapshot import (
    FIELDS,
    MOVING,
    Snapshot,
    moving,
    patterns_of,
    take,
    take_all,
    with_probes,
)

PACKAGE = Path(__file__).parent.parent / "dirtune"
# What these take of the earlier snapshot that they are given as a whole.
OF_A_WHOLE = {
    "_overruns": ("netdev",),
    "_by_queue": ("netdev",),
    "_by_name": ("interfaces",),
    "by_cpu": ("softnet", "cpus"),
    "card": ("ethtool",),
    "destinations": ("services",),
    "detail": ("ipvs",),
}

INTERRUPTS = "           CPU0\n 10:         40    XT-PIC      sym53c8xx, eth1\n"
FIRST = RecordedHost(
    {"/proc/interrupts": INTERRUPTS, "/proc/cmdline": "noapic\n"},
    {"/sys/class/net/eth1": "../../devices/pci0000:00/0000:00:10.0/net/eth1"},
    frozenset({"/proc/stat"}),
    taken_s=100.0,
)
SECOND = RecordedHost({"/proc/interrupts": INTERRUPTS.replace("40", "90")}, {}, taken_s=102.5)


def test_what_is_absent_is_none_with_its_reason():
    taken = take(FIRST)

    assert taken.cmdline == ("noapic",)
    assert taken.stat is None
    assert "could not be read" in taken.errors["stat"]
    assert "/proc/net/ip_vs" in taken.errors["services"]


def test_a_number_that_is_none_of_a_kernel_is_a_reason_too(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text(f"cpu {'1' * 5000} 0 0 0\n")

    found = take(LiveHost(tmp_path), ("stat",))

    assert set(found.errors) == {"stat"}
    assert found.errors["stat"].startswith("/proc/stat: ")


def test_two_samples_have_seconds_between_them_and_one_has_none():
    assert take_all((FIRST, SECOND)).seconds == 2.5
    assert take_all((FIRST,)).seconds is None


@pytest.fixture(scope="module")
def here():
    """The second sample of this machine."""
    return samples(Source(interval=0))[1]


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_reads_only_the_sources_it_names(name, here):
    alone = take(record(here, patterns_of((name,))), (name,))
    whole = take(here)

    assert getattr(alone, name) == getattr(whole, name)
    assert alone.errors.get(name) == whole.errors.get(name)


def test_the_earlier_sample_has_what_moves():
    taken = take_all((SECOND, FIRST, SECOND))

    assert taken.cmdline is None
    assert taken.earlier.interrupts.lines[0].counts == (40,)
    assert (taken.earlier.cmdline, taken.earlier.earlier) == (None, None)
    assert moving(("pci", "interrupts", "cmdline")) == ("interrupts",)


def test_here_too_the_first_sample_has_what_moves():
    first, second = samples(Source(interval=0), ("stat", "cmdline"))

    assert list(first.files) == ["/proc/stat"]
    assert list(second.files) == ["/proc/stat", "/proc/cmdline"]


def test_rates_are_made_of_what_moves():
    """A check that takes something else of the earlier sample would never see it."""
    used = set()
    for path in (
        p for part in ("checks", "analyse", "render") for p in (PACKAGE / part).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(attr=name, value=ast.Attribute(attr="earlier")):
                    used.add(name)
                case ast.Call(func=ast.Name(id=name), args=[*_, ast.Attribute(attr="earlier")]):
                    used.update(OF_A_WHOLE[name])
                case ast.Call(func=ast.Name(id=name), args=[ast.Attribute(attr="earlier"), *_]):
                    used.update(OF_A_WHOLE[name])

    assert used - {"taken_s"} == set(MOVING)


def test_what_probes_measured_stands_in_the_snapshot_and_why_they_did_not():
    locks, counts = LockWindow(5.0, ()), HandlerCounts(5.0, "proc", (), {}, {})
    missing = (
        NotProbed("irq", "no headers", "apt install linux-headers-6.1", "calls are inferred"),
        NotProbed("cpu", "no perf events", "", ""),
    )
    found = with_probes(
        Snapshot(errors={"stat": "not here"}),
        Probed(5.0, locks=locks, handler_counts=counts, missing=missing),
    )

    assert (found.locks, found.handler_counts) == (locks, counts)
    assert found.handlers is None
    assert found.errors == {
        "stat": "not here",
        "handlers": "no headers; apt install linux-headers-6.1",
    }


@pytest.mark.parametrize(("then", "now"), [(5.0, 5.0), (6.0, 5.0), (None, 5.0), (5.0, None)])
def test_no_time_between_two_samples_is_unknown_and_not_zero(then, now):
    assert Snapshot(taken_s=now, earlier=Snapshot(taken_s=then)).seconds is None


def test_a_clock_that_stands_still_breaks_no_check():
    table = {"/proc/interrupts": "   CPU0\n10: 40 XT-PIC eth0\nERR: 7\n"}
    risen = {"/proc/interrupts": "   CPU0\n10: 90 XT-PIC eth0\nERR: 70\n"}
    samples = tuple(RecordedHost(files, {}, taken_s=5.0) for files in (table, risen))

    outcomes = checks.run(discovery.all_checks(), take_all(samples))

    assert [o.check.id for o in outcomes if o.status is checks.Status.ERROR] == []
