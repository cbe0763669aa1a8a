"""The rungs below eBPF on a real director without libbpf and bcc, with both kinds of kernel.

Expected values come from /proc/interrupts and /proc/PID/status as cat(1) shows them, and from
the number of datagrams sent.
"""

import json
import re
import subprocess
import sys

import pytest
from benches import CROWDED_2, DIRTUNE, RT, in_lab, on

pytestmark = pytest.mark.lab

PYTHON = "/opt/dirtune/bin/python"
VIP = "198.18.0.100"
INSTANCES = "/sys/kernel/tracing/instances"
# Who is on line 10 with noapic, and with how many devices; a crowded line has more of them.
LINE = {"enp0s16": 1, "i801_smbus": 1, "sym53c8xx": 1}
CROWD = {**LINE, "sym53c8xx": 4}
DATAGRAMS = 60
HIDE_BCC = """\
mkdir -p /tmp/none /tmp/no-libbpf
echo no library >/tmp/no-libbpf/libbpf.so.1
mount --bind /tmp/none /usr/lib/python3/dist-packages/bcc
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
"""
# ip(8) needs libbpf, so only dirtune must not find it.
NO_LIBBPF = "LD_LIBRARY_PATH=/tmp/no-libbpf"
SHOW_BCC = "umount /usr/lib/python3/dist-packages/bcc 2>/dev/null || :"
# Reads, says that it is ready, and reads again when it is told to.
WINDOW = f"""\
{PYTHON} - <<'END'
import pathlib, time, msgspec
from dirtune.host import LiveHost
from dirtune.probes import proc, threads, tracefs
host = LiveHost()
ready, end = pathlib.Path("/tmp/ready"), pathlib.Path("/tmp/end")
with tracefs.opened() as count:
    def take():
        return count(), proc.take(host), threads.take(host)
    take()
    before = take()
    ready.touch()
    while not end.exists():
        time.sleep(0.1)
    after = take()
counted, inferred, woken = zip(before, after)
found = tracefs.decode(*counted), proc.decode(*inferred), threads.decode(*woken)
print(msgspec.json.encode(found).decode())
END
"""
SEND = f"""\
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range({DATAGRAMS}):
    s.sendto(b'x', ('{VIP}', 9))
    time.sleep(0.05)
time.sleep(1)
"""
HOLD = f"""\
({NO_LIBBPF} dirtune irqs --probe 120 >/tmp/said 2>&1 & echo $! >/tmp/holder)
until ls {INSTANCES} | grep -q dirtune; do sleep 0.1; done
"""
# A killed process is gone when nothing has its number, within a minute on the slowest machine.
GONE = "for n in $(seq 300); do kill -0 $(cat /tmp/holder) 2>/dev/null || break; sleep 0.2; done"


@pytest.fixture(scope="module", autouse=True)
def _without_bcc(booted):
    on("lb1", HIDE_BCC)
    yield
    on("lb1", SHOW_BCC)


standard = in_lab(CROWDED_2)
rt = in_lab(RT)


def interrupts():
    """Interrupts of line 10, as cat(1) shows them."""
    (row,) = re.findall(r"^ *10: +([\d ]+?) +XT-PIC", on("lb1", "cat /proc/interrupts"), re.M)
    return sum(map(int, row.split()))


def times(line, handlers):
    """Calls of each handler for *line* interrupts, of which each runs them all."""
    return {name: devices * line for name, devices in handlers.items()}


def window(during):
    """What the rungs below eBPF say of the time in which *during* runs."""
    on("lb1", "rm -f /tmp/ready /tmp/end")
    argv = [*DIRTUNE, "lab", "exec", "lb1", "--", WINDOW]
    measuring = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    on("lb1", "until [ -e /tmp/ready ]; do sleep 0.1; done")
    during()
    on("lb1", "touch /tmp/end")
    said, _ = measuring.communicate(timeout=60)
    assert measuring.returncode == 0
    return json.loads(said)


def send():
    """Send datagrams to a port that nobody listens to, one by one."""
    on("c1", f'{sys.executable} -c "{SEND}"')


def calls(counts):
    return {h["handler"]: h["calls"] for h in counts["handlers"] if h["irq"] == 10}


@standard
def test_without_libbpf_and_bcc_doctor_shows_the_next_best_source():
    said = json.loads(on("lb1", f"{NO_LIBBPF} /opt/dirtune/bin/dirtune doctor --format json"))
    used = {ladder["probe"]: ladder["uses"] for ladder in said["probes"]}

    assert used == dict.fromkeys(used) | {"irq": "tracefs"}
    assert said["notes"] == []  # this kernel has BTF
    (rungs,) = [ladder["rungs"][:2] for ladder in said["probes"] if ladder["probe"] == "irq"]
    assert [[obstacle["remedy"] for obstacle in rung["obstacles"]] for rung in rungs] == [
        ["apt install libbpf1"],
        ["apt install python3-bpfcc"],
    ]


