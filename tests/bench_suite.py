"""The project's own performance suite: prints ratios of interleaved runs, asserts nothing.

Run by `make bench`. Times of this machine mean nothing by themselves; each row is the CPU time
of ours over that of a yardstick, taken in turn in the same run.
"""

import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import bench_lvs

from dirtune.analyse.run import Run, Trial
from dirtune.bench import store
from dirtune.fetch import fetch_script
from dirtune.jobs import comparisons
from dirtune.remote import CONNECTIONS_AT_ONCE

ROUNDS = 7
CPUS, LINES = 512, 4096
NODES = 200
LOG_ROWS = 1_000_000

AUDIT = (sys.executable, "-m", "dirtune", "audit", "--fail-on", "critical", "--root")
FETCH = """
import sys
from dirtune import remote
from dirtune.fetch import fetch_script
remote.fetch_all(sys.argv[1:], fetch_script(interval_s=1), len)
"""
SPLIT = "import sys; text = open(sys.argv[1]).read(); [text.split() for _ in range(5)]"


def used(argv):
    """Run *argv* and return its CPU seconds and its peak of memory in MB; it must succeed."""
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in {0, 1}:  # 1 is a finding
        sys.exit(f"{' '.join(argv)}: exit status {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def ratio(name, ours, yardstick, bound):
    """Print the median ratio of interleaved runs beside the bound the project aims at."""
    found = sorted(used(ours)[0] / used(yardstick)[0] for _ in range(ROUNDS))
    median = statistics.median(found)
    print(f"{name:44} {median:6.2f}  ({found[0]:.2f} to {found[-1]:.2f}, aim {bound})")


def big_host(root):
    """Write a /proc/interrupts of 512 CPUs and 4,096 lines."""
    head = " " * 11 + "".join(f"CPU{cpu:<8}" for cpu in range(CPUS))
    rows = [
        f"{irq:5}: {' '.join(f'{(irq * cpu) % 100000:10}' for cpu in range(CPUS))} "
        f" PCI-MSIX-0000:{irq % 256:02x}:00.0 {irq:4}-edge      mlx5_comp{irq}@pci:0000:00:00.0"
        for irq in range(LINES)
    ]
    (root / "proc").mkdir()
    (root / "proc/interrupts").write_text("\n".join([head, *rows]) + "\n")


@contextmanager
def fleet(folder):
    """Serve hosts n0, n1, ... by one sshd on loopback; yield its process.

    What two hundred nodes do at once on two hundred machines must not wait for two CPUs here: each
    answers with the same texts, that this machine's own shell printed once.
    """
    for name in ("host", "user"):
        key = folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (folder / "known").write_text(f"n* {(folder / 'host.pub').read_text()}")
    done = subprocess.run(
        ["sh", "-c", fetch_script(interval_s=0)], capture_output=True, check=True
    )
    first, end, second = done.stdout.partition(b"\0end\0")
    (folder / "first").write_bytes(first + end)
    (folder / "second").write_bytes(second)
    # Of our script the keeper's is run whole; of another one what it prints first, the mark.
    (folder / "answer").write_text(
        "size=${SSH_ORIGINAL_COMMAND##*head -c }; script=$(head -c ${size%%)*})\n"
        'case $script in *"while read -r signal"*) eval "$script"; exit;; esac\n'
        f'eval "${{script%%PATH=*}}"; cat {folder}/first; sleep 1; exec cat {folder}/second\n'
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A home without files: what root's shell reads here at each start is no part of the audit.
    (folder / "sshd").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nUsePAM no\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nMaxStartups {NODES}\n"
        f"SetEnv HOME={folder}\nForceCommand sh {folder}/answer\n"
    )
    (folder / "config").write_text(
        f"Host n*\n  HostName 127.0.0.1\n  Port {port}\n  HostKeyAlias n0\n  User root\n"
        f"  IdentityFile {folder}/user\n  UserKnownHostsFile {folder}/known\n"
        "  IdentitiesOnly yes\n"
    )
    serve = (
        f"mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -f {folder}/sshd"
    )
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", serve]) as sshd:
        try:
            wait_for(port)
            yield sshd
        finally:
            sshd.terminate()


def wait_for(port):
    """Wait until something listens on *port* of loopback."""
    for _ in range(100):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    sys.exit("sshd did not start")


def many_nodes(folder):
    """Print the wall time of auditing many nodes beside its bound; all are of this run.

    The bound is 2 times one node and NODES / CONNECTIONS_AT_ONCE rounds of one node. sshd shares
    the CPUs with what is measured; how long the same takes without an audit tells how much of the
    time is SSH.
    """
    with fleet(folder) as sshd:
        os.environ["DIRTUNE_SSH_CONFIG"] = str(folder / "config")
        names = [f"n{number}" for number in range(NODES)]
        (folder / "names").write_text("\n".join(names))
        audit = (
            *AUDIT[:4],
            "--fail-on",
            "critical",
            "--interval",
            "1",
            "--format",
            "json",
            "--host",
        )
        alone = timed((*audit, "n0"), sshd)[0]
        bound = (2 + NODES / CONNECTIONS_AT_ONCE) * alone
        for name, argv in (
            (f"{NODES} nodes", (*audit, f"@{folder}/names")),
            ("only fetched", (sys.executable, "-c", FETCH, *names)),
        ):
            wall, ours, theirs = timed(argv, sshd)
            print(
                f"{f'{name}, {CONNECTIONS_AT_ONCE} at once: wall time / bound':44} "
                f"{wall / bound:6.2f}  ({wall:.1f} s; one node {alone:.1f} s; "
                f"CPU {ours:.1f} s, of sshd {theirs:.1f} s; aim 1)"
            )


def timed(argv, server):
    """Return the seconds of one run of *argv*, of its CPU and of *server*'s."""
    before, began = cpu_s(server.pid), time.monotonic()
    ours = used(argv)[0]
    return time.monotonic() - began, ours, cpu_s(server.pid) - before


def cpu_s(pid):
    """Return the CPU seconds of a process and of those children that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


READ_CSV = "import csv, sys; [0 for _ in csv.reader(open(sys.argv[1]), delimiter='\\t')]"
READ_LOG = (
    "import sys; from dirtune.plan.generators import h2load; "
    "[0 for _ in h2load.parse_log(open(sys.argv[1]))]"
)


def long_log(folder):
    """Print the time of parsing a h2load log of a million replies, row by row."""
    log = folder / "log.tsv"
    with log.open("w") as file:
        file.writelines(
            f"{1795373267977794 + 500 * row}\t200\t{100 + row * 7919 % 90000}\n"
            for row in range(LOG_ROWS)
        )
    ours = (sys.executable, "-c", READ_LOG, str(log))
    ratio("h2load log, 1,000,000 rows / csv.reader", ours, (*ours[:2], READ_CSV, str(log)), "3")


def compare_is_linear(folder):
    """Print the CPU time of comparing 20,000 trials over ten times that of 2,000, read and all."""
    for name, paired in (("pairs", True), ("unpaired", False)):
        runs = [a_run(folder / f"{name}{count}", count, paired) for count in (2_000, 20_000)]
        sides = [(run, None) if paired else (f"{run}:A", f"{run}:B") for run in runs]
        compared(*sides[0])  # the first one imports
        found = sorted(compared(*sides[1]) / compared(*sides[0]) / 10 for _ in range(ROUNDS))
        median = statistics.median(found)
        spread = f"{found[0]:.2f} to {found[-1]:.2f}"
        print(
            f"{f'compare, 20,000 / 10 x 2,000 trials, {name}':44} {median:6.2f}  ({spread}, aim 1)"
        )


def compared(before, after):
    """Return the CPU seconds of one comparison within this process."""
    began = time.process_time()
    comparisons.compared(before, after, None, None, None, every=False)
    return time.process_time() - began


def a_run(folder, count, paired):
    """Write a run of *count* trials in two arms and return its folder."""
    chance = random.Random(1)
    trials = [
        Trial(
            id=f"p{n // 2}-{arm}",
            arm=arm,
            kind="judged",
            pair=n // 2 if paired else None,
            started="",
            offered_rate=150,
            window_s=10,
            intended=1500,
            attempted=1500,
            replied=1500,
            failed={},
            reply_rate=150,
            latency=None,
            validity="valid",
            reason=None,
            metrics={"cpu_us_per_connection": chance.gauss(1000, 20)},
            counters={},
            settle_s=3,
            settled=True,
        )
        for n, arm in enumerate("AB" * (count // 2))
    ]
    text = dict.fromkeys(("started", "command", "version", "title"), "")
    nothing = dict.fromkeys(("finished", "scenario", "forecast", "verdict"))
    empty = {key: {} for key in ("plan_document", "inventory", "audits", "handlers")}
    run = Run(
        id=folder.name,
        primary_metric="cpu_us_per_connection",
        trials=tuple(trials),
        comparisons=(),
        steps=(),
        **text,
        **nothing,
        **empty,
    )
    return str(store.create(folder.parent, run).folder)


def main():
    """Run every row."""
    nothing = (sys.executable, "-c", "pass")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        big_host(root)
        split = (sys.executable, "-c", SPLIT, str(root / "proc/interrupts"))
        ratio("audit, 512 CPUs x 4,096 lines / 5 splits", (*AUDIT, place), split, "1.5")
        peak = used((*AUDIT, place))[1]
        print(f"{'its peak of memory, MB':44} {peak:6.0f}  (aim 150)")
        ratio("--help / python -c pass", (*AUDIT[:3], "--help"), nothing, "20")
        (root / "proc/interrupts").write_text("           CPU0\n  0:  1  XT-PIC  timer\n")
        ratio("one-file audit / python -c pass", (*AUDIT, place), nothing, "20")
        profile = (*AUDIT[:3], "profile", "--probes", "none", "--duration", "1")
        ratio("profile of 1 s, no probe / python -c pass", profile, nothing, "20")
        long_log(root)
        compare_is_linear(root)
        if os.geteuid() == 0:
            many_nodes(root)
            bench_lvs.rows()
        else:
            print("many nodes, the configurator: need root, for an sshd of its own and for a lab")


if __name__ == "__main__":
    main()
