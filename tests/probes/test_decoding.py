"""The pure halves of the other probes; the numbers are those of a director of the lab."""

import errno
from dataclasses import replace
from types import SimpleNamespace

import pytest

from dirtune.analyse.probed import (
    Drops,
    HandlerDelay,
    IpvsWindow,
    LockWaits,
    NapiPolls,
    ProbeCost,
    SoftirqTime,
    Stack,
    UserSamples,
)
from dirtune.collect.kallsyms import parse_kallsyms
from dirtune.probes import cpu, drops, from_handlers, ipvs, locks, softirq
from dirtune.probes.probe import Context, Moment

SYMBOLS = parse_kallsyms("""\
ffffffff81000000 t do_idle
ffffffff81000100 t cpu_startup_entry
ffffffff81000200 T native_queued_spin_lock_slowpath
ffffffff81000300 T _raw_spin_lock
ffffffff81000400 t __netif_receive_skb_core
ffffffff82000000 d tasklist_lock
ffffffffc0a01000 t ip_vs_conn_new\t[ip_vs]
ffffffffc0a02d00 b __ip_vs_conntbl_lock_array\t[ip_vs]
ffffffffc0b00000 t ip_vs_rr_schedule\t[ip_vs_rr]
""")
CONTEXT = Context(ProbeCost("x", "", 1.0, None, None), 0.0, lambda: SYMBOLS)


def decoded(probe, before, after, seconds=5.0):
    return probe.decode(Moment(100.0, before), Moment(100.0 + seconds, after), CONTEXT)


# softirq

SOFTIRQS = """\
                    CPU0       CPU1
          HI:          0          1
       TIMER:       {0}          7
      NET_TX:          2          0
      NET_RX:      {1}         {2}
"""


def softirqs(vector, on_cpu, runs, ns, *, most=90, delays=0, delay_ns=0, slots=(0, 0)):
    return SoftirqTime(vector, on_cpu, runs, ns, most, delays, delay_ns, 70, slots, slots)


def softirq_reading(counts, times, napi, lost=0):
    return softirq.Reading(SOFTIRQS.format(*counts), times, napi, lost)


def test_softirqs_are_named_by_their_place_in_proc_softirqs():
    found = decoded(
        softirq,
        softirq_reading(
            (10, 100, 5),
            (softirqs("1", 0, 10, 100), softirqs("3", 0, 100, 900), softirqs("3", 1, 5, 50)),
            {},
        ),
        softirq_reading(
            (10, 8476, 61),
            (
                softirqs("1", 0, 10, 100),
                softirqs("3", 0, 8476, 2_175_506_230, delays=8376, delay_ns=323_600, slots=(3, 9)),
                softirqs("3", 1, 61, 36_000),
            ),
            {},
            lost=1,
        ),
    )

    assert found.counted == {"HI": 0, "TIMER": 0, "NET_TX": 0, "NET_RX": 8432}
    rx0, rx1 = found.softirqs
    assert (rx0.vector, rx0.cpu, rx0.runs) == ("NET_RX", 0, 8376)
    assert (rx0.total_ns, rx0.delays, rx0.delay_ns) == (2_175_505_330, 8376, 323_600)
    assert rx0.histogram == (3, 9)
    assert (rx1.cpu, rx1.runs, rx1.total_ns) == (1, 56, 35_950)
    assert found.lost == 1


def test_polls_are_those_of_each_napi_instance():
    before = {0xA: NapiPolls("enp0s16", 4, 3, 0, 8193)}
    after = {
        0xA: NapiPolls("enp0s16", 8367, 12045, 1, 8193),
        0xB: NapiPolls("enp0s16", 10, 5, 2, 8194),
        # Those of two CPUs' backlogs, which have no id and are one row.
        0xC: NapiPolls("", 2, 2, 0),
        0xD: NapiPolls("", 3, 4, 1),
    }
    first, last = (softirq_reading((0, 0, 0), (), napi) for napi in (before, after))
    queues = {8193: ("rx 0", "tx 0")}
    found = decoded(softirq, first, replace(last, queues=queues))

    assert found.napi == (
        NapiPolls("", 5, 6, 1),
        NapiPolls("enp0s16", 8363, 12042, 1, 8193, ("rx 0", "tx 0")),
        NapiPolls("enp0s16", 10, 5, 2, 8194),
    )


