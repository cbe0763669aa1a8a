"""The prebuilt probes on the kernel of this machine.

Expected values come from /proc/interrupts, /proc/softirqs, or the number of events that a test
makes. Programs that are loaded but not attached count only what the test runs them with
(BPF_PROG_TEST_RUN, Linux 5.10).
"""

import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dirtune.collect.interrupts import parse_interrupts
from dirtune.collect.softirqs import parse_softirqs
from dirtune.errors import NotPossible
from dirtune.host import LiveHost
from dirtune.probes import (
    calibration,
    cpu,
    drops,
    irq,
    libbpf,
    loading,
    locks,
    prebuilt,
    session,
    softirq,
)
from dirtune.probes.kernel import Kernel
from dirtune.probes.probe import Context, Moment, Way

HOST = LiveHost()
LACKS = next(
    (
        reason
        for lacks, reason in (
            (os.geteuid() != 0, "BPF programs need root"),
            (not Path("/sys/kernel/btf/vmlinux").exists(), "this kernel has no BTF"),
            (libbpf.library() is None, "libbpf 1.0 is not installed"),
        )
        if lacks
    ),
    None,
)
pytestmark = pytest.mark.skipif(LACKS is not None, reason=str(LACKS))

# enum in include/linux/interrupt.h.
TIMER, NET_RX = 1, 3
IRQ_NONE, IRQ_HANDLED, IRQ_WAKE_THREAD = 0, 1, 2


