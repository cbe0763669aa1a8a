"""Faults made in a namespace of the run's own: a UDP socket that is full, an address that goes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
REPOSITORY = Path(__file__).parents[2]
# Ten faults, each after the evidence of the one before was kept: a fault that begins during a
# capture belongs to that capture. Each is 30 datagrams for a socket that has room for a few; the
# kernel counts the others. The audit is a stub, because it takes two seconds.
TEN = """\
import pathlib, socket, subprocess, sys, threading, time
from dirtune.jobs import evidence, watches
from dirtune.watch.expression import watched
subprocess.run(("ip", "link", "set", "lo", "up"), check=True)
full = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
full.bind(("127.0.0.1", 0))
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def faults():
    for number in range(10):
        while len(list(pathlib.Path(sys.argv[1]).glob("2*"))) < number:
            time.sleep(0.05)
        time.sleep(0.3)  # a sample without drops, after which the condition can fire again
        for _ in range(30):
            sender.sendto(b"x" * 500, full.getsockname())
evidence._audit = lambda *_: None
options = watches.Options(
    watched(sys.argv[2]), pathlib.Path(sys.argv[1]), times=10, quiet_s=0, capture_s=0,
    duration_s=50, interval_s=0.1,
)
threading.Thread(target=faults, daemon=True).start()
kept = watches.watch(options, lambda *_: "", lambda *_: b"")
print(len(kept))
"""


def alone(*argv, **options):
    """Start *argv* in a network namespace of its own."""
    return subprocess.Popen(
        ("unshare", "-n", *argv), cwd=REPOSITORY, stdout=-1, stderr=-1, text=True, **options
    )


def test_ten_faults_in_a_row_are_all_kept(tmp_path):
    with alone(sys.executable, "-c", TEN, str(tmp_path), "Udp.RcvbufErrors > 0/s") as process:
        out, err = process.communicate(timeout=60)

    folders = [path for path in tmp_path.iterdir() if path.name != ".lock"]
    assert out == "10\n", err
    assert len(folders) == 10
    for folder in folders:
        fired = json.loads((folder / "watch.json").read_text())["fired"]
        assert [each["condition"] for each in fired] == ["Udp.RcvbufErrors > 0/s"]


COMMAND = """\
ip link set lo up
"$@" & watch=$!
until [ -e "$OUT/.lock" ]; do sleep 0.1; done; sleep 1.5
ip addr add 198.18.9.9/32 dev lo
wait $watch
"""


def dirtune(out, *words):
    return (sys.executable, "-m", "dirtune", "watch", "--out", str(out), *words)


def test_an_address_that_moves_leaves_a_whole_folder(tmp_path):
    out, metrics, note = tmp_path / "out", tmp_path / "watch.prom", tmp_path / "note"
    tell = f"{sys.executable} -c \"import os; open('{note}', 'w').write(str(dict(os.environ)))\""
    words = dirtune(
        out,
        *("--when", "failover", "--capture", "1", "--probes", "none", "--duration", "40"),
        *("--metrics", str(metrics), "--exec", tell),
    )
    env = {**os.environ, "OUT": str(out)}
    with alone("sh", "-c", COMMAND, "sh", *words, env=env) as process:
        printed, said = process.communicate(timeout=120)

    (folder,) = [path for path in out.iterdir() if path.name != ".lock"]
    assert printed == f"{folder}\n"
    assert process.returncode == 1
    document = json.loads((folder / "watch.json").read_text())
    assert [each["condition"] for each in document["fired"]] == ["addresses.changed > 0"]
    assert sorted(path.name for path in folder.iterdir()) == document["files"]
    assert {"audit.json", "before.jsonl", "profile.json", "report.md", "snapshot.tar.gz"} <= set(
        document["files"]
    )
    assert "# addresses.changed" in (folder / "report.md").read_text()
    assert 'dirtune_watch_fired_total{when="failover"} 1.0' in metrics.read_text()
    assert f"'DIRTUNE_WATCH_FOLDER': '{folder}'" in note.read_text()
    assert "ipvs.connections < 10/s after 100/s is not watched" in said


VANISHES = """\
ip link set lo up; ip link add gone0 type veth peer name gone1
"$@" & watch=$!
until [ -e "$OUT/.lock" ]; do sleep 0.1; done; sleep 1.5
ip link del gone0
wait $watch
"""


def test_an_interface_that_vanishes_is_said_and_the_others_are_watched(tmp_path):
    whens = ("--when", "net.rx_errors > 0/s on gone0", "--when", "drops")
    words = dirtune(tmp_path, *whens, "--duration", "5")
    env = {**os.environ, "OUT": str(tmp_path)}
    with alone("sh", "-c", VANISHES, "sh", *words, env=env) as process:
        _, said = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "net.rx_errors > 0/s on gone0: its source has vanished" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_capture_leaves_nothing(tmp_path, number):
    words = dirtune(tmp_path, "--when", "cpu.busy >= 0 %", "--capture", "30", "--probes", "none")
    with alone(*words) as process:
        until = time.monotonic() + 60
        while not list(tmp_path.glob(".*.new")):
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(number)
        printed, said = process.communicate(timeout=60)

    assert process.returncode == 2
    assert printed == ""
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.long  # an hour by the clock; the simulated hour is in test_judge.py
@pytest.mark.timeout(4000)
def test_an_hour_in_a_quiet_namespace_invents_nothing(tmp_path):
    with alone(*dirtune(tmp_path, "--when", "drops", "--duration", "3600")) as process:
        printed, said = process.communicate()

    assert (process.returncode, printed) == (0, ""), said
