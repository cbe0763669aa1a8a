import ast
import dataclasses
import typing
from pathlib import Path

import pytest

from dirtune import checks
from dirtune.checks import (
    Cause,
    Check,
    Finding,
    Fix,
    Risk,
    Role,
    Severity,
    Status,
    Undecided,
    discovery,
)
from dirtune.collect.ip_vs import Service
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.collect.net import Interface
from dirtune.render import catalogue
from dirtune.settings import KernelFile
from dirtune.snapshot import Place, Snapshot
from tests.checks.conftest import require_one_of_each

CHECKS = discovery.all_checks()
TYPES = typing.get_type_hints(Snapshot) | {"seconds": float | None}
HEADINGS = ["What it does", "Why it matters", "Remediation", "Known problems", "References"]


def made(function, **options):
    options = {"severity": Severity.HIGH, "trust": "A"} | options
    return checks.check("irq/made-up", **options)(function)


def outcome(check, snapshot=None):
    return checks.run((check,), snapshot or Snapshot())[0]


def test_every_check_is_there_once():
    ids = [check.id for check in CHECKS]

    assert len(ids) > 90
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_a_check_is_named_after_its_module_and_documented(check):
    module = check.id.replace("/", ".").replace("-", "_")

    assert (check.function or check.cross).__module__ == f"dirtune.checks.{module}"
    found = [row[3:] for row in check.doc.splitlines() if row.startswith("## ")]
    assert found == [heading for heading in HEADINGS if heading in found]
    assert set(HEADINGS) - set(found) <= {"Known problems"}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_the_tests_of_a_check_are_where_its_name_says(check):
    family, name = check.id.replace("-", "_").split("/")
    tests = Path(__file__).parent / family / f"test_{name}.py"

    assert f"from dirtune.checks.{family}.{name} import " in tests.read_text()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_without_its_sources_a_check_is_skipped_with_a_reason_and_never_passed(check):
    # Only a plan makes a client; that a host has no other role must be read from it.
    found = outcome(check, Snapshot(place=Place("client") if "client" in check.roles else None))

    assert found.status is Status.SKIPPED
    assert found.reason


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_what_a_check_is_given_has_the_type_of_the_field_without_none(check):
    types = typing.get_type_hints(check.function or check.cross)

    assert set(check.needs) <= set(TYPES)
    assert {name: types[name] | None for name in check.given} == {
        name: TYPES[name] for name in check.given
    }


def test_no_check_asserts_what_it_was_not_given():
    for source in Path(checks.__file__).parent.rglob("*.py"):
        nodes = ast.walk(ast.parse(source.read_text()))
        assert not [node.lineno for node in nodes if isinstance(node, ast.Assert)], source


def test_a_check_is_given_what_its_parameters_name():
    def judge(snapshot, stat, seconds):
        yield Finding(f"{snapshot.cmdline} {stat} {seconds}", Severity.LOW, "Made up")

    check = made(judge, needs=("cmdline",))
    earlier = Snapshot(taken_s=8.0)
    whole = Snapshot(cmdline=("quiet",), stat="a stat", taken_s=10.0, earlier=earlier)

    assert outcome(check, whole).findings[0].subject == "('quiet',) a stat 2.0"
    for name in ("cmdline", "stat"):
        absent = dataclasses.replace(whole, **{name: None}, errors={name: f"no {name} here"})
        lacking = outcome(check, absent)
        assert (lacking.status, lacking.reason) == (Status.SKIPPED, f"no {name} here")
    alone = outcome(check, dataclasses.replace(whole, earlier=None))
    assert (alone.status, alone.cause) == (Status.INCONCLUSIVE, Cause.ONE_SAMPLE)


def test_an_outcome_says_what_kept_the_check_from_deciding():
    def broken(_):
        raise KeyError(1)

    probed = made(lambda _: iter(()), needs=("handlers",))
    read = made(lambda _: iter(()), needs=("stat",))
    client = made(lambda _: iter(()), roles=(Role.CLIENT,))
    busy = made(lambda _: iter(()), traffic=True)
    compared = checks.cross_check("irq/made-up", severity=Severity.LOW, trust="A")(broken)
    port = Interface("eth0", None, None, rx_packets=1, tx_packets=0, physical=True)
    quiet = Snapshot(interfaces=(port,), taken_s=9.0)
    idle = dataclasses.replace(quiet, taken_s=19.0, earlier=quiet)

    assert outcome(probed).cause is Cause.NOT_PROBED
    assert outcome(probed, Snapshot(errors={"handlers": "no BPF"})).cause is Cause.UNREAD
    assert outcome(read, Snapshot(errors={"stat": "idle sample"})).cause is Cause.UNREAD
    assert outcome(client, Snapshot(services=())).cause is Cause.OTHER_ROLE
    assert outcome(busy, quiet).cause is Cause.ONE_SAMPLE
    assert outcome(busy, idle).cause is Cause.IDLE
    assert outcome(compared).cause is Cause.NOT_COMPARED
    assert outcome(made(broken)).cause is Cause.FAILED
    assert outcome(made(lambda _: iter(()))).cause is None