def test_one_entry_may_belong_to_two_instances_on_two_cpus():
    def polls(napi, *numbers):
        return SimpleNamespace(
            napi=napi, **dict(zip(("polls", "packets", "exhausted"), numbers, strict=True))
        )

    rows = [
        [polls(0xA, 3, 30, 1), polls(0xB, 5, 50, 2)],
        [polls(0xB, 7, 70, 0), polls(0, 0, 0, 0)],
        [polls(0, 0, 0, 0), polls(0xF, 1, 1, 1)],  # its name came after the names were read
    ]
    found = softirq.polls_by_napi(rows, {0xA: (8193, "eth0"), 0xB: (8194, "eth0")})

    assert found == {
        0xA: NapiPolls("eth0", 3, 30, 1, 8193),
        0xB: NapiPolls("eth0", 12, 120, 2, 8194),
    }


# after_handlers


def delays(handler, **counts):
    fields = {"events": 0, "total_ns": 0, "max_ns": 0, "slots": [0, 0], "handler": handler}
    return SimpleNamespace(**fields | counts)


def test_delays_are_read_by_handler_and_cpu_and_summed_by_name():
    rows = [
        (0, [delays(0xA, events=4, total_ns=40, max_ns=20, slots=[3, 1]), delays(0)]),
        (9, [delays(0xB, events=1, total_ns=9, max_ns=9, slots=[1, 0]), delays(0xA, events=2)]),
    ]
    handlers = {
        0xA: SimpleNamespace(irq=10, name=b"eth0"),
        0xB: SimpleNamespace(irq=11, name=b"\xff"),
    }
    bpf = {
        "softirq_delays": SimpleNamespace(items=lambda: rows),
        "irq_names": SimpleNamespace(
            items=lambda: [(SimpleNamespace(value=key), row) for key, row in handlers.items()]
        ),
    }
    before = from_handlers.read(bpf, "softirq_delays")
    rows[0][1][0] = delays(0xA, events=5, total_ns=70, max_ns=30, slots=[3, 2])
    rows[1][1][1] = delays(0xA, events=9, total_ns=80, max_ns=25, slots=[0, 7])
    after = from_handlers.read(bpf, "softirq_delays")

    assert from_handlers.decode({}, before) == (
        HandlerDelay(10, "eth0", 6, 40, 20, (3, 1)),
        HandlerDelay(11, "\ufffd", 1, 9, 9, (1, 0)),
    )
    assert from_handlers.decode(before, after) == (HandlerDelay(10, "eth0", 8, 110, 30, (0, 8)),)


def test_softirq_count_that_wrapped_goes_on():
    found = decoded(
        softirq,
        softirq_reading((2**32 - 3, 0, 0), (), {}),
        softirq_reading((4, 0, 0), (), {}),
    )

    assert found.counted["TIMER"] == 7


# locks

SLOW, SPIN, NEW, RR = (
    0xFFFFFFFF81000210,
    0xFFFFFFFF81000310,
    0xFFFFFFFFC0A01080,
    0xFFFFFFFFC0B00040,
)
TABLE = 0xFFFFFFFFC0A02D00
HEAP = 0xFFFF888003A1C2C0
STACKS = {7: (SLOW, SPIN, NEW, RR), 8: (SLOW, SPIN, RR)}


def waits(count, ns, most, slots=(0, 0)):
    return locks.Waits(count, ns, most, slots)


def lock_reading(held, lost=0):
    return locks.Reading(held, STACKS, lost)


