"""The project's own performance suite: prints ratios of interleaved runs, asserts nothing.

Run by `make bench`. Times of this machine mean nothing by themselves; each row is the CPU time
of ours over that of a yardstick, taken in turn in the same run.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dirtune.fetch import fetch_script
from dirtune.remote import CONNECTIONS_AT_ONCE

ROUNDS = 7
CPUS, LINES = 512, 4096
NODES = 200

AUDIT = (sys.executable, "-m", "dirtune", "audit", "--fail-on", "critical", "--root")
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


def fleet(folder):
    """Write an ssh_config by which any name beginning with n is this machine, by its own sshd."""
    for name in ("host", "user"):
        key = folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = (folder / "host.pub").read_text()
    (folder / "known").write_text(f"n* {public}")
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    (folder / "sshd").write_text(
        f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nStrictModes no\n"
        f"UsePAM no\nPasswordAuthentication no\nForceCommand sh {folder}/answer\n"
    )
    # What two hundred nodes do at once on two hundred machines must not wait for two CPUs here:
    # each answers with the same text, that this machine's own shell printed once.
    script = subprocess.run(["sh", "-c", fetch_script()], capture_output=True, check=True)
    (folder / "answer.txt").write_bytes(script.stdout)
    group = "read -r p c s q group rest </proc/$$/stat; echo $group"
    (folder / "answer").write_text(f"{group}; exec cat {folder}/answer.txt\n")
    serve = (
        f"mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd -i -f {folder}/sshd"
    )
    (folder / "serve").write_text(f"#!/bin/sh\nexec unshare --mount sh -c '{serve}'\n")
    (folder / "serve").chmod(0o755)
    (folder / "config").write_text(
        f"Host n*\n  ProxyCommand {folder}/serve\n  IdentityFile {folder}/user\n  User root\n"
        f"  UserKnownHostsFile {folder}/known\n  IdentitiesOnly yes\n"
    )
    (folder / "names").write_text("".join(f"n{number}\n" for number in range(NODES)))


def many_nodes(folder):
    """Print the wall time of auditing many nodes beside its bound; both are of this run."""
    fleet(folder)
    os.environ["DIRTUNE_SSH_CONFIG"] = str(folder / "config")
    audit = (*AUDIT[:4], "--interval", "1", "--format", "json", "--host")
    alone = wall_s((*audit, "n0"))
    together = wall_s((*audit, f"@{folder}/names"))
    bound = 2 * alone + NODES / CONNECTIONS_AT_ONCE * alone
    print(
        f"{f'{NODES} nodes, {CONNECTIONS_AT_ONCE} at once: wall time / bound':44} "
        f"{together / bound:6.2f}  ({together:.0f} s; one node {alone:.1f} s; aim 1)"
    )


def wall_s(argv):
    """Return the wall time of one run of *argv*."""
    began = time.monotonic()
    used(argv)
    return time.monotonic() - began


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
        if os.geteuid() == 0:
            many_nodes(root)
        else:
            print("many nodes: needs root, for an sshd of its own")


if __name__ == "__main__":
    main()
