import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dirtune.change import table
from dirtune.change.actions.drain_ipvs import DrainIpvs
from dirtune.change.actions.edit_ipvs import EditIpvs
from dirtune.lvs.diff import Step, Verb, diff, only, quiesced, touched
from dirtune.lvs.draining import Leaving
from dirtune.lvs.model import Destination, Service, SyncDaemon, Table, Timeouts
from tests.lvs.simulated import Simulated
from tests.lvs.tables import tables

A, B, C = (Destination(f"10.1.1.{n}", 80, "dr") for n in (1, 2, 3))
WEB = Service("tcp", "10.9.9.9", 80, "rr", destinations=(A, B))
DNS = Service("udp", "10.9.9.9", 53, "rr", flags=4)
MASTER, BACKUP = SyncDaemon("master", "eth0", 3, 1472), SyncDaemon("backup", "eth0", 3, 1472)
TIMES = Timeouts(900, 120, 300)


def with_(service, **fields):
    return Table((replace(service, **fields),))


@pytest.mark.parametrize(
    ("actual", "desired", "steps"),
    [
        # Nothing to do.
        (Table(), Table(), []),
        (Table((WEB, DNS)), Table((DNS, WEB)), []),
        (Table((WEB,)), with_(WEB, destinations=(B, A)), []),
        (Table((WEB,), TIMES, (MASTER,)), Table((WEB,)), []),
        (Table((), TIMES, (MASTER,)), Table((), TIMES, (replace(MASTER, maxlen=None),)), []),
        # Services.
        (Table(), Table((WEB,)), ["new TCP", "new ->1", "new ->2"]),
        (Table((WEB,)), Table(), ["del TCP"]),
        (Table((WEB,)), with_(WEB, scheduler="wlc"), ["set TCP"]),
        (Table((WEB,)), with_(WEB, persistent_s=300), ["set TCP"]),
        (Table((WEB,)), Table((DNS,)), ["new UDP", "del TCP"]),
        (Table((WEB,)), with_(WEB, port=81), ["new TCP", "new ->1", "new ->2", "del TCP"]),
        # Destinations: added and edited before anything goes.
        (Table((WEB,)), with_(WEB, destinations=(A, C)), ["new ->3", "del ->2"]),
        (
            Table((WEB,)),
            with_(WEB, destinations=(replace(A, weight=0), C)),
            ["set ->1", "new ->3", "del ->2"],
        ),
        (Table((WEB,)), with_(WEB, destinations=()), ["del ->1", "del ->2"]),
        (Table((WEB,)), with_(WEB, destinations=(replace(A, upper=9), B)), ["set ->1"]),
        (
            with_(WEB, destinations=()),
            with_(WEB, destinations=(A, replace(A, port=81, forwarding="nat"))),
            ["new ->1", "new ->1"],
        ),
        # The rest of a director.
        (Table((), TIMES), Table((), Timeouts(900, 120, 299)), ["set timeouts"]),
        (Table((), TIMES, (MASTER,)), Table((), None, ()), ["del master"]),
        (Table((), TIMES, ()), Table((), None, (MASTER,)), ["new master"]),
        (
            Table((WEB,), TIMES, (MASTER,)),
            Table((), None, (BACKUP,)),
            ["del master", "del TCP", "new backup"],
        ),
        (
            Table((), TIMES, (MASTER,)),
            Table((), None, (replace(MASTER, ttl=2),)),
            ["del master", "new master"],
        ),
    ],
)
def test_steps(actual, desired, steps):
    assert [said(step) for step in diff(actual, desired)] == steps


def said(step):
    match step.what:
        case Service() as service:
            return f"{step.verb} {service.protocol.upper()}"
        case Destination() as destination:
            return f"{step.verb} ->{destination.address[-1]}"
        case SyncDaemon() as daemon:
            return f"{step.verb} {daemon.state}"
    return f"{step.verb} {step.name}"