class _Run(ctypes.Structure):
    """struct bpf_test_run_opts in libbpf's bpf.h."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_void_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


def run(loaded, function, *arguments, on=0):
    """Run a program of raw tracepoints once, on the CPU *on*."""
    words = (ctypes.c_uint64 * len(arguments))(*arguments)
    how = _Run(
        sz=ctypes.sizeof(_Run), ctx_in=ctypes.addressof(words), ctx_size_in=ctypes.sizeof(words),
        flags=1, cpu=on,
    )  # fmt: skip
    assert not libbpf.library().bpf_prog_test_run_opts(
        loaded.descriptor(function), ctypes.byref(how)
    )


@contextlib.contextmanager
def resting(probe, way=0, beside=()):
    """Load a probe, and attach it nowhere."""
    name = f"{probe.name}.bpf.o"
    functions = {point.function for point in probe.ways[way].points}
    content = (prebuilt.HERE / name).read_bytes()
    with contextlib.closing(
        prebuilt.Prebuilt(libbpf.library(), name, content, functions, beside)
    ) as loaded:
        yield loaded


@contextlib.contextmanager
def attached(probe):
    way = Kernel(HOST).way(probe, prebuilt.KINDS)
    assert not isinstance(way, str), way
    with contextlib.closing(prebuilt.load(probe, way)) as loaded:
        yield loaded


def window(probe, loaded, during, decode=None):
    """Return what *probe* counts while *during* runs."""
    before = Moment(time.monotonic(), probe.read(loaded, HOST))
    during()
    after = Moment(time.monotonic(), probe.read(loaded, HOST))
    kernel = Kernel(HOST)
    cost = session.ProbeCost(probe.name, "", after.taken_s - before.taken_s, None, None)
    return probe.decode(before, after, Context(cost, 0.0, lambda: kernel.symbols))


def interrupts(handler, count, ret, on=0):
    def calls(loaded):
        for _ in range(count):
            run(loaded, "dt_irq_entry", 10, handler, on=on)
            run(loaded, "dt_irq_exit", 10, handler, ret, on=on)

    return calls


def test_each_result_of_a_handler_is_counted_by_handler():
    with resting(irq.PROBE) as loaded:

        def during():
            interrupts(0x1000, 5, IRQ_NONE)(loaded)
            interrupts(0x1000, 3, IRQ_HANDLED)(loaded)
            interrupts(0x2000, 7, IRQ_WAKE_THREAD)(loaded)
            run(loaded, "dt_irq_exit", 10, 0x1000, IRQ_NONE)  # its entry was missed

        before = irq.read(loaded, HOST)
        during()
        after = irq.read(loaded, HOST)

    assert before.handlers == {}
    (first,), (second,) = after.handlers[0x1000], after.handlers[0x2000]
    assert (first.irq, first.calls, first.none, first.wake_thread) == (10, 8, 5, 0)
    assert (second.irq, second.calls, second.none, second.wake_thread) == (10, 7, 0, 7)
    assert after.lost == 0
    assert first.cpu == second.cpu == 0
    for one in (first, second):
        assert sum(one.histogram) == one.calls
        assert 0 < one.none_ns < one.total_ns or not one.none
        # A slot holds the times from 2^k to 2^(k+1) - 1 ns.
        assert one.histogram[one.max_ns.bit_length() - 1] > 0
        assert not any(one.histogram[one.max_ns.bit_length() :])
        least = sum(n << k for k, n in enumerate(one.histogram))
        assert least <= one.total_ns < 2 * least


def test_a_time_is_counted_in_the_slot_of_its_logarithm():
    wanted = [3 << k for k in range(12, 40)]  # 12 us to 27 minutes
    with resting(irq.PROBE) as loaded:
        table = loaded["cpu_now"]
        started = table[0]
        for ns in wanted:
            started[0].handler_ns = time.monotonic_ns() - ns
            assert not libbpf.library().bpf_map_update_elem(
                table._descriptor, ctypes.byref(ctypes.c_uint32()), started, ctypes.c_uint64()
            )
            run(loaded, "dt_irq_exit", 10, ns, IRQ_HANDLED)
        handlers = irq.read(loaded, HOST).handlers

    for ns in wanted:
        one = handlers[ns][0]
        assert one.max_ns == one.total_ns >= ns
        slot = min(31, one.max_ns.bit_length() - 1)
        assert one.histogram == (*[0] * slot, 1, *[0] * (31 - slot))


def test_handlers_that_the_map_has_no_room_for_are_lost():
    most = irq.PROBE.sizes["IRQ_MAX_HANDLERS"]
    with resting(irq.PROBE) as loaded:
        for handler in range(most + 400):
            interrupts(0x1000 + (handler << 7), 1, IRQ_HANDLED)(loaded)
        reading = irq.read(loaded, HOST)

    # Those that found their entry taken fill the hash before all entries have an owner.
    assert irq.PROBE.sizes["IRQ_MAX_MORE"] < len(reading.handlers) <= most + os.cpu_count()
    assert len(reading.handlers) + reading.lost == most + 400
    assert all(calls == 1 for calls in calls_of(reading).values())


def calls_of(reading):
    return {action: sum(one.calls for one in rows) for action, rows in reading.handlers.items()}


def test_handlers_of_a_large_machine_are_counted_each_by_itself():
    # Allocated one after the other, as kmalloc(128) may place them.
    last = os.cpu_count() - 1
    handlers = [0xFFFF888100200000 + (n << 7) for n in range(300)]
    with resting(irq.PROBE) as loaded:
        for n, handler in enumerate(handlers):
            interrupts(handler, 1 + n % 3, IRQ_HANDLED)(loaded)
            interrupts(handler, 1, IRQ_HANDLED, on=last)(loaded)
        in_array = sum(bool(copies[0].action) for _, copies in loaded["irq_handlers"].items())
        reading = irq.read(loaded, HOST)

    assert calls_of(reading) == {handler: 2 + n % 3 for n, handler in enumerate(handlers)}
    assert reading.lost == 0
    # 300 random entries of 256 leave e^(-300/256) of them free, so 177 would have an owner.
    assert 150 <= in_array <= 256


def test_a_kernel_without_batches_gives_the_same(monkeypatch):
    with resting(irq.PROBE) as loaded:
        for handler in range(700):
            interrupts(0x1000 + handler, 1 + handler % 3, IRQ_HANDLED)(loaded)
        in_batches = irq.read(loaded, HOST)
        refused = []

        def refuse(self):
            refused.append(self)
            raise prebuilt._NoBatches

        monkeypatch.setattr(prebuilt.Table, "_in_batches", refuse)
        one_by_one = irq.read(loaded, HOST)

    assert refused
    assert in_batches.handlers == one_by_one.handlers
    assert calls_of(one_by_one) == {0x1000 + handler: 1 + handler % 3 for handler in range(700)}


def test_the_kernel_itself_refuses_batches_of_a_stack_table():
    with attached(cpu.PROBE) as loaded:
        time.sleep(0.3)
        table = loaded["cpu_stacks"]

        with pytest.raises(prebuilt._NoBatches):
            table._in_batches()
        assert isinstance(table._one_by_one(), list)


def lines(text):
    return {row.irq: sum(row.counts) for row in parse_interrupts(text).numbered}


def disk(folder, writes):
    """Make interrupts of a disk, or of whatever holds the folder."""
    with (folder / "written").open("wb") as file:
        for _ in range(writes):
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())


def interrupts_and_calls(loaded, folder):
    """Return how often each line interrupted, at least and at most, and the probe's window."""
    inside = []

    def during():
        inside.append(lines(HOST.read("/proc/interrupts")))
        disk(folder, 40)
        time.sleep(0.2)
        inside.append(lines(HOST.read("/proc/interrupts")))

    outside = [lines(HOST.read("/proc/interrupts"))]
    found = window(irq.PROBE, loaded, during)
    outside.append(lines(HOST.read("/proc/interrupts")))
    least, most = (
        {line: n - then.get(line, 0) for line, n in now.items()} for then, now in (inside, outside)
    )
    return least, most, found


