"""The pure half of the irq probe, from maps as a director of the lab had them."""

from types import SimpleNamespace

from dirtune.analyse.handlers import HandlerCalls
from dirtune.analyse.probed import ProbeCost
from dirtune.probes.irq import Reading, by_handler, decode
from dirtune.probes.probe import Context, Moment

INTERRUPTS = """\
           CPU0       CPU1
 10:       {0}          5   IO-APIC  10-fasteoi   i801_smbus, sym53c8xx, sym53c8xx, enp0s16
 24:          7         {1}   PCI-MSI-edge      virtio1-input.0
NMI:          9          9   Non-maskable interrupts
"""
NIC, SMBUS, SCSI_A, SCSI_B = 0xA0, 0xB0, 0xC0, 0xD0
CONTEXT = Context(ProbeCost("irq", "raw tracepoints", 5.0, 60_000, 200), 14.5, lambda: None)


def calls(irq, handler, *numbers, cpu=None, slots=(0, 0)):
    count, none, ns, none_ns, most = numbers
    return HandlerCalls(irq, handler, count, none, 0, ns, none_ns, most, cpu, slots)


def on(irq, handler, first, second=(0, 0, 0, 0, 0), slots=((0, 0), (0, 0))):
    """A handler's calls on CPU 0 and CPU 1."""
    return tuple(
        calls(irq, handler, *numbers, cpu=cpu, slots=slots[cpu])
        for cpu, numbers in enumerate((first, second))
    )


def moment(at, interrupts, handlers, lost=0):
    return Moment(at, Reading(INTERRUPTS.format(*interrupts), handlers, lost))


BEFORE = moment(
    100.0,
    (1000, 3),
    {
        NIC: on(10, "enp0s16", (1000, 0, 12_000, 0, 80), slots=((900, 100), (0, 0))),
        SMBUS: on(10, "i801_smbus", (1000, 1000, 42_000, 42_000, 750)),
    },
    lost=2,
)
AFTER = moment(
    105.0,
    (1600, 4),
    {
        NIC: on(
            10,
            "enp0s16",
            (1590, 10, 18_800, 100, 80),
            (10, 0, 200, 0, 30),
            slots=((1400, 190), (4, 6)),
        ),
        SMBUS: on(10, "i801_smbus", (1600, 1600, 69_000, 69_000, 900)),
        SCSI_A: on(10, "sym53c8xx", (600, 600, 8000, 8000, 20)),
        SCSI_B: on(10, "sym53c8xx", (600, 599, 9000, 8900, 33)),
    },
    lost=5,
)


def window(before=BEFORE, after=AFTER):
    return decode(before, after, CONTEXT)


def by_name(found):
    return {h.handler: h for h in found.handlers}


def test_window_is_the_difference_of_two_readings():
    found = window()

    assert found.seconds == 5.0
    assert found.load_seconds == 14.5
    assert found.lost == 3
    # The maximum of an open-ended record has no difference: the later one stands.
    assert by_name(found)["i801_smbus"] == calls(10, "i801_smbus", 600, 600, 27_000, 27_000, 900)
    assert by_name(found)["enp0s16"] == calls(
        10, "enp0s16", 600, 10, 7000, 100, 80, slots=(504, 96)
    )


def test_each_cpu_that_ran_a_handler_has_its_row():
    rows = [h for h in window().per_cpu if h.handler == "enp0s16"]

    assert rows == [
        calls(10, "enp0s16", 590, 10, 6800, 100, 80, cpu=0, slots=(500, 90)),
        calls(10, "enp0s16", 10, 0, 200, 0, 30, cpu=1, slots=(4, 6)),
    ]
    assert {h.cpu for h in window().per_cpu if h.handler == "i801_smbus"} == {0}


def test_handlers_of_one_name_on_one_line_are_summed():
    assert by_name(window())["sym53c8xx"] == calls(10, "sym53c8xx", 1200, 1199, 17_000, 16_900, 33)


