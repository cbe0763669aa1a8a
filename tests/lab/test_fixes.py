"""Every kind of fix on a real kernel: set, read back with other tools, taken back to the byte.

One boot, and one more for each power cut, for which the director's QEMU is killed in the middle.
"""

import contextlib
import hashlib
import json
import subprocess
import time
from collections import Counter

import benches
import pytest
from benches import DIRTUNE, SHARED, dirtune, hang_up, in_lab

from dirtune.lab import guest, state

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("booted"), in_lab(SHARED)]

CARD, CONTROL = "enp0s16", "enp0s15"
# The emulated cards have neither channels nor coalescing to set; these devices have.
VETH, TAP = "veth7", "tap7"
DEVICES = (
    f"ip link add {VETH} numrxqueues 4 numtxqueues 4 type veth peer name {VETH}p; "
    f"modprobe tun; ip tuntap add {TAP} mode tap"
)
NEW = "/etc/sysctl.d/90-dirtune.conf"
# What other tools say of all that a fix may set at run time, one setting a row.
LOOK = f"""
sysctl -a 2>/dev/null | grep -E '^net[.](core|ipv4[.]vs|ipv4[.]conf)' | sort
grep -H . /proc/irq/*/smp_affinity_list /sys/class/net/{CARD}/queues/*/*ps_cpus 2>/dev/null
for o in g k; do ethtool -$o {CARD} | sed "s/^/$o /"; done
ethtool -c {TAP} | sed "s/^/c /"; ethtool -l {VETH} | sed "s/^/l /"
ls -l /sys/bus/pci/devices/*/driver | sed 's/.* \\//\\//'
"""


def on(command, ok=(0,)):
    return benches.on("lb1", command, ok)


def etc():
    """The director's /etc, which lies in the lab's folder on this machine."""
    root = state.folder().share / "etc"
    for path in sorted(root.rglob("*")):
        name = f"/etc/{path.relative_to(root)}"
        if path.is_symlink():
            yield f"{name} -> {path.readlink()}"
        elif path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            yield f"{name} {path.stat().st_mode:o} {digest}"


def look():
    return [*on(LOOK).splitlines(), *etc()]


def changed(before, after):
    """The rows that went and came."""
    then, now = Counter(before), Counter(after)
    return sorted((then - now).elements()), sorted((now - then).elements())


@contextlib.contextmanager
def nothing_left():
    """Whatever happens within, all is as before at its end."""
    before = look()
    try:
        yield before
    except BaseException:
        # A journal that is left open would fail the tests that follow as well.
        on("dirtune rollback >/dev/null 2>&1; :")
        raise
    assert changed(before, look()) == ([], [])


@pytest.fixture(scope="module", autouse=True)
def _devices(booted):
    (state.folder().share / "etc/default/irqbalance").write_text("OPTIONS=\n")
    on(DEVICES)