def test_a_counter_that_was_read_twice_does_not_lack_a_second_sample():
    lone, twice = Snapshot(), Snapshot(earlier=Snapshot())

    assert checks.uncounted(lone, "?").cause is Cause.ONE_SAMPLE
    assert checks.uncounted(twice, "?").cause is Cause.UNCLEAR


def test_the_committed_catalogue_is_the_generated_one(request):
    committed = (request.config.rootpath / "docs/checks.md").read_text()

    assert committed == catalogue.book(CHECKS), "run: dirtune explain --format markdown"


def test_the_reason_of_a_skip_is_that_of_the_source():
    skipped = outcome(made(lambda _: iter(()), needs=("stat",)), Snapshot(errors={"stat": "gone"}))

    assert skipped.reason == "gone"


def test_a_check_of_another_role_is_not_applicable():
    directors = made(lambda _: iter(()), roles=("director",), needs=("ipvs",))
    service = Service("TCP", "198.18.0.100", 80, None, "rr")

    plain = outcome(directors, Snapshot(services=(), errors={"ipvs": "gone"}))
    assert plain.status is Status.NOT_APPLICABLE
    assert plain.reason == "this host is not a director"
    planned = outcome(directors, Snapshot(place=Place("client")))
    assert planned.status is Status.NOT_APPLICABLE
    director = Snapshot(services=(service,), ipvs=Ipvs())
    assert outcome(directors, director).status is Status.PASSED


@pytest.mark.parametrize(
    ("role", "telling"), [("director", "services"), ("real-server", "interface_addresses")]
)
def test_a_role_that_cannot_be_told_is_no_reason_to_leave_a_check_out(role, telling):
    unknown = Snapshot(errors={telling: "could not be read"})

    found = outcome(made(lambda _: iter(()), roles=(role,)), unknown)

    assert (found.status, found.reason) == (Status.SKIPPED, "could not be read")


def interfaces(packets):
    return (Interface("eth0", "0000:00:10.0", None, True, packets, 0),)


@pytest.mark.parametrize(
    ("packets", "status"), [(1999, Status.INCONCLUSIVE), (2000, Status.PASSED)]
)
def test_rates_of_an_idle_host_are_not_judged(packets, status):
    rates = made(lambda _: iter(()), traffic=True)
    earlier = Snapshot(interfaces=interfaces(50), taken_s=10.0)
    later = Snapshot(interfaces=interfaces(50 + packets), taken_s=12.0, earlier=earlier)

    assert outcome(rates, later).status is status
    alone = outcome(rates, dataclasses.replace(later, earlier=None))
    assert alone.status is Status.INCONCLUSIVE
    assert "only one was taken" in alone.reason


def test_a_broken_check_does_not_take_the_audit_with_it():
    def broken(_):
        raise ZeroDivisionError("division by zero")

    found = outcome(made(broken))
    assert (found.status, found.reason) == (Status.ERROR, "ZeroDivisionError: division by zero")


def test_findings_outweigh_what_was_undecided_and_the_gravest_counts():
    verdicts = (
        Undecided(Status.INCONCLUSIVE, "?", Cause.UNCLEAR),
        Finding("a", Severity.LOW, ""),
        Finding("b", Severity.CRITICAL, ""),
        Finding("c", Severity.HIGH, ""),
    )
    found = outcome(made(lambda _: iter(verdicts)))

    assert (found.status, found.severity) == (Status.FINDING, Severity.CRITICAL)
    assert len(found.findings) == 3


def test_prefixes_choose():
    ids = {c.id for c in discovery.chosen(CHECKS, ("irq/",), ("irq/msi",))}

    assert "irq/shared-with-nic" in ids
    assert "irq/msi-off" not in ids
    assert "ipvs/no-destination" not in ids
    assert discovery.chosen(CHECKS) == CHECKS
    assert all(isinstance(check, Check) for check in CHECKS)


def test_a_change_has_one_fix_which_is_automatic_where_it_can_be():
    """What the conftest of this folder holds every finding to, on findings made up."""
    by_hand = Fix("a", "A", Risk.SAFE, ("ethtool -K made-up gro on",))
    value = Fix("b", "B", Risk.SAFE, ("echo tsc > /sys/devices/system/x",))
    order = Fix("c", "C", Risk.SAFE, ("echo 0000:00:14.0 > /sys/bus/pci/drivers/x/unbind",))
    setting = KernelFile("/proc/sys/x", "1")
    own = Fix("d", "D", Risk.SAFE, ("sysctl -w 'x=1'",), settings=(setting,))
    other = Fix("e", "E", Risk.SAFE, ("sysctl -w 'x=1'",))

    refused = {(by_hand,): "can do", (value,): "can do", (own, other): "are one change"}
    for fixes, said in refused.items():
        with pytest.raises(AssertionError, match=said):
            require_one_of_each(Finding("x", Severity.LOW, "m", fixes=fixes))
    require_one_of_each(Finding("x", Severity.LOW, "m", fixes=(order, own)))