def test_calls_are_the_interrupts_of_their_lines(tmp_path):
    # Linux 6.18 on a busy machine does not call the tracepoints of now and then an interrupt: 8 of
    # 11,302 in one run. So one window of five must be exact, and none may have too many calls.
    exact = False
    with attached(irq.PROBE) as loaded:
        for _ in range(5):
            least, most, found = interrupts_and_calls(loaded, tmp_path)
            calls, handlers = {}, {}
            for one in found.handlers:
                line = str(one.irq)
                calls[line] = calls.get(line, 0) + one.calls
                handlers[line] = handlers.get(line, 0) + 1
                assert sum(one.histogram) == one.calls
            # The maps were read between the inner and the outer reading, while an interrupt could
            # be on its way on each CPU.
            for line, n in calls.items():
                assert n <= (most[line] + os.cpu_count()) * handlers[line], line
            assert found.lost == 0
            exact = all(
                n * handlers.get(line, 1) <= calls.get(line, 0) for line, n in least.items()
            )
            if exact:
                break
    assert exact
    assert sum(calls.values()) > 0


def empties(loaded):
    return sum(copy.calls for copy in loaded["irq_empty"][0])


def test_the_probe_knows_its_own_time_between_two_stamps():
    name = Path("/proc/thread-self/comm").read_text()
    with loading.statistics_on(), attached(irq.PROBE) as loaded:
        first, second = (calibration.own_ns(loaded, irq.PROBE.empty) for _ in range(2))
        after = empties(loaded)
        calibration._rename(5)
        spent, runs = loading.statistics(loading.Loaded(irq.PROBE, EMPTY, loaded), HOST)

        assert empties(loaded) == after, "the programs are detached"
    assert Path("/proc/thread-self/comm").read_text() == name
    # Another process may take a name while only one of the programs is attached.
    assert 2 * 2 * 9 * 8 <= 2 * after <= runs <= 2.2 * after
    # The stamps are near the end of one program and at the beginning of the other one, so what
    # lies between is about the run of one program, and no time is shorter than reading a clock.
    assert 10 < first < 10 * spent / runs
    assert first / 3 < second < first * 3


EMPTY = Way("empty", irq.PROBE.empty)


