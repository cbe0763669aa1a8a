"""What the prebuilt probes cost on this machine; prints, asserts nothing.

Run by `make bench`, as root. The price of an event is measured beside a floor in the same run: a
pair of programs on the same two tracepoints that take the time and add the difference to one
number. Both are attached at once, and each row attaches them in the other order, because the first
program at a tracepoint pays for cold caches and the second one finds them warm. So only the sums
of an even number of rows are compared. The kernel counts the run time of each program.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "probes"))

from build_objects import COMMON, build

from dirtune.host import LiveHost
from dirtune.probes import irq, libbpf, prebuilt, session, softirq
from dirtune.probes.loading import Loaded, statistics_on
from dirtune.probes.loading import statistics as spent
from dirtune.probes.probe import Point, Probe, Way

HERE = Path(__file__).parent / "probes"
ROWS, SECONDS, STARTS = 4, 4, 5
FLOOR = Probe("floor", "", (), read=lambda bpf, host: None, decode=lambda *_: None)
EVENTS = {
    "irq": ("irq_handler_entry", "irq_handler_exit"),
    "softirq": ("softirq_entry", "softirq_exit"),
}
NAMES = ("cpu", "drops", "irq", "locks", "softirq")
START = """\
import sys, time
from dirtune.probes import session
with session.opened(session.named(sys.argv[2:]), limit_percent=100) as probing:
    probing.begin()
    took = time.clock_gettime(time.CLOCK_REALTIME) - float(sys.argv[1])
    (rss,) = [row for row in open("/proc/self/status") if row.startswith("VmRSS")]
    print(took, probing.load_seconds, time.process_time(), rss.split()[1], len(probing.probes))
"""


def starts():
    """Print the time from exec to the first sample of all probes, and the memory."""
    rows = []
    for _ in range(STARTS):
        now = repr(time.clock_gettime(time.CLOCK_REALTIME))
        argv = (sys.executable, "-c", START, now, *NAMES)
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        rows.append([float(word) for word in done.stdout.split()])
    took, load, cpu, rss, probes = (sorted(column) for column in zip(*rows, strict=True))
    print(
        f"{probes[0]:.0f} of {len(NAMES)} probes, exec to first sample: median"
        f" {statistics.median(took):.2f} s (least {took[0]:.2f} s), of which loading"
        f" {statistics.median(load):.2f} s; CPU time {statistics.median(cpu):.2f} s;"
        f" resident {max(rss) / 1024:.0f} MiB"
    )


def floor_of(name, content):
    """Return the floor of a probe, loaded but not attached, as a probe."""
    points = tuple(
        Point("tracepoint", f"irq:{event}", f"floor_{name}_{function}")
        for event, function in zip(EVENTS[name], ("begin", "end"), strict=True)
    )
    functions = {point.function for point in points}
    loaded = prebuilt.Prebuilt(libbpf.library(), "floor.bpf.o", content, functions)
    return Loaded(FLOOR, Way("floor", points), loaded)


def busy(folder):
    """Make interrupts of the disk and softirqs of loopback for some seconds."""
    ends = time.monotonic() + SECONDS
    with (
        tempfile.NamedTemporaryFile(dir=folder) as file,
        socket.socket(type=socket.SOCK_DGRAM) as taken,
        socket.socket(type=socket.SOCK_DGRAM) as sender,
    ):
        taken.bind(("127.0.0.1", 0))
        while time.monotonic() < ends:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            for _ in range(5):
                sender.sendto(b"x", taken.getsockname())
                taken.recv(1)


def price(probe, content, folder):
    """Print what an event of *probe* costs, beside the floor."""
    sums = [[0, 0], [0, 0]]
    for row in range(ROWS):
        name = f"{probe.name}.bpf.o"
        way = probe.ways[0]
        functions = {point.function for point in way.points}
        text = (prebuilt.HERE / name).read_bytes()
        mine = Loaded(probe, way, prebuilt.Prebuilt(libbpf.library(), name, text, functions))
        pair = [floor_of(probe.name, content), mine]
        for loaded in pair[:: 1 if row % 2 else -1]:
            for point in loaded.way.points:
                loaded.bpf.attach(point)
        before = [spent(loaded, LiveHost()) for loaded in pair]
        busy(folder)
        after = [spent(loaded, LiveHost()) for loaded in pair]
        moved = [
            (now[0] - then[0], now[1] - then[1]) for then, now in zip(before, after, strict=True)
        ]
        for loaded in pair:
            loaded.bpf.close()
        least, ours = (ns / runs for ns, runs in moved)
        sums = [
            [a + b for a, b in zip(*each, strict=True)] for each in zip(sums, moved, strict=True)
        ]
        first = "floor" if row % 2 else "probe"
        print(
            f"{probe.name}: {ours:.0f} ns a run ({moved[1][1]} runs), floor {least:.0f} ns"
            f" ({moved[0][1]} runs), {first} first"
        )
    least, ours = (ns / runs for ns, runs in sums)
    print(f"{probe.name}: {ours:.0f} ns a run, {ours / least:.2f} times the floor")


def main():
    """Print all rows."""
    starts()
    with tempfile.TemporaryDirectory() as folder, statistics_on():
        for source in (session.HERE / COMMON, HERE / "floor.bpf.c"):
            shutil.copy(source, folder)
        floor = Path(folder, "floor.bpf.o")
        build(FLOOR, floor, Path(folder))
        for probe in (irq.PROBE, softirq.PROBE):
            price(probe, floor.read_bytes(), folder)


if __name__ == "__main__":
    main()
