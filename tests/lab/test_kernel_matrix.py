"""Every probe on Debian's kernels from 5.10 on: the way in which it is attached, and its counts.

Expected values are the kernel's own counters in the same window, and the number of datagrams sent.
The directors have no headers, so that nothing is compiled.
"""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import kernels
import pytest
from benches import DIRTUNE, dirtune, hang_up, on
from profiles import BEGIN, ended, told

pytestmark = [pytest.mark.long, pytest.mark.lab]

VIP, DIRECTOR, NIC = "198.18.0.100", "198.18.0.1", "enp0s16"
DATAGRAMS, CONNECTIONS, SECONDS = 40, 100, 12
SMALL = ("noapic", "--clock", "host", "--real-servers", "1", "--clients", "1")
LOAD = f"""\
{sys.executable} - <<'END'
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range({DATAGRAMS}):
    s.sendto(b'x', ('{DIRECTOR}', 9))
    time.sleep(0.02)
END
h2load --h1 -n {CONNECTIONS} -c {CONNECTIONS} -r 25 http://{VIP}/ >/dev/null
"""
RAW, KPROBES = "raw tracepoints", "kprobes on "
NEW = {
    "cpu": "cpu-clock",
    "drops": "raw tracepoint",
    "ipvs": "fentry",
    "irq": RAW,
    "locks": RAW,
    "softirq": RAW,
}
# Linux 5.10 has no types of modules, no lock tracepoints and no reasons of drops.
OLD = NEW | {
    "drops": "raw tracepoint without reasons",
    "ipvs": f"{KPROBES}ip_vs_in.part.0",
    "locks": KPROBES,
}


@contextmanager
def director(suite, cpus, kept, place):
    """Boot a lab with the kernel of *suite*, or with one of this machine's: standard or rt."""
    own = suite in {"standard", "rt"}
    inside = () if own else kernels.fetched(suite, kept)
    words = ("--cpus", str(cpus), *(("--kernel", suite) if own else ()))
    os.environ["DIRTUNE_LAB"] = str(place / "lab")
    os.environ["DIRTUNE_SSH_CONFIG"] = str(place / "lab/ssh_config")
    with ExitStack() as stack:
        stack.callback(os.environ.pop, "DIRTUNE_SSH_CONFIG")
        stack.callback(os.environ.pop, "DIRTUNE_LAB")
        stack.callback(dirtune, "lab", "down")
        subprocess.run((*inside, *DIRTUNE, "lab", "up", "--scenario", *SMALL, *words), check=True)
        for node in ("lb1", "c1"):
            stack.callback(hang_up, node)
        yield


def packets():
    """Return the packets that IPVS forwarded, from the row of all CPUs in ip_vs_stats_percpu."""
    row = on("lb1", "grep '~' /proc/net/ip_vs_stats_percpu").split()
    return int(row[2], 16)


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """The folder of the fetched kernels; that of DIRTUNE_KERNELS is kept for the next run."""
    if "DIRTUNE_KERNELS" in os.environ:
        yield Path(os.environ["DIRTUNE_KERNELS"])
        return
    folder = tmp_path_factory.mktemp("kernels")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("suite", "cpus", "ways"),
    [
        ("bullseye", 1, OLD),
        ("standard", 1, NEW),
        ("standard", 2, NEW),
        ("rt", 2, NEW),
        ("trixie", 1, NEW),
        ("trixie", 2, NEW),
        ("trixie-backports", 1, NEW),
        ("trixie-backports", 2, NEW),
    ],
)
def test_every_probe_counts_what_the_kernel_counts(suite, cpus, ways, kept, tmp_path):
    with director(suite, cpus, kept, tmp_path):
        release = on("lb1", "uname -r").strip()
        with told(f"--duration {SECONDS} --max-overhead 90"):
            before = packets()
            on("lb1", BEGIN)
            on("c1", LOAD)
            found = ended()
            passed = packets() - before
    probed = found["probed"]
    used = {cost["probe"]: cost["way"] for cost in probed["costs"]}
    lines = probed["handlers"]["line_counts"]
    (nic,) = [one for one in probed["handlers"]["handlers"] if one["handler"] == NIC]
    softirqs = probed["softirqs"]
    runs = sum(one["runs"] for one in softirqs["softirqs"] if one["vector"] == "NET_RX")
    samples = sum(one["samples"] for one in probed["cpu"]["stacks"])
    rejected = sum(one["packets"] for one in probed["drops"]["drops"] if "udp" in one["location"])
    counts = {
        "cpu": (samples, 99 * cpus * SECONDS),
        "drops": (rejected, DATAGRAMS),
        "ipvs": (probed["ipvs"]["forwarded"], passed),
        "irq": (nic["calls"], lines[str(nic["irq"])]),
        "softirq": (runs, softirqs["counted"]["NET_RX"]),
    }
    for name, way in used.items():
        print(f"{release:>22} {cpus} {name:8} {way:45}", *counts.get(name, ()))
    print(*probed["missing"], sep="\n")

    assert used.keys() == ways.keys()
    assert all(way.startswith(ways[name]) for name, way in used.items())
    assert nic["calls"] >= DATAGRAMS / 2
    assert probed["ipvs"]["forwarded"] >= 5 * CONNECTIONS
    for name, allowed in (("irq", 2), ("softirq", 2), ("drops", 0), ("ipvs", 0)):
        assert counts[name][0] == pytest.approx(counts[name][1], abs=allowed, rel=0.005), name
    assert samples == pytest.approx(counts["cpu"][1], rel=0.3)
    assert not any(probed[name]["lost"] for name in ("handlers", "softirqs", "locks", "drops"))