def test_softirqs_run_as_often_as_the_kernel_counts():
    def counts():
        rows = parse_softirqs(HOST.read("/proc/softirqs")).counts
        return {vector: sum(values) for vector, values in rows.items()}

    inside = []

    def during():
        inside.append(counts())
        with (
            socket.socket(type=socket.SOCK_DGRAM) as to,
            socket.socket(type=socket.SOCK_DGRAM) as sender,
        ):
            to.bind(("127.0.0.1", 0))
            for _ in range(200):
                sender.sendto(b"x", to.getsockname())
                to.recv(10)
        inside.append(counts())

    with attached(softirq.PROBE) as loaded:
        outside = [counts()]
        found = window(softirq.PROBE, loaded, during)
        outside.append(counts())

    runs = {}
    for one in found.softirqs:
        runs[one.vector] = runs.get(one.vector, 0) + one.runs
        assert sum(one.histogram) == one.runs
    flight = os.cpu_count()
    for vector in inside[0]:
        least = inside[1][vector] - inside[0][vector]
        most = outside[1][vector] - outside[0][vector]
        # A softirq is counted when it begins, and by the probe when it ends.
        assert least - flight <= runs.get(vector, 0) <= most + flight, vector
    assert runs["NET_RX"] >= 200


def test_softirqs_of_a_known_number_have_a_known_delay():
    with resting(softirq.PROBE) as loaded:
        for _ in range(6):
            run(loaded, "dt_softirq_raise", 3)
            run(loaded, "dt_softirq_raise", 3)  # raised again before it runs
            run(loaded, "dt_softirq_entry", 3)
            run(loaded, "dt_softirq_exit", 3)
        run(loaded, "dt_softirq_napi_poll", 0x1000, 64, 64)
        run(loaded, "dt_softirq_napi_poll", 0x1000, 5, 64)
        reading = softirq.read(loaded, HOST)

    assert reading.after_handlers == {}, "no handler raised it"
    (third,) = [one for one in reading.times if one.vector == "3" and one.cpu == 0]
    assert (third.runs, third.delays) == (6, 6)
    assert 0 < third.delay_max_ns <= third.delay_ns
    assert sum(third.histogram) == sum(third.delay_histogram) == 6
    polls = reading.napi[0x1000]
    assert (polls.polls, polls.packets, polls.exhausted) == (2, 69, 1)
    assert reading.lost == 0


def test_polls_of_many_queues_are_counted_each_by_itself():
    queues = [0xFFFF888100200000 + n * 832 for n in range(300)]
    with resting(softirq.PROBE) as loaded:
        for napi in queues:
            run(loaded, "dt_softirq_napi_poll", napi, 64, 64)
            run(loaded, "dt_softirq_napi_poll", napi, 5, 64, on=os.cpu_count() - 1)
        reading = softirq.read(loaded, HOST)

    found = {key: (one.polls, one.packets, one.exhausted) for key, one in reading.napi.items()}
    assert found == dict.fromkeys(queues, (2, 69, 1))
    assert reading.lost == 0


def test_a_receive_softirq_knows_the_handler_that_raised_it():
    handler, other = 0x5000, 0x6000
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(resting(irq.PROBE))
        second = stack.enter_context(resting(softirq.PROBE, beside=(first,)))

        def interrupt(action, *vectors):
            run(first, "dt_irq_entry", 10, action)
            for vector in vectors:
                run(second, "dt_softirq_raise", vector)
            run(first, "dt_irq_exit", 10, action, IRQ_HANDLED)

        def softirqs(vector):
            run(second, "dt_softirq_entry", vector)
            run(second, "dt_softirq_exit", vector)

        for _ in range(5):
            interrupt(other)  # a partner on the line, which raises nothing
            interrupt(handler, NET_RX, NET_RX)
            interrupt(other, TIMER)
            softirqs(TIMER)
            softirqs(NET_RX)
            softirqs(NET_RX)  # whose raising was missed
            run(second, "dt_softirq_raise", NET_RX)  # by loopback
            softirqs(NET_RX)
        reading = softirq.read(second, HOST)
        handlers = irq.read(first, HOST).handlers

    (one,) = reading.after_handlers.values()
    assert (one.irq, one.events, sum(one.histogram)) == (10, 5, 5)
    (spent,) = handlers[handler]
    # The delay begins with the handler, so it is longer than the handler's own time.
    assert one.total_ns > spent.total_ns
    assert reading.lost == 0