def test_one_name_on_two_lines_stays_two_handlers():
    other = {**AFTER.data.handlers, 0xE0: on(11, "sym53c8xx", (4, 0, 40, 0, 12))}
    found = window(after=moment(105.0, (1600, 4), other))

    assert [(h.irq, h.calls) for h in found.handlers if h.handler == "sym53c8xx"] == [
        (10, 1200),
        (11, 4),
    ]


def test_handler_that_did_not_run_in_the_window_is_not_in_it():
    found = window(after=moment(101.0, (1000, 3), BEFORE.data.handlers))

    assert (found.handlers, found.per_cpu) == ((), ())


def test_line_counts_are_those_of_numbered_lines_in_the_window():
    assert window().line_counts == {"10": 600, "24": 1}


def test_line_count_that_wrapped_goes_on():
    found = window(moment(100.0, (2**32 - 7, 3), {}), moment(105.0, (13, 3), {}))

    assert found.line_counts["10"] == 20


def test_cost_of_the_probe_itself_is_that_of_the_session():
    found = window()

    assert (found.probe_ns, found.events) == (60_000, 200)


def test_the_time_of_the_probe_itself_is_in_no_call():
    context = Context(CONTEXT.cost, 0.0, lambda: None, own_ns=5.4)
    found = by_name(decode(BEFORE, AFTER, context))

    # 600 calls, of which 5.4 ns each are the probe's; and 600 calls of which 599 were for nothing.
    assert found["i801_smbus"] == calls(10, "i801_smbus", 600, 600, 23_760, 23_760, 900)
    assert found["sym53c8xx"] == calls(
        10, "sym53c8xx", 1200, 1199, 17_000 - 6480, 16_900 - 3240 - 3235, 33
    )
    # 590 calls on the first CPU and 10 on the second one.
    assert found["enp0s16"].total_ns == 6800 - round(5.4 * 590) + 200 - 54
    assert decode(BEFORE, AFTER, context).own_ns == 5.4
    more = by_name(decode(BEFORE, AFTER, Context(CONTEXT.cost, 0.0, lambda: None, own_ns=1000.0)))
    assert {(one.total_ns, one.none_ns) for one in more.values()} == {(0, 0)}


def copy(action=0, slots=(0, 0), **counts):
    fields = dict.fromkeys(("calls", "none", "wake_thread", "total_ns", "none_ns", "max_ns"), 0)
    return SimpleNamespace(action=action, slots=slots, **fields | counts)


def test_one_entry_may_belong_to_two_handlers_on_two_cpus():
    rows = [
        [
            copy(SCSI_A, calls=3, none=1, total_ns=90, none_ns=20, max_ns=50, slots=(1, 2)),
            copy(NIC, calls=4, none=4, wake_thread=2, total_ns=40, none_ns=40, max_ns=12),
        ],
        [copy(), copy(SCSI_A, calls=5, total_ns=60, max_ns=30)],
        [copy(SMBUS, calls=1), copy()],  # its name came after the names were read
    ]

    assert by_handler(rows, {SCSI_A: (10, "sym53c8xx"), NIC: (11, "eth0")}) == {
        SCSI_A: (
            HandlerCalls(10, "sym53c8xx", 3, 1, 0, 90, 20, 50, 0, (1, 2)),
            HandlerCalls(10, "sym53c8xx", 5, 0, 0, 60, 0, 30, 1, (0, 0)),
        ),
        NIC: (HandlerCalls(11, "eth0", 4, 4, 2, 40, 40, 12, 1, (0, 0)),),
    }


def test_a_cpu_that_called_a_handler_first_in_the_window_has_its_calls():
    once = {NIC: (calls(10, "eth0", 5, 0, 50, 0, 20, cpu=1),)}
    both = {
        NIC: (calls(10, "eth0", 2, 0, 9, 0, 5, cpu=0), calls(10, "eth0", 6, 0, 61, 0, 20, cpu=1))
    }
    found = window(moment(1.0, (0, 0), once), moment(2.0, (3, 0), both))

    assert [(one.cpu, one.calls, one.total_ns) for one in found.per_cpu] == [(0, 2, 9), (1, 1, 11)]