@standard
def test_each_handler_is_called_for_each_of_a_counted_number_of_interrupts():
    before = interrupts()
    counted, inferred, woken = window(send)
    of_line = interrupts() - before

    line = counted["line_counts"]["10"]
    assert DATAGRAMS <= line <= of_line
    assert calls(counted) == times(line, CROWD)
    # The card's own handler nearly always has something to do: on a slow machine the line can
    # still be raised when what raised it has been polled away.
    assert 5 * line <= counted["none"]["10"] <= 5.1 * line
    assert counted["lost"] == 0
    assert calls(inferred) == times(inferred["line_counts"]["10"], CROWD)
    assert inferred["none"]["10"] == 0  # the card took every one: that of its partners is not seen
    assert [thread for thread in woken if thread["irq"] == 10] == []


@standard
def test_under_load_the_counts_agree_within_half_a_per_cent():
    load = f"h2load --h1 -c 1500 -n 1500 -r 3 --rate-period=20ms -T 1s -N 1s http://{VIP}/"
    counted, inferred, _ = window(lambda: on("c1", f"{load} >/dev/null"))

    line = inferred["line_counts"]["10"]
    assert line > 1000
    assert calls(counted) == pytest.approx(times(line, CROWD), rel=0.005)
    assert counted["none"]["10"] == pytest.approx(5 * line, rel=0.005)


@standard
def test_no_instance_is_left_behind():
    assert on("lb1", f"ls {INSTANCES}") == ""

    on("lb1", f"{HOLD} kill -TERM $(cat /tmp/holder); {GONE}")
    assert on("lb1", f"ls {INSTANCES}") == ""

    on("lb1", f"{HOLD} kill -KILL $(cat /tmp/holder); {GONE}")
    (left,) = on("lb1", f"ls {INSTANCES}").split()
    assert left.split("-")[:2] == ["dirtune", on("lb1", "cat /tmp/holder").strip()]
    on("lb1", f"{PYTHON} -c 'from dirtune.probes import tracefs\nwith tracefs.opened(): pass'")
    assert on("lb1", f"ls {INSTANCES}") == ""


@standard
@pytest.mark.long  # two probes are compiled with all headers of the kernel
def test_without_btf_the_kernels_headers_tell_where_members_are():
    on("lb1", f"{SHOW_BCC}; : >/tmp/empty; mount --bind /tmp/empty /sys/kernel/btf/vmlinux")
    before = interrupts()
    sends = "for n in {1..20}; do echo >/dev/udp/198.18.0.21/9; sleep 0.1; done"
    measure = "dirtune profile --probes irq,softirq --max-overhead 90 --format json"
    found = json.loads(on("lb1", f"{measure} -- bash -c '{sends}'"))
    of_line = interrupts() - before
    on("lb1", f"umount /sys/kernel/btf/vmlinux; {HIDE_BCC}")

    rows = [row for row in found["probed"]["handlers"]["handlers"] if row["irq"] == 10]
    assert {row["handler"] for row in rows} == {*LINE}
    assert all(20 <= row["calls"] / CROWD[row["handler"]] <= of_line for row in rows)
    runs = {row["vector"]: row["runs"] for row in found["probed"]["softirqs"]["softirqs"]}
    assert runs["NET_RX"] >= 20


def switches():
    """Voluntary context switches of the threads of line 10, as grep(1) finds them."""
    rows = on(
        "lb1",
        "for comm in $(grep -l '^irq/10-' /proc/[0-9]*/comm); do "
        "echo $(cat $comm) $(grep ^voluntary ${comm%comm}status); done",
    )
    return {row.split()[0]: int(row.split()[2]) for row in rows.splitlines()}


@rt
def test_on_the_rt_kernel_each_interrupt_wakes_the_thread_of_each_handler():
    before = switches()
    counted, _, woken = window(send)
    after = switches()

    line = counted["line_counts"]["10"]
    assert line >= DATAGRAMS
    # An interrupt may come between the reading of the kernel's number and that of the calls.
    assert calls(counted) == pytest.approx(times(line, LINE), abs=1)
    assert counted["none"]["10"] == 0  # every handler says that it woke its thread
    found = {f"irq/10-{t['name']}": t for t in woken if t["irq"] == 10}
    assert found.keys() == before.keys() == {f"irq/10-{handler}" for handler in LINE}
    for name, thread in found.items():
        # An interrupt that comes before the thread has gone to sleep wakes nobody.
        assert thread["wakeups"] > line / 2
        assert thread["wakeups"] <= after[name] - before[name]
        assert thread["cpu_ns"] > 0
    assert on("lb1", f"ls {INSTANCES}") == ""