def test_packets_to_a_port_that_nobody_listens_to_are_dropped():
    packets = 57

    def during():
        with socket.socket(type=socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            for _ in range(packets):
                sender.sendto(b"x", port)

    with attached(drops.PROBE) as loaded:
        found = window(drops.PROBE, loaded, during)

    udp = sum(one.packets for one in found.drops if "udp" in one.location)
    assert packets <= udp <= packets + 5
    assert found.lost == 0


def test_reason_and_place_of_a_drop_are_counted():
    for way, reason in ((0, 21), (1, 0)):  # a kernel without reasons has two arguments
        with resting(drops.PROBE, way) as loaded:
            function = drops.PROBE.ways[way].points[0].function
            for _ in range(4):
                run(loaded, function, 0, 0xABC, 21)
            run(loaded, function, 0, 0xDEF, 21)
            reading = drops.read(loaded, HOST)

        assert reading.drops == {(0xABC, reason): 4, (0xDEF, reason): 1}


def test_each_cpu_is_sampled_at_the_rate():
    with attached(cpu.PROBE) as loaded:
        found = window(cpu.PROBE, loaded, lambda: time.sleep(1.5))

    for number in range(os.cpu_count()):
        samples = sum(one.samples for one in found.stacks if one.cpu == number)
        # A hypervisor may hold a CPU up, and the clock does not make up for it.
        assert 0.25 <= samples / (cpu.HERTZ * found.seconds) <= 1.05
    frames = {frame for one in found.stacks for frame in one.frames}
    assert frames & set(Kernel(HOST).symbols.known), "the stacks have names"


def test_a_program_in_user_mode_is_named_though_it_has_ended(tmp_path):
    busy = tmp_path / "dirtune-spins"
    busy.symlink_to(os.path.realpath(sys.executable))
    script = "import time\nwhile time.process_time() < 1: sum(range(20000))"

    def during():
        where = min(os.sched_getaffinity(0))
        argv = ("taskset", "-c", str(where), busy, "-c", script)
        subprocess.run(argv, check=True, timeout=60)

    with attached(cpu.PROBE) as loaded:
        found = window(cpu.PROBE, loaded, during)

    (mine,) = [one for one in found.programs if one.program == "dirtune-spins"]
    assert mine.cpu == min(os.sched_getaffinity(0))
    # One second of CPU time, of which starting and reading the clock take a part in the kernel.
    assert 0.5 * cpu.HERTZ <= mine.samples <= 1.1 * cpu.HERTZ
    in_user_mode = {}
    for one in found.stacks:
        if not one.frames:
            in_user_mode[one.cpu] = in_user_mode.get(one.cpu, 0) + one.samples
    for number, samples in in_user_mode.items():
        named = sum(one.samples for one in found.programs if one.cpu == number)
        assert named == pytest.approx(samples, abs=2), "the two maps are read one after the other"


def test_waits_for_a_lock_are_counted_with_their_callers(tmp_path):
    def write():
        with (tmp_path / "shared").open("ab", buffering=0) as file:
            for _ in range(3000):
                file.write(b"x" * 8192)

    def during():
        writers = [threading.Thread(target=write) for _ in range(4)]
        for each in writers:
            each.start()
        for each in writers:
            each.join()

    with attached(locks.PROBE) as loaded:
        found = window(locks.PROBE, loaded, during)

    # Four writers of one file wait for its inode.
    waits = [one for one in found.locks if one.kind == "rwsem"]
    assert sum(one.waits for one in waits) > 0
    assert any("write" in frame for one in waits for frame in (one.caller, *one.stack))
    assert all(sum(one.histogram) == one.waits for one in found.locks)


def test_two_loaders_count_the_same(tmp_path):
    inner = []
    with attached(irq.PROBE) as first, attached(irq.PROBE) as second:

        def both():
            inner.append(window(irq.PROBE, second, lambda: disk(tmp_path, 20)))

        before = lines(HOST.read("/proc/interrupts"))
        outer = window(irq.PROBE, first, both)
        after = lines(HOST.read("/proc/interrupts"))

    fewer, more = ({one.irq: one.calls for one in each.handlers} for each in (inner[0], outer))
    assert fewer
    for line, calls in fewer.items():
        most = after[str(line)] - before[str(line)] + os.cpu_count()
        assert calls <= more[line] <= most


def programs():
    """Return how many programs of the irq probe are in the kernel."""
    return HOST.read("/proc/kallsyms").count("_dt_irq_exit\t[bpf]")


def test_a_killed_process_leaves_nothing_in_the_kernel():
    before = programs()
    script = (
        "import time; from dirtune.probes import irq, prebuilt;"
        "kept = prebuilt.load(irq.PROBE, irq.PROBE.ways[0]); print('on', flush=True);"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"on\n"
        during = programs()
        process.send_signal(signal.SIGKILL)
    ends = time.monotonic() + 10
    while programs() > before and time.monotonic() < ends:
        time.sleep(0.1)

    if during == before:
        pytest.skip("this kernel does not list BPF programs as symbols (bpf_jit_kallsyms)")
    assert programs() == before


def test_what_is_detached_counts_no_more(tmp_path):
    with attached(irq.PROBE) as loaded:
        disk(tmp_path, 5)
        for point in irq.PROBE.ways[0].points:
            loaded.detach(point)
        before = irq.read(loaded, HOST)
        disk(tmp_path, 20)

        assert irq.read(loaded, HOST).handlers == before.handlers


IRQ = (prebuilt.HERE / "irq.bpf.o").read_bytes()
EXIT = b"\x95" + bytes(7)  # the instruction that ends a program


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no BPF object for this machine"),
        (IRQ[:3000], "no BPF object for this machine"),
        (IRQ[:5] + b"\x02" + IRQ[6:], "no BPF object for this machine"),  # the other byte order
        (b"#!/bin/sh\n", "no BPF object for this machine"),
        # The words are the verifier's, check_subprogs() in kernel/bpf/verifier.c.
        (IRQ.replace(EXIT, b"\xb7" + bytes(7)), "last insn is not an exit or jmp"),
        (IRQ.replace(b"Dual MIT/GPL", b"Proprietary\0"), "GPL"),
    ],
    ids=["empty", "truncated", "byte order", "no object", "refused", "licence"],
)  # fmt: skip
def test_an_object_that_does_not_load_is_one_line_and_nothing_is_left(capfd, content, words):
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    functions = {"dt_irq_entry", "dt_irq_exit"}
    with pytest.raises(NotPossible) as refused:
        prebuilt.Prebuilt(libbpf.library(), "irq.bpf.o", content, functions)

    line = str(refused.value)
    assert words in line
    assert line.startswith("irq.bpf.o ")
    assert "\n" not in line
    assert len(line) < 300
    assert capfd.readouterr() == ("", "")
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_a_missing_object_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(prebuilt, "HERE", tmp_path)
    with pytest.raises(NotPossible, match=r"^irq\.bpf\.o cannot be read: No such file"):
        prebuilt.load(irq.PROBE, irq.PROBE.ways[0])