# Carries out settings as a finding would ask for them; at a moment it waits for the power's cut.
SCRIPT = """
import json, sys, time
from dirtune import checks
from dirtune.checks import Risk
from dirtune.settings import *
from dirtune.jobs import snapshots
from dirtune.jobs.snapshots import Source
from dirtune.host import WritableHost
from dirtune.snapshot import take_all
from dirtune.change import fixes, journal, persist, transaction
from dirtune.change.fixes import Question, Request
from dirtune.change.guards import guarded, own_interfaces
from dirtune.change.surroundings import look_around

risk, fatal = Risk(sys.argv[1]), int(sys.argv[2])
host = WritableHost()
snapshot = take_all(snapshots.samples(Source(interval=0.1)))
line = next(l for l in snapshot.interrupts.numbered if "CARD" in l.actions)
settings = (
    KernelFile("/proc/sys/net/core/netdev_max_backlog", "1234"),
    KernelFile("/proc/sys/net/ipv4/vs/expire_nodest_conn", "1"),
    KernelFile("/proc/sys/net/ipv4/vs/conn_reuse_mode", "0"),
    IrqCpus(line.irq, (0,), "CARD"),
    KernelFile("/sys/class/net/CARD/queues/rx-0/rps_cpus", "1"),
    CardValues("CARD", "rings", {"rx": 512}),
    CardValues("CARD", "features", {"rx-gro": 0}),
    CardValues("tap7", "coalesce", {"rx_max_coalesced_frames": 4}),
    CardValues("veth7", "channels", {"rx_count": 2}),
    ModuleOptions("ip_vs", {"conn_tab_bits": "14"}),
    BootOption(add="dirtune.test=1"),
    IrqbalanceVariable("IRQBALANCE_BANNED_CPULIST", "1"),
)
asked = (Request("nic/x", "CARD", checks.Fix("f", "t", risk, settings=settings)),)
around = look_around(host, (), asked, live=True)
plan = fixes.plan(Question(snapshot, around, asked), ())
plan = guarded(plan, snapshot, around, force=frozenset())
plan = persist.lasting(plan, around.texts)
count, name = 0, None

def ticking(function):
    def call(*args, **options):
        global count
        result = function(*args, **options)
        count += 1
        if count == fatal:
            open("/mnt/reached", "w").close()
            time.sleep(600)
        return result
    return call

journal._put = ticking(journal._put)
WritableHost.write = ticking(WritableHost.write)
WritableHost.replace = ticking(WritableHost.replace)
at = transaction.place()
if fatal >= 0:
    name = transaction.carry_out(plan, host, at, confirm_s=600)
if fatal > 0:
    transaction.confirm(at, host)
print(json.dumps({
    "own": sorted(own_interfaces(snapshot, around.ssh)),
    "titles": [c.title for c in plan.changes],
    "refusals": [r.why for r in plan.refusals],
    "journal": name,
    "count": count,
}))
""".replace("CARD", CARD)


@pytest.fixture(scope="module")
def script(_devices):
    (state.folder().share / "settings.py").write_text(SCRIPT)
    return "python3 /mnt/settings.py"


def test_each_kind_changes_what_it_says_and_comes_back_to_the_byte(script):
    with nothing_left() as before:
        said = json.loads(on(f"{script} safe 0"))

        assert said["refusals"] == []
        assert said["own"] == [CONTROL]
        went, came = changed(before, look())
        assert len(went) == len(came)
        assert [row.split()[-1] for row in came if row.startswith("net.")] == ["1234", "0", "1"]
        (affinity,) = [row for row in came if "smp_affinity_list" in row]
        assert affinity.endswith(":0")
        assert [row for row in came if "rps_cpus" in row] == [
            f"/sys/class/net/{CARD}/queues/rx-0/rps_cpus:1"
        ]
        assert [row.split() for row in came if row[:2] == "g "] == [["g", "RX:", "512"]]
        assert [row for row in came if row[:2] == "k "] == ["k generic-receive-offload: off"]
        assert [row.split() for row in came if row[:2] == "c "] == [["c", "rx-frames:", "4"]]
        assert [row.split() for row in came if row[:2] == "l "] == [["l", "RX:", "2"]]
        # Sysctls, affinity, mask, ring, offload, coalescing, channels: and nothing in /etc yet.
        assert len(came) == 9

        on("dirtune confirm")
        share = state.folder().share
        _, came = changed(before, [*before, *etc()])
        assert sorted(row.split()[0] for row in set(came) - set(before)) == KEPT
        sysctls = (share / NEW[1:]).read_text().splitlines()
        assert "net.core.netdev_max_backlog = 1234" in sysctls
        options = (share / "etc/modprobe.d/dirtune.conf").read_text()
        assert options == "options ip_vs conn_tab_bits=14\n"
        assert 'IRQBALANCE_BANNED_CPULIST="1"' in (share / "etc/default/irqbalance").read_text()
        assert "dirtune.test=1" in guest.command_line(share / "etc").split()
        assert "holds" in on("dirtune fix verify")
        # What the kernel would do with the file at the next boot is what it is doing now.
        told = on(
            f"sysctl -qw net.core.netdev_max_backlog=1; sysctl -qp {NEW}; "
            "sysctl -n net.core.netdev_max_backlog"
        )
        assert told == "1234\n"
        # What somebody changed back is told, and taken back to what was there at first.
        on(f"ethtool -G {CARD} rx 256; sysctl -qw net.ipv4.vs.conn_reuse_mode=1")
        said = on("dirtune fix verify", ok=(1,))
        assert len([row for row in said.splitlines() if row.startswith("UNDONE")]) == 2

        on("dirtune rollback")