def test_a_lock_of_an_array_is_one_lock_by_its_symbol():
    found = decoded(
        locks,
        lock_reading({(TABLE, 1, 7): waits(1, 100, 100, (1, 0))}),
        lock_reading(
            {
                (TABLE, 1, 7): waits(4, 1000, 500, (2, 2)),
                (TABLE + 64, 1, 7): waits(2, 700, 600, (0, 2)),
                (HEAP, 1, 8): waits(3, 5000, 2500, (0, 3)),
            },
            lost=2,
        ),
    )

    assert found.locks == (
        LockWaits(
            "svc->sched_lock",
            "spinlock",
            "ip_vs_rr_schedule",
            ("ip_vs_rr_schedule [ip_vs_rr]",),
            3,
            5000,
            2500,
            (0, 3),
        ),
        LockWaits(
            "__ip_vs_conntbl_lock_array",
            "spinlock",
            "ip_vs_conn_new",
            ("ip_vs_conn_new [ip_vs]", "ip_vs_rr_schedule [ip_vs_rr]"),
            5,
            1600,
            600,
            (1, 4),
        ),
    )
    assert found.lost == 2


def test_a_lock_whose_stack_was_lost_keeps_its_symbol():
    tasklist = 0xFFFFFFFF82000000
    found = decoded(
        locks, lock_reading({}), lock_reading({(tasklist, 3, -errno.EEXIST): waits(1, 9, 9)})
    )

    (one,) = found.locks
    assert (one.lock, one.kind, one.stack) == ("tasklist_lock", "rwlock:R", ())


def test_a_lock_that_nobody_waited_for_in_the_window_is_not_in_it():
    held = {(TABLE, 1, 7): waits(4, 1000, 500)}

    assert decoded(locks, lock_reading(held), lock_reading(held)).locks == ()


# cpu

IDLE, ENTRY = 0xFFFFFFFF81000010, 0xFFFFFFFF81000110
USER = -errno.EFAULT


def cpu_reading(samples, lost=0, programs=None):
    return cpu.Reading(samples, {3: (IDLE, ENTRY)}, programs or {}, lost)


def test_samples_are_told_apart_by_cpu_and_are_outermost_first():
    found = decoded(
        cpu,
        cpu_reading({(3, True): (5, 0)}),
        cpu_reading({(3, True): (100, 99), (USER, False): (0, 7)}),
    )

    assert found.hertz == 99
    assert found.stacks == (
        Stack(1, ("cpu_startup_entry", "do_idle"), idle=True, samples=99),
        Stack(0, ("cpu_startup_entry", "do_idle"), idle=True, samples=95),
        Stack(1, (), idle=False, samples=7),
    )


def test_build_ids_are_those_of_the_modules_in_the_stacks():
    asked = []

    def build_ids(modules):
        asked.append(set(modules))
        return {"kernel": "48dc", "ip_vs": "0a1b"}

    context = replace(CONTEXT, build_ids=build_ids)
    stacks = {3: (IDLE, ENTRY), 4: (NEW, RR, IDLE), 5: (RR, IDLE)}
    counts = {(3, True): (5, 0), (4, False): (1, 0), (5, False): (7, 7)}
    first, last = (
        cpu.Reading(samples, stacks, {}, 0) for samples in ({(5, False): (7, 7)}, counts)
    )
    found = cpu.decode(Moment(1.0, first), Moment(2.0, last), context)

    assert asked == [{"ip_vs", "ip_vs_rr"}]
    assert found.build_ids == {"kernel": "48dc", "ip_vs": "0a1b"}


def test_programs_in_user_mode_are_told_apart_by_cpu():
    found = decoded(
        cpu,
        cpu_reading({}, programs={"perl": (5, 2)}),
        cpu_reading({}, programs={"perl": (5, 9), "gzip": (3, 0)}),
    )

    assert found.programs == (UserSamples(0, "gzip", 3), UserSamples(1, "perl", 7))


def test_a_stack_that_had_no_room_is_counted_as_lost():
    found = decoded(
        cpu, cpu_reading({}, lost=1), cpu_reading({(-errno.EEXIST, False): (2, 3)}, lost=5)
    )

    assert found.stacks == ()
    assert found.lost == 9