def dirtune(*words, before="true", through=()):
    """Run dirtune by the command *through*, in mounts of its own, after the command *before*."""
    script = f'{before} && exec "$@"'
    program = (*through, sys.executable, "-P", "-m", "dirtune", *words)
    argv = ("unshare", "-m", "sh", "-c", script, "sh", *program)
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


NO_TYPES = "mount --bind /dev/null /sys/kernel/btf/vmlinux"
# Without the headers of the running kernel, bcc is no way either.
NO_HEADERS = "mount -t tmpfs none /lib/modules"


def test_without_usable_types_the_next_rung_counts_and_the_line_says_why():
    done = dirtune("irqs", "--probe=1", before=f"{NO_TYPES} && {NO_HEADERS}")

    (line,) = [row for row in done.stderr.splitlines() if "the irq probe is unavailable" in row]
    assert "irq.bpf.o cannot be loaded" in line
    assert "The headers of kernel" in line
    assert "calls are " in line
    assert done.returncode == 0, done.stderr


def test_without_libbpf_the_line_names_the_package(tmp_path):
    (tmp_path / libbpf.NAME).write_bytes(b"no library")
    before = f"export LD_LIBRARY_PATH={tmp_path} && {NO_HEADERS}"
    done = dirtune("irqs", "--probe=1", before=before)
    doctor = dirtune("doctor", before=before)

    (line,) = [row for row in done.stderr.splitlines() if "the irq probe is unavailable" in row]
    assert "libbpf 1.0 or newer is not installed" in line
    assert "libbpf" in line.rpartition(":")[2], "the remedy names the package"
    assert "prebuilt: libbpf 1.0 or newer is not installed" in doctor.stdout or (
        "libbpf 1.0 or newer is not installed. Remedy: " in doctor.stdout
    )