def carried_out(kernel, steps):
    kernel.carry_out(steps)
    return kernel.read()


@settings(max_examples=150)
@given(tables(), tables())
def test_any_table_becomes_any_other_in_one_go(actual, desired):
    kernel = Simulated(actual)

    now = carried_out(kernel, diff(actual, desired))

    assert diff(now, desired) == ()
    # Every service that stays was neither removed nor made anew.
    kept = {s.key for s in actual.services} & {s.key for s in desired.services}
    steps = diff(actual, desired)
    assert not [s for s in steps if s.verb is not Verb.SET and not s.of and key(s) in kept]


def key(step):
    return step.what.key if isinstance(step.what, Service) else None


@settings(max_examples=100)
@given(tables(), tables(), st.data())
def test_from_wherever_it_stopped_it_can_be_undone_and_others_are_left_alone(
    actual, desired, data
):
    steps = diff(actual, desired)
    before, after = touched(actual, desired)
    assert diff(before, after) == steps
    kernel = Simulated(actual)
    kernel.carry_out(steps[: data.draw(st.integers(0, len(steps)))])
    left_alone = {s.key for s in actual.services} - {s.key for s in before.services}
    both = Table((*before.services, *after.services), after.timeouts, after.daemons)

    back = diff(only(kernel.read(), both), before)

    assert diff(carried_out(kernel, back), actual) == ()
    assert not [s for s in (*steps, *back) if (s.of.key if s.of else key(s)) in left_alone]


@settings(max_examples=100)
@given(tables(), tables())
def test_drained_first_what_goes_takes_nothing_new_and_stays_until_the_end(actual, desired):
    kernel = Simulated(actual)
    between = quiesced(actual, desired)

    now = carried_out(kernel, diff(actual, between))

    assert not [s for s in diff(actual, between) if s.verb is Verb.DEL]
    assert {s.key for s in actual.services} <= {s.key for s in now.services}
    gone = {(s.service.key, d) for s in table.leaving(actual, desired) for d in s.destinations}
    for service in now.services:
        for each in service.destinations:
            if (service.key, each.key) in gone:
                assert each.weight == 0
    assert {s.verb for s in diff(now, desired)} <= {Verb.DEL}
    assert diff(carried_out(kernel, diff(now, desired)), desired) == ()


def test_what_is_to_go_is_drained_between_two_edits():
    first, wait, last = table.edits(Table((WEB, DNS)), with_(WEB, destinations=(A, C)), drain_s=30)

    assert [said(step) for step in diff(first.before, first.after)] == ["new ->3", "set ->2"]
    bare = replace(WEB, destinations=())
    assert wait == DrainIpvs((Leaving(bare, (("10.1.1.2", 80),)),), 30)
    assert [said(step) for step in diff(last.before, last.after)] == ["del ->2", "del UDP"]


@pytest.mark.parametrize("drain_s", [None, 30])
def test_nothing_to_do_is_nothing(drain_s):
    assert table.edits(Table((WEB,), TIMES), Table((WEB,)), drain_s=drain_s) == ()


def test_without_draining_it_is_one_edit_of_what_differs():
    (edit,) = table.edits(Table((WEB, DNS)), Table((DNS,)), drain_s=None)

    assert edit == EditIpvs(Table((WEB,)), Table())
    assert edit.commands == ("ipvsadm -D -t 10.9.9.9:80",)


def test_daemons_stop_before_and_start_after_what_the_kernel_has_not_beside_them():
    mixed = replace(WEB, destinations=(Destination("fd00::1", 80, "tun"),))
    actual, desired = Table((mixed,), TIMES, (BACKUP,)), Table((WEB,), None, (MASTER,))

    first, _, last = table.edits(actual, desired, drain_s=30)

    assert said(diff(first.before, first.after)[0]) == "del backup"
    assert [said(step) for step in diff(last.before, last.after)] == ["del ->1", "new master"]
    assert Step(Verb.NEW, MASTER) not in diff(first.before, first.after)