# What keeps the settings over a reboot, by hand.
KEPT = [
    "/etc/default/grub.d/90-dirtune.cfg",
    "/etc/default/irqbalance",
    "/etc/dirtune/boot.sh",
    "/etc/grub.d/42_dirtune_previous",
    "/etc/modprobe.d/dirtune.conf",
    "/etc/modules-load.d/dirtune.conf",
    NEW,
    "/etc/systemd/system/dirtune-boot.service",
    "/etc/systemd/system/multi-user.target.wants/dirtune-boot.service",
    "/etc/udev/rules.d/90-dirtune.rules",
]


def test_a_device_is_unbound_and_nothing_else_changes():
    with nothing_left() as before:
        applied = on("dirtune fix apply irq/shared-with-nic --confirm 0 --format json")

        went, came = changed(before, look())
        assert came == []
        (driver,) = went
        assert driver.startswith("/sys/bus/pci/devices/0000:00:14.0/driver -> ")
        assert driver.endswith("/sym53c8xx")
        on(f"dirtune rollback {json.loads(applied)['journal']}")


def test_a_setting_that_a_file_asks_for_is_mended_and_kept_by_name():
    share, live = state.folder().share, "sysctl -n net.ipv4.vs.expire_nodest_conn"
    (share / "etc/sysctl.d/50-lvs.conf").write_text("net.ipv4.vs.expire_nodest_conn=1\n")
    before = [*etc()]
    try:
        said = on(f"dirtune fix apply ipvs/sysctl-lost --persist --format json && {live}")
        (change, *kept), (value,) = json.loads(said.splitlines()[0])["changes"], said.split()[-1:]
        assert change["commands"] == ["echo 1 > /proc/sys/net/ipv4/vs/expire_nodest_conn"]
        assert change["persisted_by"] == NEW
        assert [each["action"]["path"] for each in kept] == [
            NEW,
            "/etc/modules-load.d/dirtune.conf",
        ]
        assert value == "1"
        assert (share / NEW[1:]).read_text() == "net.ipv4.vs.expire_nodest_conn = 1\n"
        assert "nothing to do" in on("dirtune fix plan ipvs/sysctl-lost")
    finally:
        assert on(f"dirtune rollback >/dev/null && {live}") == "0\n"
    assert [*etc()] == before
    (share / "etc/sysctl.d/50-lvs.conf").unlink()


def test_the_operators_own_connection_is_not_cut(script):
    text = SCRIPT.replace(f'CardValues("{CARD}", "rings"', f'CardValues("{CONTROL}", "rings"')
    (state.folder().share / "own.py").write_text(text.replace('{"rx": 512}', '{"rx": 128}'))

    said = json.loads(on("python3 /mnt/own.py disruptive -1"))

    (why,) = said["refusals"]
    assert why == f"would cut off your own SSH connection, which {CONTROL} carries" or (
        "has a driver that cannot set" in why  # a kernel whose virtio_net has fixed rings
    )
    assert not [title for title in said["titles"] if title.startswith(f"give {CONTROL}")]


# The settings end at 16, the files at 42: each a record and then a write.
@pytest.mark.long  # two minutes each; `kill -9` at every step is tests/change/test_kill.py
@pytest.mark.parametrize("moment", [2, 10, 16, 25, 37])
def test_a_power_cut_anywhere_is_undone(script, moment):
    fresh = look()
    reached = state.folder().share / "reached"
    reached.unlink(missing_ok=True)
    dying = subprocess.Popen(
        [*DIRTUNE, "lab", "exec", "lb1", "--", f"{script} safe {moment}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    limit = time.monotonic() + 240
    while not reached.exists():
        assert time.monotonic() < limit
        assert dying.poll() is None, "it ended before that moment"
        time.sleep(0.2)

    hang_up("lb1")
    dirtune("lab", "reboot", "--power-cut")
    dying.communicate(timeout=60)
    on(DEVICES)

    assert "dirtune rollback takes" in on("dirtune explain 2>&1 >/dev/null")
    assert "is rolled-back" in on("dirtune rollback 2>/dev/null")
    assert changed(fresh, look()) == ([], [])