LOCKED = """\
mount -t tmpfs none /sys/kernel/security &&
echo 'none integrity [confidentiality]' >/sys/kernel/security/lockdown"""
USER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
# The files of this checkout may be root's alone.
READS = "dac_read_search"


def capable(*names):
    return (*USER, *(f"--{kind}-caps=-all,+{',+'.join(names)}" for kind in ("inh", "ambient")))


@pytest.mark.parametrize(
    ("before", "through", "words"),
    [
        (f"{NO_HEADERS} && mount -t tmpfs none /sys/kernel/btf", (), "no type information (BTF)"),
        (
            f"{NO_HEADERS} && {LOCKED}",
            (),
            "Kernel lockdown is in confidentiality mode",
        ),
        ("true", capable(READS), "neither as root nor with CAP_BPF and CAP_PERFMON"),
        ("true", ("setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin"), "lacks the capabilities"),
    ],
    ids=["no BTF", "lockdown", "no root", "root of a container"],
)
def test_what_keeps_a_probe_out_is_one_line_and_the_next_rung_counts(before, through, words):
    done = dirtune("irqs", "--probe=1", before=before, through=through)
    doctor = dirtune("doctor", before=before, through=through)

    (line,) = [row for row in done.stderr.splitlines() if "the irq probe is unavailable" in row]
    assert words in line
    assert "calls are " in line
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert any(words in row and "Remedy: " in row for row in doctor.stdout.splitlines())


@pytest.mark.parametrize(
    "through",
    [capable("bpf", "perfmon", READS), ("prlimit", "--memlock=0")],
    ids=["capabilities without root", "no locked memory"],
)
def test_all_probes_load_with_no_more_than_they_need(through):
    names = "cpu,drops,irq,locks,softirq"
    # On a busy machine the locks probe may cost more than the limit, and would be detached.
    limit = ("--max-overhead", "90")
    argv = ("profile", "--duration", "1", "--probes", names, *limit, "--format", "json")
    done = dirtune(*argv, through=through)

    assert done.returncode == 0, done.stderr
    probed = json.loads(done.stdout)["probed"]
    assert probed["missing"] == []
    assert [cost["probe"] for cost in probed["costs"]] == names.split(",")
    assert sum(stack["samples"] for stack in probed["cpu"]["stacks"]) > 50
    doctor = json.loads(dirtune("doctor", "--format", "json", through=through).stdout)
    used = {ladder["probe"]: ladder["uses"] for ladder in doctor["probes"]}
    assert {used[name] for name in names.split(",")} == {"prebuilt"}


class Refusing:
    """libbpf on a kernel that refuses some calls, and the names of those that were refused."""

    def __init__(self, *names):
        self.library, self.names, self.refused = libbpf.library(), names, set()

    def __getattr__(self, name):
        return self.refuse(name) if name in self.names else getattr(self.library, name)

    def refuse(self, name):
        def refused(*_):
            self.refused.add(name)
            ctypes.set_errno(errno.EINVAL)
            return -errno.EINVAL

        return refused