# drops

# events/skb/kfree_skb/format of Debian's 6.1 kernel, its list of reasons cut short.
FORMAT = (
    "name: kfree_skb\n\tfield:enum skb_drop_reason reason;\toffset:28;\tsize:4;\tsigned:0;\n\n"
    'print fmt: "skbaddr=%p protocol=%u location=%p reason: %s", REC->skbaddr, REC->protocol, '
    'REC->location, __print_symbolic(REC->reason, { 1, "NOT_SPECIFIED" }, { 2, "NO_SOCKET" }, '
    '{ 3, "PKT_TOO_SMALL" })'
)
OLD_FORMAT = 'print fmt: "skbaddr=%p protocol=%u location=%p", REC->skbaddr, REC->protocol'
RECEIVE = 0xFFFFFFFF81000450


def test_reasons_are_those_of_the_running_kernel():
    assert drops.parse_reasons(FORMAT) == {1: "NOT_SPECIFIED", 2: "NO_SOCKET", 3: "PKT_TOO_SMALL"}
    assert drops.parse_reasons(OLD_FORMAT) is None


def test_drops_are_summed_by_reason_and_function():
    names = drops.parse_reasons(FORMAT)
    found = decoded(
        drops,
        drops.Reading({(RECEIVE, 2): 10}, names, 0),
        drops.Reading({(RECEIVE, 2): 14, (RECEIVE + 9, 2): 3, (HEAP, 77): 1}, names, 0),
    )

    assert found.drops == (
        Drops("NO_SOCKET", "__netif_receive_skb_core", 7),
        Drops("77", f"{HEAP:#x}", 1),
    )


def test_a_kernel_without_reasons_has_places_alone():
    found = decoded(drops, drops.Reading({}, None, 0), drops.Reading({(RECEIVE, 0): 2}, None, 0))

    assert found.drops == (Drops("", "__netif_receive_skb_core", 2),)


# ipvs


def test_packets_in_the_hook_are_the_difference():
    found = decoded(
        ipvs,
        ipvs.Reading(3, 0, 900, 400, (1, 2)),
        ipvs.Reading(16_682, 16_539, 2_465_000_900, 4_169_680, (5, 16_677)),
    )

    assert found == IpvsWindow(5.0, 16_679, 16_539, 2_465_000_000, 4_169_680, (4, 16_675))


# Reading maps as bcc shows them.


def test_copies_of_all_cpus_are_summed():
    one = SimpleNamespace(packets=1, forwarded=1, total_ns=10, max_ns=10, slots=[1, 0])
    two = SimpleNamespace(packets=2, forwarded=0, total_ns=50, max_ns=40, slots=[0, 2])

    found = ipvs.read({"ipvs_times": {0: [one, two]}, "ipvs_delays": {}}, None)

    assert found == ipvs.Reading(3, 1, 60, 40, (1, 2))


def test_stacks_are_copied_with_the_counts():
    class Stacks(dict):
        def walk(self, number):
            return iter(self[number])

    key = SimpleNamespace(stack=3, idle=1)
    names = [
        (SimpleNamespace(name=name), [1, n]) for n, name in enumerate((b"sh", b"\xff", b"\xfe"))
    ]
    bpf = {
        "cpu_samples": SimpleNamespace(items=lambda: [(key, [4, 5])]),
        "cpu_stacks": Stacks({3: [IDLE, ENTRY]}),
        "cpu_programs": SimpleNamespace(items=lambda: names),
        "cpu_lost": {0: [1, 2]},
    }

    programs = {"sh": (1, 0), "\ufffd": (2, 3)}
    assert cpu.read(bpf, None) == cpu.Reading({(3, True): (4, 5)}, {3: (IDLE, ENTRY)}, programs, 3)


@pytest.mark.parametrize("module", [cpu, drops, ipvs, locks, softirq])
def test_every_probe_says_where_it_is_attached(module):
    assert module.PROBE.ways
    assert all(way.points for way in module.PROBE.ways)
