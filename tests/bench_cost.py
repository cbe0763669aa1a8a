"""What dirtune itself costs the nodes of a trial that samples them once a second; asserts nothing.

Run by `make bench`, as root. A node's share is the CPU time of its sampler's shell, of what that
starts, and of the sshd session that carries it, as the node's kernel accounts them; the aim is
2 % of one core. Natively four nodes are four connections to an sshd on loopback; in the lab they
are a trial's, its director emulated, where every instruction is dear.
"""

import asyncio
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from plans import lab_plan_text

from dirtune import plan as plans
from dirtune import remote
from dirtune.bench import rig, sampler
from dirtune.bench.outcome import Order
from dirtune.bench.trial import conduct
from dirtune.collect import ip_vs

SECONDS = 20
TICKS = 100
DIRTUNE = (sys.executable, "-m", "dirtune")
# Of the shell all four times, of the session its own: what it starts otherwise is not sampling.
SPENT = """\
p=$(sed 's/.*) . //' /proc/{group}/stat | cut -d' ' -f1)
cat /proc/{group}/stat /proc/$p/stat
"""
# This kernel has no IPVS: a table of four real servers, as a 6.1 director shows it.
TABLE = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  C6120064:0050 rr
  -> C612000E:0050      Route   1      0          25
  -> C612000D:0050      Route   1      0          25
  -> C612000C:0050      Route   1      0          25
  -> C612000B:0050      Route   1      0          25
"""
COUNTS = """\
       Total Incoming Outgoing         Incoming         Outgoing
CPU    Conns  Packets  Packets            Bytes            Bytes
  0     1AFC     86D5        0           22E0AF                0
  ~     1AFC     86D5        0           22E0AF                0
"""


async def spent_s(node, watch):
    """Return the CPU seconds of a sampler's shell, its children and its sshd so far."""
    text = await node.run(SPENT.format(group=watch._process.group))
    shell, session = (
        [int(n) for n in row.rpartition(")")[2].split()[11:15]] for row in text.splitlines()
    )
    return (sum(shell) + sum(session[:2])) / TICKS


def printed(name, spent, seconds, about):
    """Print one node's share of a core."""
    share = spent / seconds
    print(f"{name:44} {100 * share:6.2f} %  ({1000 * share:.1f} ms a second, {about})")


@contextmanager
def sshd(folder):
    """Serve hosts n1 to n4 by one sshd on loopback; yield the ssh_config."""
    for name in ("host", "user"):
        key = folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (folder / "known").write_text(f"n {(folder / 'host.pub').read_text()}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nUsePAM no\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nSetEnv HOME={folder}\n"
    )
    (folder / "config").write_text(
        f"Host n*\n  HostName 127.0.0.1\n  Port {port}\n  HostKeyAlias n\n  User root\n"
        f"  IdentityFile {folder}/user\n  UserKnownHostsFile {folder}/known\n"
        "  IdentitiesOnly yes\n"
    )
    serve = (
        f"mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -f {folder}/sshd"
    )
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", serve]) as served:
        try:
            for _ in range(100):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield folder / "config"
        finally:
            served.terminate()


async def natively(config, folder):
    """Sample four nodes of this machine once a second."""
    (folder / "table").write_text(TABLE)
    (folder / "counts").write_text(COUNTS)
    stand_in = {ip_vs.SOURCE: f"{folder}/table", ip_vs.PERCPU_SOURCE: f"{folder}/counts"}
    director = tuple(stand_in.get(path, path) for path in sampler.DIRECTOR_FILES)
    nodes = [await remote.connect(f"n{n}", ssh_config=config) for n in range(1, 5)]
    try:
        files = (director, *(sampler.NODE_FILES,) * 3)
        watches = [await sampler.start(*each) for each in zip(nodes, files, strict=True)]
        pairs = list(zip(nodes, watches, strict=True))
        before = [await spent_s(*pair) for pair in pairs]
        began, own = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
        for second in range(SECONDS + 1):
            await asyncio.sleep(max(0.0, began + second - time.monotonic()))
            await remote.together(watch.sample() for watch in watches)
        seconds, now = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
        for (name, earlier), pair in zip(
            zip(("director", "real server", "client 1", "client 2"), before, strict=True),
            pairs,
            strict=True,
        ):
            printed(
                f"sampling, native: {name}", await spent_s(*pair) - earlier, seconds, "aim 2 %"
            )
        used = now.ru_utime + now.ru_stime - own.ru_utime - own.ru_stime
        printed("sampling, native: dirtune for four nodes", used, seconds, "where it runs")
    finally:
        await asyncio.gather(*(node.close() for node in nodes))


class Metered(rig.LiveRig):
    """Real nodes whose samplers are metered from the first client's start to the window's end."""

    async def load(self, ticks):
        loading = await super().load(ticks)
        self.metered = [await self._spent(), None, time.monotonic(), None]
        return loading

    async def shares(self):
        # Asked for before the load, and after the drain.
        if getattr(self, "metered", None) and self.metered[1] is None:
            self.metered[1], self.metered[3] = await self._spent(), time.monotonic()
        return await super().shares()

    async def _spent(self):
        return {
            host: await spent_s(self._nodes[host], watch) for host, watch in self._samplers.items()
        }


async def emulated(plan):
    """Conduct one trial that samples every node, and one that is judged."""
    for kind, how in (("observed", "1 Hz"), ("judged", "two edges")):
        nodes = Metered(plan, alone=True)
        try:
            result = await conduct(nodes, plan, Order(kind, "A", kind, plan.load.rates[0]))
            before, after, began, ended = nodes.metered
        finally:
            await nodes.close()
        print(f"a {kind} trial in the lab: {result.trial.validity} {result.trial.reason or ''}")
        for host, spent in after.items():
            about = "emulated" if host == plan.director.host else "native, aim 2 %"
            printed(f"{kind} ({how}): {host}", spent - before[host], ended - began, about)


def in_the_lab():
    """Boot a lab of four nodes and take it down again."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DIRTUNE_LAB"] = f"{folder}/lab"
        os.environ["DIRTUNE_SSH_CONFIG"] = f"{folder}/lab/ssh_config"
        small = ("--real-servers", "1", "--clients", "2")
        try:
            subprocess.run(
                [*DIRTUNE, "lab", "up", "--scenario", "separate", *small],
                stdout=subprocess.DEVNULL,
                check=True,
            )
            asyncio.run(emulated(plans.parse(lab_plan_text(rates=[100]))))
        finally:
            subprocess.run([*DIRTUNE, "lab", "down"], stdout=subprocess.DEVNULL, check=True)


def main():
    """Run every row."""
    with tempfile.TemporaryDirectory() as folder, sshd(Path(folder)) as config:
        asyncio.run(natively(config, Path(folder)))
    in_the_lab()


if __name__ == "__main__":
    main()