def test_an_old_kernel_has_all_probes_though_it_refuses_newer_calls(monkeypatch):
    # bpf(2) of 4.18 knows neither BPF_ENABLE_STATS (5.8) nor BPF_MAP_LOOKUP_BATCH (5.6).
    old = Refusing("bpf_enable_stats", "bpf_map_lookup_batch")
    monkeypatch.setattr(prebuilt, "library", lambda: old)
    monkeypatch.setattr(loading, "any_library", lambda: old)
    probes = session.named(("cpu", "drops", "irq", "locks", "softirq"))
    found = session.measure(probes, 1.0, limit_percent=1)

    assert old.refused == {"bpf_enable_stats", "bpf_map_lookup_batch"}
    assert found.missing == ()
    assert sum(one.samples for one in found.cpu.stacks) > 50
    assert sum(one.runs for one in found.softirqs.softirqs) > 0
    # The cost is unknown, never zero, and nothing was detached for it.
    assert {(one.ns, one.events, one.shed) for one in found.costs} == {(None, None, False)}


def test_no_object_needs_what_kernels_before_5_5_lack():
    # BPF_PROG_TYPE_TRACING came with 5.5 and ring buffers (map type 27) with 5.8. Only the time in
    # IPVS has no tracepoint.
    for probe in session.all_probes():
        content = (prebuilt.HERE / f"{probe.name}.bpf.o").read_bytes()
        newer = [word for word in (b"tp_btf", b"fentry", b"fexit", b"ringbuf") if word in content]
        assert newer == ([b"fentry", b"fexit"] if probe.name == "ipvs" else []), probe.name


HEADERS = next(iter(sorted(Path("/usr/src").glob("linux-headers-*-common"))), None)
# The headers of any kernel do, for offsets of members come from BTF.
AS_OURS = """\
mount -t tmpfs none /lib/modules && cd /lib/modules && mkdir $(uname -r) && cd $(uname -r) &&
ln -s {common} source && ln -s $(echo {common} | sed s/common$/amd64/) build && cd {here}"""
BESIDE = """\
import json, sys, time
from pathlib import Path
from dirtune.host import LiveHost
from dirtune.probes import compiled, prebuilt, session
host = LiveHost()
probes = [(probe, probe.ways[0]) for probe in session.named(("irq", "softirq"))]
bcc = compiled.load(probes)
inner, outer = ([prebuilt.load(*each) for each in probes] for _ in range(2))
sys.path[:0] = sys.argv[1:2]
from test_prebuilt import disk
def counts(sources):
    handlers, softirqs = (p.read(s, host) for (p, _), s in zip(probes, sources, strict=True))
    calls = {one.handler: 0 for copies in handlers.handlers.values() for one in copies}
    for copies in handlers.handlers.values():
        for one in copies:
            calls[one.handler] += one.calls
    runs = [(one.vector, one.cpu, one.runs) for one in softirqs.times]
    return calls, {f"{vector} {cpu}": runs for vector, cpu, runs in runs}
sources = [outer, [bcc, bcc], inner]
taken = [counts(each) for each in sources]
disk(Path(sys.argv[2]), 60)
taken += [counts(each) for each in reversed(sources)]
print(json.dumps(taken))
bcc.close()
"""


@pytest.mark.skipif(HEADERS is None, reason="no kernel headers are installed for bcc")
def test_bcc_counts_the_same_in_the_same_window(tmp_path):
    here = Path(__file__).parent
    script = f'{AS_OURS.format(common=HEADERS, here=here)} && exec "$@"'
    argv = ("unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", BESIDE)
    done = subprocess.run(
        [*argv, str(here), str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    taken = json.loads(done.stdout)

    # The window of bcc lies between two windows of the objects.
    for kind in range(2):
        most, bcc, least = (
            {key: n - first[kind].get(key, 0) for key, n in last[kind].items()}
            for first, last in zip(taken[:3], taken[:2:-1], strict=True)
        )
        assert sum(least.values()) > 0
        for key, n in bcc.items():
            # An interrupt may be on its way on each CPU.
            assert least.get(key, 0) - os.cpu_count() <= n <= most.get(key, 0) + os.cpu_count(), (
                key
            )
